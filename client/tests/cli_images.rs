//! What the commands for images print, their help and their exit codes: `client/tests/cli/*.txt`.

#![allow(clippy::disallowed_methods, reason = "a test of a process is no simulation")]

mod cli_common;

use std::{fs, net::TcpListener};

use atoll_client::{Algorithm, Digest};
use cli_common::{Call, Registry, assert_same};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

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

fn put(registry: &Registry, repo: &str, content: &[u8]) -> (Digest, usize) {
    let digest = Digest::of(Algorithm::Sha256, content);
    let path = format!("GET /v2/{repo}/blobs/{digest}");
    registry.answer(&path, 200, "application/octet-stream", content);
    (digest, content.len())
}

/// `app:v1` is an image of two layers, `app:both` an index with it.
fn registry() -> (Registry, Digest) {
    let registry = Registry::start();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["/app", "--serve"], "User": "7"},
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let (config, config_size) = put(&registry, "app", config.to_string().as_bytes());
    let mut layers = Vec::new();
    for content in [vec![b'a'; 3000], vec![b'b'; 20]] {
        let (digest, size) = put(&registry, "app", &content);
        layers.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size,
        }));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::of(Algorithm::Sha256, &manifest);
    for reference in ["v1".to_owned(), digest.to_string()] {
        registry.answer(&format!("GET /v2/app/manifests/{reference}"), 200, MANIFEST, &manifest);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{
            "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    registry.answer("GET /v2/app/manifests/both", 200, INDEX, index.to_string().as_bytes());
    registry.answer(
        "GET /v2/_catalog",
        200,
        "application/json",
        br#"{"repositories":["app","team/x"]}"#,
    );
    registry.answer(
        "GET /v2/app/tags/list",
        200,
        "application/json",
        br#"{"name":"app","tags":["both","v1"]}"#,
    );
    registry.answer("DELETE /v2/app/manifests/v1", 202, "text/plain", b"");
    (registry, digest)
}

fn transcripts(call: &Call, calls: &[&[&str]]) -> String {
    calls.iter().map(|words| call.transcript(words)).collect()
}

#[test]
fn results_for_people_and_for_programs() {
    let (registry, digest) = registry();
    let call = Call::new(&registry.address);
    let by_digest = format!("{}/app@{digest}", registry.address);
    let text = transcripts(
        &call,
        &[
            &["ls"],
            &["ls", "-o", "json"],
            &["tags", "app"],
            &["tags", "app", "-o", "json"],
            &["inspect", "app:v1"],
            &["inspect", "app:v1", "-o", "json"],
            &["inspect", "app:both"],
            &["inspect", "app:both", "-o", "json"],
            &["inspect", "app:both", "--platform", "linux/amd64", "--raw"],
            &["pull", "app:v1", "--to", "oci:one", "--quiet"],
            &["pull", "app:v1", "--to", "oci:one", "-o", "json"],
            &["pull", "app:v1", "--to", "oci:one:other"],
            &[
                "pull",
                "app:both",
                "--to",
                "docker-archive:x.tar",
                "--platform",
                "linux/amd64",
                "--quiet",
            ],
            &["pull", &by_digest, "--to", "oci-archive:y.tar", "-o", "json"],
            &["rm", "app:v1", "--yes"],
            &["rm", "app:v1", "--yes", "-o", "json"],
            &["logout"],
        ],
    );
    assert_same("results.txt", &text);
    let index = fs::read_to_string(call.folder.path().join("one/index.json")).expect("a layout");
    assert!(index.contains("\"v1\"") && index.contains("\"other\""), "{index}");
}

#[test]
fn what_goes_wrong_says_what_was_received_and_what_to_do() {
    let (registry, _) = registry();
    let digest = Digest::of(Algorithm::Sha256, b"right");
    registry.answer(&format!("GET /v2/app/manifests/{digest}"), 200, MANIFEST, b"wrong");
    registry.answer("GET /v2/app/manifests/odd", 200, MANIFEST, b"{}");
    registry.answer("GET /v2/secret/manifests/v1", 401, "application/json", b"");
    registry.answer(
        "GET /v2/forbidden/manifests/v1",
        403,
        "application/json",
        br#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#,
    );
    let call = Call::new(&registry.address);
    fs::create_dir(call.folder.path().join("thesis")).expect("a folder");
    fs::write(call.folder.path().join("thesis/text"), "").expect("a file");
    fs::write(call.folder.path().join("image.tgz"), [&b"\x1f\x8b\x08"[..], &[0; 600]].concat())
        .expect("a file");
    fs::write(call.folder.path().join("text.tar"), "no tar").expect("a file");
    let by_digest = format!("app@{digest}");
    let text = transcripts(
        &call,
        &[
            &["pull", "app:v2", "--to", "oci:x"],
            &["pull", "app:v1", "--to", "oci:thesis"],
            &["pull", "app:v1"],
            &["pull", "app:v1", "--to", "containerd:"],
            &["pull", "app:v1", "--to", "zip:x"],
            &["pull", "app:both", "--to", "docker-archive:x.tar", "--all"],
            &["pull", "app:both", "--to", "oci:x", "--platform", "linux/s390x"],
            &["pull", "app:both", "--to", "oci:x", "--platform", "s390x"],
            &["pull", "App:v1"],
            &["pull", "app:odd", "--to", "oci:x"],
            &["pull", &by_digest, "--to", "oci:x"],
            &["pull", "secret:v1", "--to", "oci:x"],
            &["pull", "forbidden:v1", "--to", "oci:x"],
            &["push", "docker:", "app:v1"],
            &["push", "oci:nowhere", "app:v1"],
            &["push", "oci:thesis", "app:v1"],
            &["push", "docker-archive:image.tgz", "app:v1"],
            &["push", "docker-archive:text.tar", "app:v1"],
            &["rm", "app:v1"],
            &["rm", "app"],
            &["tags", "app:v1"],
            &["where", "app:v1"],
            &["status"],
            &["login", "--username", "ann"],
            &["login", "--password-stdin"],
        ],
    );
    assert_same("errors.txt", &text);
    assert!(!call.folder.path().join("x.tar").exists(), "nothing is left of what failed");

    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound").to_string();
    drop(nobody);
    let call = Call::new(&address);
    let output = call.run(&["tags", "app", "--timeout", "200ms"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    let output = Call::new("").run(&["pull", "team/app"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("names no registry") && said.contains("--registry"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_login_is_tried_kept_used_and_forgotten() {
    let registry = Registry::start();
    let call = Call::new(&registry.address);
    registry.answer("GET /v2/", 401, "application/json", b"");
    let refused = call.run_with(&["login", "--username", "ann", "--password-stdin"], "secret\n");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let config = call.folder.path().join(".docker/config.json");
    assert!(!config.exists(), "what does not work is not kept");

    registry.answer("GET /v2/", 200, "application/json", b"{}");
    let kept = call.run_with(&["login", "--username", "ann", "--password-stdin"], "secret\n");
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    assert!(String::from_utf8_lossy(&kept.stderr).contains("kept unencrypted"));
    assert!(fs::read_to_string(&config).expect("kept").contains("YW5uOnNlY3JldA=="));

    registry.answer("GET /v2/app/tags/list", 401, "application/json", b"");
    let denied = call.run(&["tags", "app"]);
    assert_eq!(denied.status.code(), Some(4), "{denied:?}");
    let sent = registry.asked();
    let sent = sent.iter().filter(|request| request.contains("Basic YW5uOnNlY3JldA=="));
    assert!(sent.count() > 0, "the login was sent where it was asked for");
    for output in [&refused, &kept, &denied] {
        let text = format!("{output:?}");
        assert!(!text.contains("secret") && !text.contains("YW5u"), "{text}");
    }
    assert_eq!(call.run(&["logout"]).status.code(), Some(0));
    assert!(!fs::read_to_string(&config).expect("there").contains("YW5u"));
}

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
    let page = fs::read_to_string(call.folder.path().join("atoll-pull.1")).expect("a page");
    assert!(page.contains("oci"), "{page}");
    assert_eq!(call.run(&["man", "--dir", "nowhere"]).status.code(), Some(1));
}
