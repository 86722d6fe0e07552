//! The suite against the real thing: Debian's ZooKeeper (`apt-get install zookeeper`), one server,
//! started by the test.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use atoll_node::{
    coordination::{Coordinator, zookeeper::ZooKeeper},
    io::{clock::RealClock, net},
};

use crate::suite::{Bench, run};

const JAR: &str = "/usr/share/java/zookeeper.jar";
/// Without it, a machine that has no ZooKeeper skips the test, loudly.
const REQUIRED: &str = "ATOLL_REQUIRE_ZOOKEEPER";
const TICK: Duration = Duration::from_millis(500);

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Server {
        let listener = net::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("java")
            .args(["-Xmx256m", "-Dzookeeper.admin.enableServer=false"])
            .args(["-Dzookeeper.forceSync=no", "-cp", JAR])
            .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
            .arg(address.port().to_string())
            .arg(folder.path())
            .arg(TICK.as_millis().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { process, address: address.to_string(), _folder: folder }
    }

    async fn coordinator(&self) -> ZooKeeper {
        let coordinator = ZooKeeper::new(self.address.clone(), Arc::new(RealClock::new()));
        for _ in 0..60 {
            if let Ok(session) = coordinator.open_session(Duration::from_secs(3)).await {
                session.close().await.unwrap();
                return coordinator;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("ZooKeeper does not answer at {}", self.address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_keeps_the_contract() {
    if !Path::new(JAR).exists() {
        let required = std::env::var(REQUIRED).is_ok_and(|required| required == "1");
        assert!(!required, "{JAR} is missing: apt-get install zookeeper");
        eprintln!("NOT TESTED: {JAR} is missing (apt-get install zookeeper; {REQUIRED}=1 insists)");
        return;
    }
    let server = Server::start().await;
    let coordinator = Arc::new(server.coordinator().await) as Arc<dyn Coordinator>;
    let heartbeat = Duration::from_millis(500);
    run(&Bench { servers: vec![coordinator], tick: TICK, heartbeat }).await;
}
