//! The texts that are made from the declarations: example file, page for operators, schema,
//! `config show`. `ATOLL_UPDATE=1 cargo test -p atoll-node --test config_documents` writes the
//! two that are kept in the repository.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, of plain files")]

use std::{fs, path::PathBuf};

use atoll_node::config::{Config, Place, render, schema};

fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

#[track_caller]
fn same_as_kept(path: &str, made: &str) {
    let path = in_repository(path);
    if std::env::var_os("ATOLL_UPDATE").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "{} is out of date; see the head of this test", path.display());
}

#[test]
fn the_example_file_is_up_to_date_and_equals_the_defaults() {
    let defaults = Config::defaults();
    same_as_kept("deploy/atolld.toml", &render::example(&defaults.entries));
    let example = Config::load(Some(&in_repository("deploy/atolld.toml")), []).unwrap();
    assert_eq!(example.config, defaults.config);
    let unset: Vec<_> = example.entries.iter().filter(|e| e.origin == Place::Default).collect();
    assert!(unset.iter().all(|entry| entry.default.is_none()), "the example sets every key");
}

#[test]
fn the_page_for_operators_is_up_to_date() {
    const MARK: &str = "<!-- From here on the page is made from the declarations. -->\n";
    let path = in_repository("docs/operations/configuration.md");
    let kept = fs::read_to_string(path).unwrap();
    let (by_hand, _) = kept.split_once(MARK).expect("the mark is there");
    let made = format!("{by_hand}{MARK}{}", render::reference(&Config::defaults().entries));
    same_as_kept("docs/operations/configuration.md", &made);
}

#[test]
fn what_show_prints_reads_back_to_the_same_configuration() {
    let text = "[http]\nheader_timeout = \"3s\"\n[registry]\nprotected_tags = [\"v*\"]\n";
    let variables = [("ATOLL__NODE__ID".into(), "node-7".into())];
    let loaded = Config::parse("a.toml", text, variables).unwrap();
    let shown = render::effective(&loaded.entries);
    assert_eq!(Config::parse("shown", &shown, []).unwrap().config, loaded.config);

    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("header_timeout =").ends_with("# a.toml:2:18"));
    assert!(line("id = \"node-7\"").ends_with("# environment ATOLL__NODE__ID"));
    assert!(line("idle_timeout = \"75s\"").ends_with("# default"));
}

#[test]
fn every_key_is_explained_and_every_number_has_bounds() {
    for entry in Config::defaults().entries {
        assert!(entry.doc.ends_with('.'), "{}: {:?}", entry.path(), entry.doc);
        let counted = entry.schema["type"] == "integer"
            || entry.expected.starts_with("a whole size")
            || entry.expected.starts_with("a duration");
        assert_eq!(counted, entry.range.is_some(), "{}", entry.path());
    }
}

#[test]
fn the_schema_describes_every_key_with_its_default_and_range() {
    let entries = Config::defaults().entries;
    let schema = schema::schema(&entries);
    for entry in &entries {
        let property = &schema["properties"][entry.section]["properties"][entry.key];
        assert!(property["description"].is_string(), "{}", entry.path());
        assert_eq!(property.get("default").is_some(), entry.default.is_some(), "{}", entry.path());
        assert!(property["type"].is_string(), "{}", entry.path());
    }
    let http = &schema["properties"]["http"];
    assert_eq!(http["additionalProperties"], false);
    assert_eq!(http["properties"]["connections_max"]["minimum"], 1);
    assert_eq!(http["properties"]["connections_max"]["default"], 20_000);
    let timeout = &http["properties"]["header_timeout"];
    assert!(timeout["description"].as_str().unwrap().ends_with("Allowed: \"100ms\" to \"10m\"."));
    assert_eq!(
        schema["properties"]["registry"]["properties"]["protected_tags"]["default"][0],
        serde_json::Value::Null
    );
}
