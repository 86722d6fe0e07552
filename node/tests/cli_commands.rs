//! The command line, through the built binary: what it prints, and its exit codes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test, of plain files")]

use std::{
    path::Path,
    process::{Command, Output},
};

fn atolld(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atolld"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn ended(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(text(&output.stderr), stderr);
    assert_eq!(text(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(code));
}

fn file(folder: &Path, content: &str) -> String {
    let path = folder.join("a.toml");
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn check_says_ok_or_everything_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    ended(&atolld(&["config", "check"], &[]), 0, "OK\n", "");

    let good = file(folder.path(), "[http]\nheader_timeout = \"3s\"\n");
    ended(&atolld(&["config", "check", "--config", &good], &[]), 0, "OK\n", "");

    let wrong = file(folder.path(), "[http]\nheader_timeout = 3\n[nod]\n");
    let told = format!(
        "{wrong}:2:18: http.header_timeout: received 3, expected a duration with its unit (ms, s, \
         m, h or d), such as \"30s\" or \"1h30m\"\n\
         {wrong}:3:2: unknown section [nod]; did you mean `node`?\n\
         environment ATOLL__LOG__LEVEL: log.level: received \"\", expected off, error, warn, info, \
         debug or trace, with exceptions such as \"info,openraft=warn\"\n"
    );
    let variables = [("ATOLL__LOG__LEVEL", "")];
    for command in [&["config", "check"][..], &["config", "show"], &["serve"]] {
        let arguments = [command, &["--config", &wrong]].concat();
        ended(&atolld(&arguments, &variables), 2, "", &told);
    }
}

#[test]
fn show_prints_values_with_their_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "[cache]\nbytes = \"1GiB\"\n");
    let variables = [("ATOLL__ADMIN__LISTEN", "127.0.0.1:7")];
    let output = atolld(&["config", "show", "--config", &path], &variables);
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("bytes"), format!("bytes = \"1GiB\" # {path}:2:9"));
    assert_eq!(line("groups"), "groups = 1 # default");
    assert!(shown.contains("listen = \"127.0.0.1:7\""), "{shown}");
    assert!(shown.contains("# environment ATOLL__ADMIN__LISTEN"), "{shown}");
    toml::from_str::<toml::Table>(shown).unwrap();
}

#[test]
fn schema_is_json() {
    let output = atolld(&["config", "schema"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["properties"]["http"]["properties"]["listen"]["default"], "127.0.0.1:5000");
}

#[test]
fn version_names_version_commit_and_target() {
    let output = atolld(&["version"], &[]);
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines[0], concat!("atolld ", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("commit "));
    assert!(lines[2].starts_with("target "));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_wrong_call_exits_with_2() {
    for arguments in [&[][..], &["sreve"], &["serve", "--conf"], &["config"], &["dev", "--port=0"]]
    {
        let output = atolld(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    ended(
        &atolld(&["dev", "--port", "65535"], &[]),
        2,
        "",
        "error: --port 65535: the nodes would need ports up to 65537, the last there is is 65535\n",
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atolld"));
    let piped = command.args(["config", "schema"]).env_clear().stdout(std::process::Stdio::piped());
    let mut child = piped.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
