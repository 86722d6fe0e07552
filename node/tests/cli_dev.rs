//! `atolld dev`, through the built binary: it starts, tells, stops, and says what went wrong.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, of plain files and processes"
)]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Long enough for the slowest machine, short enough to end a test run.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running `atolld dev`, killed at the end of the test whatever happens.
struct Dev {
    process: Option<Child>,
    folder: PathBuf,
}

impl Dev {
    fn start(folder: &Path, port: u16) -> Self {
        Self::start_nodes(folder, port, 1)
    }

    fn start_nodes(folder: &Path, port: u16, nodes: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atolld"));
        let process = command
            .args(["dev", "--port", &port.to_string(), "--nodes", &nodes.to_string()])
            .arg("--data-dir")
            .arg(folder)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Dev { process: Some(process), folder: folder.into() }
    }

    fn node(&self) -> serde_json::Value {
        self.nodes()[0].clone()
    }

    fn nodes(&self) -> serde_json::Value {
        let summary = std::fs::read(self.folder.join("dev.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&summary).unwrap()["nodes"].clone()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process.as_ref().unwrap()), signal).unwrap();
    }

    fn end(mut self) -> Output {
        let process = self.process.as_mut().unwrap();
        wait_until("dev ends", || process.try_wait().unwrap().is_some());
        self.process.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[track_caller]
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that is free together with the others that up to three nodes take, below those the system hands out itself.
/// No two tests of this process get the same.
fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let all_free = |port: u16| {
        (0..9)
            .map(|i| port + i / 3 * 10 + i % 3)
            .all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok())
    };
    loop {
        let number = std::process::id().wrapping_add(TAKEN.fetch_add(1, Relaxed)) % 400;
        let port = 20_000 + 30 * u16::try_from(number).unwrap();
        if all_free(port) {
            return port;
        }
    }
}

/// Starts `atolld dev` and waits until its node is ready; another process may take the port first.
fn ready(folder: &Path) -> Dev {
    ready_nodes(folder, 1)
}

fn ready_nodes(folder: &Path, nodes: u16) -> Dev {
    for _ in 0..10 {
        let mut dev = Dev::start_nodes(folder, free_port(), nodes);
        let mut ended = false;
        wait_until("dev.json", || {
            ended = dev.process.as_mut().unwrap().try_wait().unwrap().is_some();
            ended || folder.join("dev.json").exists()
        });
        if !ended {
            return dev;
        }
        let output = dev.end();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("ddress already in use"), "{told}");
    }
    panic!("no free port");
}

fn body_of(address: &str, path: &str) -> serde_json::Value {
    let answer = answer_of(address, path);
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn status_of(address: &str, path: &str) -> String {
    answer_of(address, path).lines().next().unwrap_or_default().to_owned()
}

fn answer_of(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn runs(pid: &serde_json::Value) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

#[test]
fn a_node_runs_from_the_table_to_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ready(folder.path());
    let node = dev.node();
    assert_eq!(node["id"], "node1");
    assert_eq!(status_of(node["admin"].as_str().unwrap(), "/readyz"), "HTTP/1.1 200 OK");
    assert_eq!(status_of(node["admin"].as_str().unwrap(), "/metrics"), "HTTP/1.1 200 OK");
    assert_eq!(node["data_dir"], folder.path().join("node1/data").display().to_string());
    assert!(runs(&node["pid"]));

    dev.signal(Signal::TERM);
    let output = dev.end();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let http = node["http"].as_str().unwrap();
    assert!(printed.contains(&format!("docker push {http}/hello-world")), "{printed}");
    assert!(printed.contains(&node["pid"].to_string()), "{printed}");
    assert!(!runs(&node["pid"]), "the node is stopped with its parent");
    assert!(!folder.path().join("dev.json").exists(), "nothing runs, so nothing is listed");

    let log = std::fs::read_to_string(folder.path().join("node1/atolld.log")).unwrap();
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON when not on a terminal");
    }
    assert!(log.contains("\"signal\":\"SIGTERM\""), "{log}");

    let again = ready(folder.path());
    again.signal(Signal::INT);
    assert_eq!(again.end().status.code(), Some(0), "a second start on the same folder");
}

#[test]
fn three_nodes_are_one_registry() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ready_nodes(folder.path(), 3);
    let nodes = dev.nodes();
    let mut addresses: Vec<&str> =
        (0..3).map(|index| nodes[index]["http"].as_str().unwrap()).collect();
    addresses.sort_unstable();
    for http in &addresses {
        let registries = body_of(http, "/v2/registries");
        assert_eq!(registries["Registries"], serde_json::json!(addresses), "at {http}");
        let view = body_of(http, "/v2/_atoll/view?ring=1");
        assert_eq!(view["members"].as_array().unwrap().len(), 3);
        assert_eq!(view["ring"]["owners"].as_array().unwrap().len(), 65_536);
    }
    dev.signal(Signal::TERM);
    assert_eq!(dev.end().status.code(), Some(0));
    let again = ready_nodes(folder.path(), 3);
    again.signal(Signal::TERM);
    assert_eq!(again.end().status.code(), Some(0), "a second start on the same folders");
}

#[test]
fn a_node_that_dies_is_told_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ready(folder.path());
    let pid = i32::try_from(dev.node()["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let output = dev.end();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = folder.path().join("node1/atolld.log").display().to_string();
    assert!(told.starts_with("error: node1 ended (signal: 9 (SIGKILL)); its log is "), "{told}");
    assert!(told.contains(&log), "{told}");
    assert!(told.contains("\"message\":\"node is ready\""), "the end of the log is shown: {told}");
}

#[test]
fn a_cluster_goes_on_without_a_node_that_died() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ready_nodes(folder.path(), 2);
    let nodes = dev.nodes();
    let pid = |node: usize| nodes[node]["pid"].clone();
    let second = Pid::from_raw(i32::try_from(pid(1).as_i64().unwrap()).unwrap()).unwrap();
    kill_process(second, Signal::KILL).unwrap();
    wait_until("the node is gone", || !runs(&pid(1)));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(runs(&pid(0)), "the other one goes on");
    dev.signal(Signal::TERM);
    let output = dev.end();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("node2 ended (signal: 9 (SIGKILL)); the others go on"), "{told}");
    assert!(told.contains("atolld serve --config"), "{told}");
}

#[test]
fn a_node_ends_with_a_parent_that_could_not_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    let dev = ready(folder.path());
    let pid = dev.node()["pid"].clone();
    dev.signal(Signal::KILL);
    dev.end();
    wait_until("the node ends", || !runs(&pid));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let taken = TcpListener::bind(("127.0.0.1", port + 1)).unwrap();
    let output = Dev::start(folder.path(), port).end();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with(&format!(
            "error: node1 cannot listen on {} (cluster): ",
            taken.local_addr().unwrap()
        )),
        "{told}"
    );
    assert!(told.ends_with("stop what uses it, or choose another port with --port\n"), "{told}");
}
