//! The house rules that a machine can hold: layers, seams, sizes, leftovers, links.
//!
//! Each rule is one test that lists every place which breaks it, as `file:line: what and why`. The
//! tables stand in `tidy/table.rs`; an exception there has a reason. Only the standard library is
//! used, so this is built in seconds and runs in less.

#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/table.rs"]
mod table;

use std::path::Path;

use source::{Source, code, files, imports, line_of, root, without_tests, words};

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// This test names what it forbids.
fn is_own(file: &Source) -> bool {
    file.path.starts_with("tests/tidy")
}

/// Files that hold only tests, by the names the tree uses for them.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The top module of a file below `node/src`.
fn top_module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("node/src/")?;
    let first = inside.split('/').next()?;
    (inside != "lib.rs").then(|| first.strip_suffix(".rs").unwrap_or(first))
}

/// The edges of one file that the table forbids.
fn forbidden_edges(path: &str, text: &str) -> Vec<String> {
    let Some(module) = top_module(path) else { return Vec::new() };
    let Some((_, allowed)) = table::LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}:1: module `{module}` has no row in tests/tidy/table.rs")];
    };
    let code = code(text);
    let crate_name = if module == "bin" { "atoll_node" } else { "crate" };
    let mut broken = Vec::new();
    for (target, at) in imports(&code, crate_name) {
        let known = table::LAYERS.iter().any(|(name, _)| *name == target);
        if known && target != module && !allowed.contains(&target) {
            let line = line_of(&code, at);
            broken.push(format!("{path}:{line}: `{module}` may not import `{target}`"));
        }
    }
    broken
}

#[test]
fn arrows_between_modules_point_down() {
    let broken: Vec<_> =
        files(&[".rs"]).iter().flat_map(|file| forbidden_edges(&file.path, &file.text)).collect();
    assert_none(&broken);
}

#[test]
fn the_table_of_layers_has_no_circle() {
    for (at, (module, allowed)) in table::LAYERS.iter().enumerate() {
        for target in *allowed {
            let below = table::LAYERS[..at].iter().any(|(name, _)| name == target);
            assert!(below, "`{module}` names `{target}`, which does not stand above its own row");
        }
    }
}

#[test]
fn a_forbidden_edge_is_found_in_every_spelling() {
    let spellings = [
        "use crate::http::Api;",
        "use crate::{\n    io::Io,\n    http::{Api, serve},\n};",
        "fn f() { crate::http::serve() }",
    ];
    for text in spellings {
        let found = forbidden_edges("node/src/store/reader.rs", text);
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].ends_with("`store` may not import `http`"), "{found:?}");
    }
    let fine =
        "/// See [`crate::http`].\nuse crate::{io::Io, store::Paths};\nlet s = \"crate::http\";";
    assert_eq!(forbidden_edges("node/src/store/reader.rs", fine), Vec::<String>::new());
    assert_eq!(forbidden_edges("node/src/newcomer.rs", "").len(), 1);
}

/// The names that a `Cargo.toml` depends on, each with its line.
fn dependencies(text: &str) -> Vec<(&str, usize)> {
    let mut in_dependencies = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(section) = line.trim().strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies && !line.trim_start().starts_with('#') {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            if !name.is_empty() && !name.contains(['{', '}', '"']) {
                found.push((name, number + 1));
            }
        }
    }
    found
}

#[test]
fn crates_depend_on_what_they_may() {
    let mut broken = Vec::new();
    for file in files(&["Cargo.toml"]).iter().filter(|file| file.path != "Cargo.toml") {
        let folder = file.path.trim_end_matches("/Cargo.toml");
        for (name, line) in dependencies(&file.text) {
            let place = format!("{}:{line}", file.path);
            if name == table::NEVER_A_DEPENDENCY {
                broken.push(format!("{place}: nothing depends on `{name}`"));
            }
            for (of, forbidden, why) in table::FORBIDDEN_DEPENDENCIES {
                if *of == folder && forbidden.contains(&name) {
                    broken.push(format!("{place}: `{name}` is forbidden here: {why}"));
                }
            }
        }
    }
    assert_none(&broken);
    let sample = "[package]\nname = \"x\"\n[dependencies]\ntokio.workspace = true\nredb = \"4\"\n";
    assert_eq!(dependencies(sample), [("tokio", 4), ("redb", 5)]);
}

/// What goes around a seam in one file, as `(name, door, line)`.
fn around_the_seams(text: &str) -> Vec<(&'static str, &'static str, usize)> {
    let code = code(text);
    let code = without_tests(&code);
    let mut found = Vec::new();
    for (name, door) in table::DOORS {
        let places = match name.split_once("::") {
            // A module is also named inside a group: `use std::{fs, io}`.
            Some((root, "fs")) => imports(code, root)
                .into_iter()
                .filter(|(head, _)| *head == "fs")
                .map(|at| at.1)
                .collect(),
            _ => words(code, name).collect::<Vec<_>>(),
        };
        found.extend(places.into_iter().map(|at| (*name, *door, line_of(code, at))));
    }
    found
}

#[test]
fn the_world_is_reached_through_the_seams() {
    let mut broken = Vec::new();
    let mut unused: Vec<_> = table::DOOR_EXCEPTIONS.to_vec();
    for file in files(&[".rs"]) {
        let bound = table::BOUND_TO_SEAMS.iter().any(|folder| file.path.starts_with(folder));
        if !bound || file.path.starts_with(table::SEAMS) || is_test_file(&file.path) {
            continue;
        }
        for (name, door, line) in around_the_seams(&file.text) {
            let excepted = |row: &&(&str, &str, &str)| row.0 == file.path && row.1 == name;
            if table::DOOR_EXCEPTIONS.iter().any(|row| excepted(&row)) {
                unused.retain(|row| !excepted(&row));
            } else {
                broken.push(format!("{}:{line}: `{name}` goes around `{door}`", file.path));
            }
        }
    }
    unused.retain(|(file, ..)| root().join(file).exists());
    broken.extend(unused.iter().map(|(file, name, _)| {
        format!("{file}: the exception for `{name}` is not needed; remove it")
    }));
    assert_none(&broken);
    let sample = "use tokio::net::TcpStream;\n// std::fs\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(around_the_seams(sample), [("TcpStream", "io::net", 1)]);
    assert_eq!(around_the_seams("use std::{\n    fs, io};"), [("std::fs", "io::Disk", 2)]);
}

/// Lines of the `select!`s whose branches are polled in random order.
fn unbiased_selects(text: &str) -> Vec<usize> {
    let code = code(text);
    let mut lines = Vec::new();
    for at in words(&code, "select!") {
        let body = code[at + "select!".len()..].trim_start().trim_start_matches(['{', '(']);
        if !body.trim_start().starts_with("biased;") {
            lines.push(line_of(&code, at));
        }
    }
    lines
}

#[test]
fn every_select_has_an_order() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]).iter().filter(|file| !is_own(file)) {
        for line in unbiased_selects(&file.text) {
            broken.push(format!(
                "{}:{line}: `select!` without `biased;`: a seed would not repeat a run",
                file.path
            ));
        }
    }
    assert_none(&broken);
    assert_eq!(unbiased_selects("\ntokio::select! {\n a = b => {}\n}"), [2]);
    assert!(unbiased_selects("select! {\n biased;\n a = b => {}\n}").is_empty());
}

#[test]
fn files_stay_short() {
    let too_long = |path: &str, lines: usize, max: usize| {
        (lines > max).then(|| format!("{path}: {lines} lines, at most {max}"))
    };
    let rust = files(&[".rs"]);
    let mut broken: Vec<_> = rust
        .iter()
        .filter_map(|file| too_long(&file.path, file.text.lines().count(), table::RUST_LINES_MAX))
        .collect();
    let documents = files(&[".md"]);
    for (path, max) in table::DOCUMENT_LINES_MAX {
        match documents.iter().find(|file| file.path == *path) {
            Some(file) => broken.extend(too_long(path, file.text.lines().count(), *max)),
            None => broken.push(format!("{path} is missing")),
        }
    }
    assert_none(&broken);
}

#[test]
fn nothing_is_left_over() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]).iter().filter(|file| !is_own(file)) {
        let code = code(&file.text);
        for leftover in table::LEFTOVERS {
            for at in words(&code, leftover) {
                broken.push(format!("{}:{}: `{leftover}`", file.path, line_of(&code, at)));
            }
        }
    }
    for file in files(&[".rs", ".md", ".py", ".sh", ".toml"]).iter().filter(|file| !is_own(file)) {
        for word in table::LEFTOVER_WORDS {
            for at in words(&file.text, word) {
                broken.push(format!("{}:{}: `{word}`", file.path, line_of(&file.text, at)));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn modules_say_what_they_are() {
    let broken: Vec<_> = files(&[".rs"])
        .iter()
        .filter(|file| file.path.contains("src/") && !is_test_file(&file.path))
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}:1: the module has no `//!` text", file.path))
        .collect();
    assert_none(&broken);
}

/// The relative targets of the links in a document, each with its line.
fn links(text: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let after = &text[at + 2..];
        let target = &after[..after.find([')', ' ', '\n']).unwrap_or(after.len())];
        let outside = target.contains("://") || target.starts_with(['#', '<']);
        if !outside && !target.starts_with("mailto:") {
            found.push((target.split('#').next().unwrap_or_default(), line_of(text, at)));
        }
    }
    found
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = root();
    let mut broken = Vec::new();
    for file in files(&[".md"]) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for (target, line) in links(&file.text) {
            if !root.join(folder).join(target).exists() {
                broken.push(format!("{}:{line}: `{target}` does not exist", file.path));
            }
        }
    }
    assert_none(&broken);
    let sample = "[a](b.md#c) [d](https://e) [f](#g)\n![h](i/j.png)";
    assert_eq!(links(sample), [("b.md", 1), ("i/j.png", 2)]);
}

/// The places in the tree that a document names in code spans, `path` or `path::test`.
fn named_places(text: &str) -> Vec<(&str, Option<&str>, usize)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for span in line.split('`').skip(1).step_by(2) {
            let (path, item) = match span.split_once("::") {
                Some((path, item)) => (path, Some(item)),
                None => (span, None),
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
            let in_tree = table::TOP_FOLDERS.iter().any(|top| path.starts_with(top));
            if in_tree && path.chars().all(plain) {
                found.push((path, item, number + 1));
            }
        }
    }
    found
}

#[test]
fn what_documents_name_exists() {
    let root = root();
    let sources = files(&[".rs"]);
    let mut broken = Vec::new();
    for file in files(&[".md"]) {
        for (path, item, line) in named_places(&file.text) {
            if !root.join(path).exists() {
                broken.push(format!("{}:{line}: `{path}` does not exist", file.path));
            }
            let Some(item) = item else { continue };
            let source = sources.iter().find(|source| source.path == path);
            let declared = |source: &Source| words(&source.text, item).next().is_some();
            if !source.is_some_and(declared) {
                broken.push(format!("{}:{line}: `{path}` has no `{item}`", file.path));
            }
        }
    }
    assert_none(&broken);
    let sample = "See `node/src/io/` and\n`node/tests/a.rs::b`, not `x/y` or `node/<n>`.";
    let expected = [("node/src/io/", None, 1), ("node/tests/a.rs", Some("b"), 2)];
    assert_eq!(named_places(sample), expected);
}

#[test]
fn no_file_names_somebodys_machine() {
    let mut broken = Vec::new();
    let endings = [".rs", ".md", ".toml", ".sh", ".py", ".yaml", "Justfile", "Dockerfile", "run"];
    for file in files(&endings).iter().filter(|file| !is_own(file)) {
        for path in table::MACHINE_PATHS {
            let excepted = |row: &&(&str, &str, &str)| row.0 == file.path && row.1 == *path;
            if table::MACHINE_PATH_EXCEPTIONS.iter().any(|row| excepted(&row)) {
                continue;
            }
            for (at, _) in file.text.match_indices(path) {
                broken.push(format!("{}:{}: `{path}`", file.path, line_of(&file.text, at)));
            }
        }
    }
    assert_none(&broken);
}
