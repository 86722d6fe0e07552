//! The client against real nodes: `ATOLLD=/path/to/atolld cargo test -p atoll-client --test lib_live`.
//!
//! Without `ATOLLD` nothing runs: the binary belongs to another crate.

#![allow(clippy::disallowed_methods, reason = "a test of real processes is no simulation")]

mod lib_common;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use atoll_client::{
    Client, Digest, Kind, OCI_MANIFEST, Place, Platforms, Pushed, Reference, Seed, copy,
};
use bytes::Bytes;
use futures_util::future::join_all;
use lib_common::{content, digest, repo};
use serde_json::{Value, json};

/// Nodes of a cluster that `atolld dev` has founded. They run on their own: `dev` ends when one of
/// its nodes does.
struct Nodes {
    processes: Vec<Child>,
    nodes: Vec<Value>,
}

/// Long enough for a busy machine, short enough to end a test run.
const DEADLINE: Duration = Duration::from_secs(90);

impl Nodes {
    fn start(atolld: &str, folder: &Path, count: u16) -> Nodes {
        let nodes = found(atolld, folder, count);
        let serve = |number: usize| {
            let config = folder.join(format!("node{number}")).join("atolld.toml");
            spawn(Command::new(atolld).arg("serve").arg("--config").arg(config))
        };
        let processes = (1..=nodes.len()).map(serve).collect();
        let started = Nodes { processes, nodes };
        for node in &started.nodes {
            wait_for("a node is ready", || is_ready(node["admin"].as_str().expect("an address")));
        }
        started
    }

    fn http(&self, node: usize) -> String {
        self.nodes[node]["http"].as_str().expect("an address").to_owned()
    }

    fn kill(&mut self, node: usize) {
        self.processes[node].kill().expect("it ran");
        self.processes[node].wait().expect("it is a child");
    }

    fn client(&self) -> Client {
        let seeds = (0..self.nodes.len()).map(|node| Seed::Node(self.http(node))).collect();
        Client::builder(seeds).build().expect("a client")
    }

    /// The owners that the server itself names, the master first.
    fn owners(&self, digest: &Digest) -> Vec<u64> {
        let admin = self.nodes[0]["admin"].as_str().expect("an address");
        let found = get(admin, &format!("/v1/where?ref={digest}"));
        let copies = found["objects"][0]["copies"].as_array().expect("copies").clone();
        let owners = copies.iter().filter(|copy| copy["owner"] == json!(true));
        owners.map(|copy| copy["node"].as_u64().expect("a number")).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Lets `atolld dev` make a cluster in the folder, and stops it again.
fn found(atolld: &str, folder: &Path, count: u16) -> Vec<Value> {
    let port = free_ports(count).to_string();
    let mut dev = Command::new(atolld);
    dev.args(["dev", "--port", &port, "--nodes", &count.to_string(), "--data-dir"]).arg(folder);
    let mut dev = spawn(&mut dev);
    let summary = || {
        let text = std::fs::read(folder.join("dev.json")).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?["nodes"].as_array().cloned()
    };
    wait_for("a cluster is founded", || summary().is_some());
    let nodes = summary().expect("it was there");
    let ended = Command::new("kill").arg(dev.id().to_string()).status().expect("kill runs");
    assert!(ended.success());
    dev.wait().expect("it is a child");
    nodes
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("atolld starts")
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn is_ready(admin: &str) -> bool {
    ask(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// A port P such that P, P+1, P+2 are free for each node, ten apart.
fn free_ports(nodes: u16) -> u16 {
    let mine = std::process::id() as u16;
    let bases = (0..200).map(|step| 21_000 + (mine.wrapping_add(step * 7) % 300) * 100);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut fitting = bases.filter(|base| {
        (0..nodes).all(|node| (0..3).all(|offset| is_free(base + node * 10 + offset)))
    });
    fitting.next().expect("free ports")
}

fn ask(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn get(address: &str, path: &str) -> Value {
    let answer = ask(address, path).expect("an answer");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn push_image(client: &Client, tag: &str, layers: &[Bytes]) -> Reference {
    let repo = repo();
    let config = Bytes::from(format!(r#"{{"tag":"{tag}"}}"#));
    let mut described = Vec::new();
    for blob in std::iter::once(&config).chain(layers) {
        let digest = digest(blob);
        let size = blob.len() as u64;
        client.push_blob(&repo, &digest, size, blob.clone()).await.expect("pushed");
        described
            .push(json!({"mediaType": "application/octet-stream", "digest": digest, "size": size}));
    }
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                          "config": described[0], "layers": described[1..]});
    let reference: Reference = tag.parse().expect("a tag");
    let bytes = Bytes::from(manifest.to_string());
    client.push_manifest(&repo, &reference, OCI_MANIFEST, bytes).await.expect("pushed");
    reference
}

#[tokio::test]
async fn real_nodes_serve_a_client_that_knows_them_and_one_may_die() {
    let Ok(atolld) = std::env::var("ATOLLD") else {
        eprintln!("ATOLLD is not set: nothing was tested");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut dev = Nodes::start(&atolld, folder.path(), 3);
    let client = dev.client();
    client.ping().await.expect("a registry");

    let small: Vec<Bytes> = (0..100).map(|seed| content(seed, 20_000)).collect();
    for blob in &small {
        let pushed = client.push_blob(&repo(), &digest(blob), 20_000, blob.clone()).await;
        assert_eq!(pushed.expect("pushed"), Pushed::Stored);
    }
    let large = content(1000, 30_000_000);
    let reference = push_image(&client, "v1", std::slice::from_ref(&large)).await;

    same_owners(&client, &dev, &small);
    everything_is_pulled(&client, &small, &large, &reference).await;
    everything_is_listed_and_copied(&client, &reference).await;

    dev.kill(1);
    let repo = repo();
    for round in 0..4 {
        let (client, repo) = (&client, &repo);
        let pulls = small.iter().map(|blob| async move {
            let pulled = client.blob(repo, &digest(blob), None).await.expect("no pull fails");
            assert_eq!(pulled.as_bytes(), Some(blob));
        });
        join_all(pulls).await;
        let pulled = client.blob(repo, &digest(&large), None).await.expect("no pull fails");
        assert_eq!(pulled.into_bytes().await.expect("bytes"), large, "round {round}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let more = content(2000, 500_000);
    client.push_blob(&repo, &digest(&more), 500_000, more.clone()).await.expect("pushed");
    push_image(&client, "v2", std::slice::from_ref(&more)).await;
    client.refresh().await.expect("a view");
    let stats = client.stats();
    println!("{}", serde_json::to_string_pretty(&stats).expect("JSON"));
    assert!(stats.fail_overs > 0 && stats.mismatches == 0);
}

fn same_owners(client: &Client, dev: &Nodes, blobs: &[Bytes]) {
    for blob in blobs {
        let digest = digest(blob);
        let own: Vec<u64> = client.owners(&digest).iter().map(|owner| owner.id.0.into()).collect();
        assert_eq!(own, dev.owners(&digest), "{digest}");
    }
}

async fn everything_is_pulled(
    client: &Client,
    small: &[Bytes],
    large: &Bytes,
    reference: &Reference,
) {
    let repo = repo();
    let before = client.stats();
    for blob in small {
        let pulled = client.blob(&repo, &digest(blob), Some(20_000)).await.expect("a blob");
        assert_eq!(pulled.as_bytes(), Some(blob));
    }
    let requests = client.stats().requests() - before.requests();
    // A look at the view may fall into this time, and a slow answer is hedged.
    let most = 100 + 2 + client.stats().hedges - before.hedges;
    assert!((100..=most).contains(&requests), "{requests} requests for 100 pulls");
    let manifest = client.manifest(&repo, reference, &[]).await.expect("a manifest");
    let blobs = manifest.blobs().expect("an image");
    assert_eq!(blobs[1].digest, digest(large));
    for size in [Some(blobs[1].size), None] {
        let pulled = client.blob(&repo, &blobs[1].digest, size).await.expect("a blob");
        assert_eq!(&pulled.into_bytes().await.expect("bytes"), large);
    }
    let resolved = client.resolve(&repo, reference, &[]).await.expect("it is there");
    assert_eq!(resolved, manifest.descriptor);
    let absent = client.blob(&repo, &digest(b"nowhere"), None).await.expect_err("absent");
    assert_eq!(absent.kind(), Kind::NotFound);
}

async fn everything_is_listed_and_copied(client: &Client, reference: &Reference) {
    let (repo, other) = (repo(), "team/copy".parse().expect("a name"));
    let from = Place { client, repo: &repo, reference };
    let to = Place { client, repo: &other, reference };
    let copied = copy(from, to, &Platforms::All).await.expect("copied");
    assert_eq!((copied.blobs, copied.blobs_present, copied.manifests), (0, 2, 1), "mounted");
    let catalog = client.catalog().await.expect("a listing");
    assert_eq!(catalog.len(), 2);
    assert!(catalog.contains(&repo) && catalog.contains(&other));
    let tags = client.tags(&other).await.expect("a listing");
    assert_eq!(tags.len(), 1);
    let subject = copied.digest.expect("a digest");
    assert_eq!(client.referrers(&other, &subject, None).await.expect("a listing"), []);
    client.delete_tag(&other, &tags[0]).await.expect("deleted");
    let gone = client.resolve(&other, reference, &[]).await.expect_err("gone");
    assert_eq!(gone.kind(), Kind::NotFound);
    client.delete_manifest(&other, &subject).await.expect("deleted");
}
