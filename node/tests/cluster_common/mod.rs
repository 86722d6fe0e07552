//! Whole nodes in one process, each on a runtime and a folder of its own, so that one can die at any
//! moment without a word.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]
#![allow(clippy::disallowed_methods, reason = "a test, on the real machine")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use atoll_core::view::{NodeId, View};
use atoll_node::{
    app::node::{Node, NodeSettings},
    cluster::{Cluster, token::Token},
    config::{Config, HostPort, NodeName, Secret},
    coordination::Session,
    io::{Io, entropy::OsEntropy},
};
use tokio::runtime::Runtime;

/// Longer than anything here takes on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A node that lives until it is stopped or killed.
pub struct TestNode {
    runtime: Option<Runtime>,
    node: Option<Node>,
    pub cluster: Cluster,
    pub http: String,
    pub grpc: String,
    pub admin: String,
    folder: PathBuf,
    settings: NodeSettings,
}

/// A token that the founder is configured with and that lets any number in.
pub fn open_token() -> Secret {
    Secret::parse(&Token::draw(None, &OsEntropy).reveal()).unwrap()
}

/// Small and quick: a ring of few points, any free ports.
pub fn settings(name: &str, token: &Secret, join: &[&str]) -> NodeSettings {
    let mut settings = NodeSettings::from(&Config::default());
    let any = "127.0.0.1:0".parse().unwrap();
    (settings.http, settings.admin, settings.cluster.listen) = (any, any, any);
    settings.id = NodeName::parse(name);
    settings.connection_threads = 1;
    settings.cluster.points = Some(256);
    settings.cluster.token = Some(token.clone());
    settings.cluster.join = join.iter().map(|member| HostPort::parse(member).unwrap()).collect();
    settings
}

impl TestNode {
    /// Starts a node; it is a member when this returns.
    pub fn start(folder: &Path, settings: NodeSettings) -> anyhow::Result<TestNode> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        // A node that was killed a moment ago may still hold its folder.
        let begun = Instant::now();
        let io = loop {
            match Io::real(folder) {
                Ok(io) => break io,
                Err(error) => assert!(begun.elapsed() < DEADLINE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let node = runtime.block_on(Node::start(io, settings.clone()));
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(TestNode {
            cluster: node.cluster().clone(),
            http: node.http().to_string(),
            grpc: node.grpc().to_string(),
            admin: node.admin().to_string(),
            runtime: Some(runtime),
            node: Some(node),
            folder: folder.to_owned(),
            settings,
        })
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        let (runtime, node) = (self.runtime.take().unwrap(), self.node.take().unwrap());
        runtime.block_on(node.stop());
        runtime.shutdown_background();
    }

    /// Ends it as a loss of power does, but for the disk.
    pub fn kill(mut self) -> (PathBuf, NodeSettings) {
        self.die();
        (self.folder.clone(), self.settings.clone())
    }

    fn die(&mut self) {
        let node = self.node.take();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        drop(node);
    }

    /// Does something with this node's session in group 0.
    pub fn with_session<T>(&self, work: impl AsyncFnOnce(&dyn Session) -> T) -> T {
        let session = self.node.as_ref().unwrap().session().get().unwrap();
        self.runtime.as_ref().unwrap().block_on(work(session.as_ref()))
    }

    pub fn view(&self) -> Arc<View> {
        self.cluster.view()
    }

    /// Waits until this node's view is as wanted; answers how long that took.
    #[track_caller]
    pub fn wait_view(&self, what: &str, wanted: impl Fn(&View) -> bool) -> Duration {
        let begun = Instant::now();
        while !wanted(&self.view()) {
            let view = self.view();
            assert!(
                begun.elapsed() < DEADLINE,
                "node {}: {what}: epoch {}, open {}, members {:#?}",
                self.cluster.me(),
                view.epoch,
                view.open.len(),
                view.members
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.die();
    }
}

/// Are exactly these nodes up and in the ring, with nothing open?
pub fn settled(view: &View, nodes: &[u16]) -> bool {
    let up: Vec<u16> = view.ring_up().iter().map(|node| node.0).collect();
    up == nodes && view.open.is_empty()
}

/// Is the member up?
pub fn is_up(view: &View, node: u16) -> bool {
    view.is_up(NodeId(node))
}
