//! The real binary against an admin listener that answers what a test tells it to.

#![allow(clippy::disallowed_methods, reason = "a test of a process is no simulation")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

/// A listener that gives one answer after the other, and the requests it got.
struct Listener {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Answers request `n` with `answers[n]`, the last one ever after.
    fn answering(answers: &[(u16, &'static str)]) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, seen) = (answers.to_vec(), asked.clone());
        thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let (status, body) = answers[at.min(answers.len() - 1)];
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                let mut length = 0;
                let mut header = String::new();
                while reader.read_line(&mut header).expect("a header") > 2 {
                    if let Some(value) = header.strip_prefix("content-length: ") {
                        length = value.trim().parse().expect("a number");
                    }
                    header.clear();
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).expect("the body");
                let sent = String::from_utf8(sent).expect("text");
                let request = line.trim_end_matches(" HTTP/1.1\r\n");
                seen.lock().expect("no panic").push(format!("{request} {sent}"));
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all((head + body).as_bytes()).expect("an answer");
            }
        });
        Listener { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn atoll(address: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.arg("ctl").args(words).env("ATOLL_ADMIN", address).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_status_is_a_table_or_the_json_of_the_node() {
    let listener = Listener::answering(&[(200, include_str!("admin/status.json"))]);
    let table = atoll(&listener.address, &["status"]);
    assert_eq!(text(&table.stdout), include_str!("admin/status.txt"));
    assert_eq!(table.status.code(), Some(0));

    let json = atoll(&listener.address, &["status", "-o", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let sent: serde_json::Value =
        serde_json::from_str(include_str!("admin/status.json")).expect("JSON");
    assert_eq!(printed, sent, "nothing is added or lost");

    assert_eq!(atoll(&listener.address, &["status", "--check"]).status.code(), Some(4));
    let waited = atoll(&listener.address, &["status", "--wait", "50ms", "--interval", "20ms"]);
    assert_eq!(waited.status.code(), Some(1));
    assert!(text(&waited.stderr).contains("node 2 is down"), "{}", text(&waited.stderr));
}

#[test]
fn each_command_asks_for_what_it_says() {
    const CHANGED: &str = r#"{"committed": true, "changes": [{"node": 3, "change": "drain"}]}"#;
    let digest = format!("sha256:{}", "0".repeat(64));
    let cases: &[(&[&str], &str)] = &[
        (&["ring"], "GET /v1/ring "),
        (&["where", "team/app:1.0"], "GET /v1/where?ref=team%2Fapp%3A1.0 "),
        (&["where", &digest], &format!("GET /v1/where?ref=sha256%3A{} ", "0".repeat(64))),
        (&["drain", "3"], "POST /v1/nodes/3/drain {}"),
        (&["drain", "reef-3", "--dry-run"], "POST /v1/nodes/reef-3/drain?dry_run=1 {}"),
        (&["undrain", "3"], "POST /v1/nodes/3/undrain {}"),
        (&["remove", "3", "--force"], "POST /v1/nodes/3/remove?force=1 {}"),
        (&["replace", "3", "--by", "4"], r#"POST /v1/nodes/3/replace {"by":"4"}"#),
        (&["plan", "show"], "GET /v1/plan "),
        (
            &["plan", "stage", "drain:3", "remove:4"],
            r#"POST /v1/plan {"changes":[{"node":3,"change":"drain"},{"node":4,"change":"remove"}]}"#,
        ),
        (&["plan", "commit"], "POST /v1/plan/commit {}"),
        (&["plan", "discard"], "DELETE /v1/plan "),
        (&["repair"], "POST /v1/repair {}"),
        (&["gc", "--dry-run"], "POST /v1/gc?dry_run=1 {}"),
        (&["token", "create", "--ttl", "10m"], r#"POST /v1/tokens {"ttl_seconds":600}"#),
    ];
    let listener = Listener::answering(&[(200, CHANGED)]);
    for (words, _) in cases {
        let output = atoll(&listener.address, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }
    let asked = listener.asked();
    for ((_, expected), asked) in cases.iter().zip(&asked) {
        assert_eq!(asked, expected);
    }
    assert_eq!(asked.len(), cases.len());
}

#[test]
fn a_drain_is_watched_to_its_end() {
    const COMMITTED: &str = r#"{"committed": true, "changes": [{"node": 4, "change": "drain"}]}"#;
    const DRAINS: &str = r#"{"epoch": 5, "nodes": [{"id": 4, "state": "draining"}]}"#;
    const DRAINED: &str = r#"{"epoch": 6, "nodes": [{"id": 4, "safe_to_stop": true}]}"#;
    let listener =
        Listener::answering(&[(200, COMMITTED), (200, DRAINS), (200, DRAINS), (200, DRAINED)]);
    let output = atoll(&listener.address, &["drain", "4", "--watch"]);
    assert_eq!(
        text(&output.stdout),
        "committed: drain node 4\nno copies move\nepoch 5: node 4 drains\ndone\n"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_goes_wrong_says_what_to_do() {
    const REFUSAL: &str =
        r#"{"code": "plan_open", "message": "a plan is staged", "detail": "commit or discard it"}"#;
    let listener =
        Listener::answering(&[(409, REFUSAL), (404, "404 page not found"), (200, "hello")]);
    let refused = atoll(&listener.address, &["drain", "3"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        text(&refused.stderr),
        "error: a plan is staged (plan_open)\n  commit or discard it\n"
    );
    for _ in 0..2 {
        let strange = atoll(&listener.address, &["status"]);
        assert_eq!(strange.status.code(), Some(3));
        assert!(text(&strange.stderr).contains("is it the port of the registry"), "{strange:?}");
    }

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound").to_string();
    drop(nobody);
    let unreachable = atoll(&address, &["ring"]);
    assert_eq!(unreachable.status.code(), Some(3));
    assert!(text(&unreachable.stderr).contains("--admin HOST:PORT"), "{unreachable:?}");
    assert_eq!(atoll(&address, &["drain"]).status.code(), Some(2), "a wrong call");
}

#[test]
fn a_node_that_hangs_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound").to_string();
    let output = atoll(&address, &["ring", "--timeout", "100ms"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("--timeout"), "{output:?}");
}
