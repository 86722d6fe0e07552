//! What an operator reads when a configuration is wrong: the exact words, for each kind of error.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, of plain files")]

use std::ffi::OsString;

use atoll_node::config::Config;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn os(variables: Variables<'_>) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[track_caller]
fn refused_with(text: &str, variables: Variables<'_>) -> String {
    Config::parse("a.toml", text, os(variables)).expect_err("this is wrong").to_string()
}

#[track_caller]
fn refused(text: &str) -> String {
    refused_with(text, &[])
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_key_that_was_meant() {
    assert_eq!(
        refused("[http]\n\nheader_timout = \"10s\"\n"),
        "a.toml:3:1: unknown key `http.header_timout`; did you mean `header_timeout`?"
    );
    assert_eq!(
        refused("[http]\ndelete-enabled = true"),
        "a.toml:2:1: unknown key `http.delete-enabled`"
    );
    assert_eq!(
        refused("[registry]\ndelete-enabled = true"),
        "a.toml:2:1: unknown key `registry.delete-enabled`; did you mean `delete_enabled`?"
    );
    assert_eq!(
        refused("[http]\ndata_dir = \"/srv\""),
        "a.toml:2:1: unknown key `http.data_dir`; did you mean `node.data_dir`?"
    );
    assert_eq!(
        refused("data_dir = \"/srv\""),
        "a.toml:1:1: unknown key `data_dir`; did you mean `node.data_dir`?"
    );
    assert_eq!(refused("[http]\nzzz = 1"), "a.toml:2:1: unknown key `http.zzz`");
}

#[test]
fn an_unknown_section_is_told_once_and_not_for_each_of_its_keys() {
    assert_eq!(
        refused("[strage]\nblob_bytes_max = \"1GiB\"\nreserve_percent = 5\n"),
        "a.toml:1:2: unknown section [strage]; did you mean `storage`?"
    );
    assert_eq!(
        refused("http = 3"),
        "a.toml:1:1: http: received a value, expected a section, such as [http]"
    );
    assert_eq!(
        refused("[[http]]\nlisten = \"127.0.0.1:1\""),
        "a.toml:1:3: http: received a value, expected a section, such as [http]"
    );
}

#[test]
fn a_value_of_the_wrong_form_is_told_with_what_is_expected() {
    let cases = [
        (
            "[http]\nlisten = 5000",
            "a.toml:2:10: http.listen: received 5000, expected an IP address and a port, such as \
             \"127.0.0.1:5000\" or \"[::]:5000\"",
        ),
        (
            "[http]\nlisten = \"localhost:5000\"",
            "a.toml:2:10: http.listen: received \"localhost:5000\", expected an IP address and a \
             port, such as \"127.0.0.1:5000\" or \"[::]:5000\"",
        ),
        (
            "[http]\nheader_timeout = 10",
            "a.toml:2:18: http.header_timeout: received 10, expected a duration with its unit \
             (ms, s, m, h or d), such as \"30s\" or \"1h30m\"",
        ),
        (
            "[cache]\nbytes = \"256MB\"",
            "a.toml:2:9: cache.bytes: received \"256MB\", expected a whole size with its unit (B, \
             KiB, MiB, GiB or TiB), such as \"64KiB\"",
        ),
        (
            "[registry]\nread_only = \"yes\"",
            "a.toml:2:13: registry.read_only: received \"yes\", expected true or false",
        ),
        (
            "[http]\nconnections_max = 1.5",
            "a.toml:2:19: http.connections_max: received 1.5, expected a whole number",
        ),
        (
            "[node]\nid = \"Node_1\"",
            "a.toml:2:6: node.id: received \"Node_1\", expected 1 to 63 lower-case letters, digits \
             and hyphens, with no hyphen at either end",
        ),
        (
            "[node]\ndata_dir = \"\"",
            "a.toml:2:12: node.data_dir: received \"\", expected a path that is not empty",
        ),
        (
            "[log]\nlevel = \"inof\"",
            "a.toml:2:9: log.level: received \"inof\", expected off, error, warn, info, debug or \
             trace, with exceptions such as \"info,openraft=warn\"",
        ),
        (
            "[log]\nformat = \"xml\"",
            "a.toml:2:10: log.format: received \"xml\", expected \"auto\", \"json\" or \"text\"",
        ),
        (
            "[registry]\nprotected_tags = [\"v*\", 7]",
            "a.toml:2:18: registry.protected_tags: received [\"v*\", 7], expected a list of tag \
             patterns, such as [\"v*\", \"prod/*:release-*\"] (a variable: v*,prod/*:r*)",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn a_value_out_of_range_is_told_with_its_bounds() {
    let cases = [
        (
            "[http]\nheader_timeout = \"1ms\"",
            "a.toml:2:18: http.header_timeout: received \"1ms\", allowed is \"100ms\" to \"10m\"",
        ),
        (
            "[registry]\ntags_per_push_max = 9",
            "a.toml:2:21: registry.tags_per_push_max: received 9, allowed is 10 to 1000",
        ),
        (
            "[storage]\nreserve_percent = 300",
            "a.toml:2:19: storage.reserve_percent: received 300, allowed is 0 to 50",
        ),
        (
            "[http]\nconnections_max = -1",
            "a.toml:2:19: http.connections_max: received -1, allowed is 1 to 1000000",
        ),
        (
            "[registry]\nmanifest_bytes_max = \"1MiB\"",
            "a.toml:2:22: registry.manifest_bytes_max: received \"1MiB\", allowed is \"4MiB\" to \
             \"64MiB\"",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn a_plain_listener_stays_on_loopback_until_someone_accepts_it() {
    assert_eq!(
        refused("[http]\nlisten = \"0.0.0.0:5000\""),
        "a.toml:2:10: http.listen: 0.0.0.0:5000 can be reached from other machines and this \
         listener is not encrypted; listen on a loopback address, or set http.insecure = true to \
         accept that"
    );
    assert!(refused("[admin]\nlisten = \"[::]:5002\"").contains("admin.insecure = true"));
    let accepted = "[http]\nlisten = \"0.0.0.0:5000\"\ninsecure = true";
    let config = Config::parse("a.toml", accepted, []).unwrap().config;
    assert!(config.http.listen.ip().is_unspecified());
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    assert_eq!(
        refused("[cluster]\ntls = \"always\"\ninsecure = true"),
        "a.toml:3:12: cluster.insecure: cluster.tls is \"always\"; one of them"
    );
    assert_eq!(
        refused("[cluster]\nlisten = \"127.0.0.1:5000\""),
        "a.toml:2:10: cluster.listen: 127.0.0.1:5000 collides with http.listen = \
         \"127.0.0.1:5000\""
    );
    assert_eq!(
        refused("[storage]\nupload_bytes_max = \"1GiB\""),
        "a.toml:2:20: storage.upload_bytes_max: 1GiB is less than storage.blob_bytes_max = \
         \"100GiB\""
    );
    assert_eq!(
        refused_with("", &[("ATOLL__CACHE__BUFFER_OBJECT_MAX", "512MiB")]),
        "environment ATOLL__CACHE__BUFFER_OBJECT_MAX: cache.buffer_object_max: 512MiB is more than \
         cache.bytes = \"256MiB\""
    );
    assert!(Config::parse("a", "[cache]\nbytes = \"0\"", []).is_ok(), "a cache that is off");
}

#[test]
fn a_variable_wins_over_the_file_and_is_checked_alike() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\nheader_timeout = \"3s\"\n";
    let variables = [
        ("ATOLL__HTTP__LISTEN", "127.0.0.1:7"),
        ("ATOLL__REGISTRY__PROTECTED_TAGS", "v*, prod/*:latest"),
        ("ATOLL__REGISTRY__READ_ONLY", "true"),
        ("ATOLL__NODE__ID", ""),
        ("ATOLL_PORT", "tcp://10.0.0.1:80"),
        ("PATH", "/bin"),
    ];
    let config = Config::parse("a.toml", text, os(&variables)).unwrap().config;
    assert_eq!(config.http.listen.port(), 7);
    assert_eq!(config.http.header_timeout.as_secs(), 3);
    assert_eq!(config.registry.protected_tags.len(), 2);
    assert!(config.registry.read_only);
    assert_eq!(config.node.id, None);

    assert_eq!(
        refused_with("", &[("ATOLL__HTTP__HEADER_TIMEOUT", "10")]),
        "environment ATOLL__HTTP__HEADER_TIMEOUT: http.header_timeout: received \"10\", expected a \
         duration with its unit (ms, s, m, h or d), such as \"30s\" or \"1h30m\""
    );
    assert_eq!(
        refused_with("", &[("ATOLL__HTTP__STREAMS_MAX", "0")]),
        "environment ATOLL__HTTP__STREAMS_MAX: http.streams_max: received \"0\", allowed is 1 to \
         10000"
    );
}

#[test]
fn an_unknown_variable_is_refused_with_the_one_that_was_meant() {
    assert_eq!(
        refused_with("", &[("ATOLL__HTTP__LISTEM", "127.0.0.1:1")]),
        "environment ATOLL__HTTP__LISTEM: no key has this variable; did you mean \
         `ATOLL__HTTP__LISTEN`?"
    );
    assert_eq!(
        refused_with("", &[("ATOLL__http__listen", "127.0.0.1:1")]),
        "environment ATOLL__http__listen: no key has this variable; did you mean \
         `ATOLL__HTTP__LISTEN`?"
    );
    assert_eq!(
        refused_with("", &[("ATOLL__X", "1")]),
        "environment ATOLL__X: no key has this variable"
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let variable = ("ATOLL__NODE__ID".into(), OsString::from_vec(vec![b'n', 0xff]));
    let error = Config::parse("a.toml", "", [variable]).unwrap_err();
    assert_eq!(error.to_string(), "environment ATOLL__NODE__ID: not valid UTF-8");
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    let text = "[log]\nlevel = \"loud\"\n[http]\nlisten = 1\nlisten_on = 2\n[cache]\nbytes = 1\n";
    let told = refused_with(text, &[("ATOLL__X", "1")]);
    let places: Vec<_> = told.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected =
        ["a.toml:2:9", "a.toml:4:10", "a.toml:5:1", "a.toml:7:9", "environment ATOLL__X"];
    assert_eq!(places, expected, "{told}");
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    for (text, place) in [
        ("[http]\nlisten = \n", "a.toml:2:"),
        ("[http\nlisten = 1", "a.toml:1:"),
        ("[http]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n", "a.toml:3:1"),
        ("{\"http\": {}}", "a.toml:1:1"),
        ("http:\n  listen: 1\n", "a.toml:1:"),
        ("a = &b\n", "a.toml:1:"),
    ] {
        let told = refused(text);
        assert!(told.starts_with(place), "{text:?} told {told:?}");
    }
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(refused(&deep).starts_with("a.toml:1:"));
}

#[test]
fn a_file_of_something_else_is_refused_quickly_and_briefly() {
    let keys: String = (0..20_000).map(|n| format!("key{n} = {n}\n")).collect();
    assert_eq!(
        refused(&keys),
        "a.toml:1:1: more than 1024 keys: this is no configuration of Atoll"
    );
    let keys: String = (0..1000).map(|n| format!("key{n} = {n}\n")).collect();
    let told = refused(&keys);
    assert_eq!(told.lines().count(), 51);
    assert!(told.ends_with("and 950 more"), "{told}");
}

#[test]
fn files_that_cannot_be_a_configuration_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let told = Config::load(Some(&path), []).unwrap_err().to_string();
        told.replace(&folder.path().display().to_string(), "DIR")
    };
    assert_eq!(
        load("large.toml", &vec![b'#'; (1 << 20) + 1]),
        "DIR/large.toml: the configuration file is longer than 1048576 bytes"
    );
    assert_eq!(load("latin.toml", b"[node]\nid = \"\xe4\""), "DIR/latin.toml:2:7: not valid UTF-8");
    assert_eq!(load("wide.toml", b"\xff\xfe[\0h\0"), "DIR/wide.toml:1:1: not valid UTF-8");

    let missing = Config::load(Some(&folder.path().join("none.toml")), []).unwrap_err();
    assert!(missing.to_string().contains("none.toml: cannot read the configuration file"));
    let directory = Config::load(Some(folder.path()), []).unwrap_err();
    assert!(directory.to_string().contains("cannot read the configuration file"));
    let mut most = vec![b'#'; 1 << 20];
    most[100] = b'\n';
    let path = folder.path().join("most.toml");
    std::fs::write(&path, most).unwrap();
    assert!(Config::load(Some(&path), []).is_ok(), "the limit itself is allowed");
}

proptest::proptest! {
    #[test]
    fn no_text_and_no_variable_panics(text: String, name in "[A-Z_]{0,12}", value: String) {
        let variable = (format!("ATOLL__{name}").into(), value.into());
        let _ = Config::parse("a.toml", &text, [variable]);
    }

    #[test]
    fn no_value_of_any_key_panics(key in proptest::sample::select(keys()), value in VALUES) {
        let (section, key) = key;
        let _ = Config::parse("a.toml", &format!("[{section}]\n{key} = {value}\n"), []);
        let variable = atoll_node::config::source::variable(section, key);
        let _ = Config::parse("a.toml", "", [(variable.into(), value.into())]);
    }
}

/// TOML values, right and wrong.
const VALUES: &str =
    "-?[0-9]{1,40}|\"[0-9]{0,21}[a-zA-Z]{0,3}\"|\\[\"[a-z:*/]{0,9}\"\\]|true|0x[0-9a-f]{1,40}";

fn keys() -> Vec<(&'static str, &'static str)> {
    Config::defaults().entries.iter().map(|entry| (entry.section, entry.key)).collect()
}
