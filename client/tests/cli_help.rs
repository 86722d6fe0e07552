//! The help of every command, as it is printed: `client/tests/cli/help.txt`.

#![allow(clippy::disallowed_methods, reason = "a test of a process is no simulation")]

mod cli_common;

use cli_common::{Call, assert_same};

const COMMANDS: [&str; 14] = [
    "",
    "pull",
    "push",
    "copy",
    "ls",
    "tags",
    "inspect",
    "rm",
    "where",
    "status",
    "login",
    "logout",
    "completions",
    "man",
];

#[test]
fn the_help_is_the_one_that_was_read() {
    let call = Call::new("");
    let mut text = String::new();
    for command in COMMANDS {
        let words: Vec<&str> =
            [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        text.push_str(&call.transcript(&words));
    }
    assert_same("help.txt", &text);
}

#[test]
fn shells_and_the_manual_are_served() {
    let call = Call::new("");
    for shell in ["bash", "zsh", "fish"] {
        let output = call.run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains("docker-archive") || text.contains("inspect"), "{shell}");
        assert_eq!(output.status.code(), Some(0));
    }
    let page = String::from_utf8(call.run(&["man"]).stdout).expect("text");
    assert!(page.contains(".TH atoll 1"), "{page}");
    assert_eq!(call.run(&["man", "--dir", "."]).status.code(), Some(0));
    let page = std::fs::read_to_string(call.folder.path().join("atoll-pull.1")).expect("a page");
    assert!(page.contains("oci"), "{page}");
    assert_eq!(call.run(&["man", "--dir", "nowhere"]).status.code(), Some(1));
}
