//! The servers compared: how each is configured, started, found ready and stopped.
//!
//! distribution runs as Debian ships it (filesystem driver, in-memory descriptor cache) without
//! its access log and without authentication; nginx serves plain files with sendfile. Both are set
//! up as their own documentation advises for speed, so that a ratio says something.

use anyhow::Context;
use serde::Serialize;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server that does not answer by then has failed to start.
const START_MAX: Duration = Duration::from_secs(30);
/// A server that has not ended by then is killed.
const STOP_MAX: Duration = Duration::from_secs(20);

/// One of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `atolld dev --nodes 1`.
    Atoll,
    /// Debian's docker-registry.
    Distribution,
    /// Files only: it takes no pushes.
    Nginx,
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Atoll => "atoll",
            Self::Distribution => "distribution",
            Self::Nginx => "nginx",
        }
    }

    /// Whether it is a registry that can be pushed to.
    pub fn takes_pushes(self) -> bool {
        self != Self::Nginx
    }
}

/// A running server; dropped, it is stopped.
pub struct Server {
    /// Which one.
    pub kind: Kind,
    /// Where it serves `/v2/`.
    pub address: SocketAddr,
    /// Root of the process tree whose cost is counted.
    pub pid: u32,
    directory: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `kind` with empty data under `directory` and waits until it answers.
    ///
    /// # Errors
    /// The program is missing, ends at once, or does not answer within 30 s.
    pub fn start(kind: Kind, atolld: &Path, directory: &Path, port: u16) -> anyhow::Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).context("clear the data of an earlier run")?;
        }
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let mut command = match kind {
            Kind::Atoll => atoll(atolld, &directory, port),
            Kind::Distribution => distribution(&directory, port)?,
            Kind::Nginx => nginx(&directory, port)?,
        };
        let log = fs::File::create(directory.join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", kind.name()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { kind, address, pid: child.id(), directory, child };
        server.wait_until_ready().with_context(|| {
            format!("{} did not start; see {}", kind.name(), server.directory.display())
        })?;
        Ok(server)
    }

    /// Directory whose files nginx serves from `/`.
    pub fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("it ended with {status}");
            }
            if self.answers()? {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "no answer within {START_MAX:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&mut self) -> anyhow::Result<bool> {
        if self.kind != Kind::Atoll {
            return Ok(TcpStream::connect(self.address).is_ok());
        }
        let Ok(text) = fs::read_to_string(self.directory.join("data/dev.json")) else {
            return Ok(false);
        };
        // Half-written: the next look sees it whole.
        let Ok(dev) = serde_json::from_str::<serde_json::Value>(&text) else { return Ok(false) };
        let node = &dev["nodes"][0];
        self.pid = node["pid"].as_u64().context("dev.json has no pid")?.try_into()?;
        self.address = address_in(&node["http"])?;
        Ok(is_ready(address_in(&node["admin"])?))
    }

    /// Removes everything the server stored. The server must not be used afterwards.
    pub fn discard(self) -> anyhow::Result<()> {
        let directory = self.directory.clone();
        drop(self);
        fs::remove_dir_all(&directory).context("remove data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // Already ended: the wait below sees it.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn address_in(value: &serde_json::Value) -> anyhow::Result<SocketAddr> {
    let text = value.as_str().context("dev.json lacks an address")?;
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    text.parse().with_context(|| format!("address `{text}` of dev.json"))
}

/// `/readyz` is 200.
fn is_ready(admin: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    let mut status = [0; 12];
    stream.write_all(request).is_ok()
        && stream.read_exact(&mut status).is_ok()
        && status == *b"HTTP/1.1 200"
}

fn atoll(atolld: &Path, directory: &Path, port: u16) -> Command {
    let mut command = Command::new(atolld);
    command.args(["dev", "--nodes", "1", "--data-dir"]);
    command.arg(directory.join("data")).args(["--port", &port.to_string()]);
    command.env("ATOLL__LOG__LEVEL", "error");
    command
}

fn distribution(directory: &Path, port: u16) -> anyhow::Result<Command> {
    let config = directory.join("config.yml");
    let text = format!(
        "version: 0.1\n\
         log:\n  level: error\n  accesslog:\n    disabled: true\n\
         storage:\n  cache:\n    blobdescriptor: inmemory\n  \
         filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:{port}\n  headers:\n    X-Content-Type-Options: [nosniff]\n\
         health:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n",
        directory.join("data").display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config);
    Ok(command)
}

fn nginx(directory: &Path, port: u16) -> anyhow::Result<Command> {
    let files = directory.join("files");
    fs::create_dir_all(&files)?;
    let config = directory.join("nginx.conf");
    let text = format!(
        "user root;\ndaemon off;\nworker_processes auto;\nworker_rlimit_nofile 65536;\n\
         pid {directory}/nginx.pid;\nerror_log {directory}/error.log error;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  \
         keepalive_requests 1000000000;\n  keepalive_timeout 300s;\n  send_timeout 300s;\n  \
         client_body_temp_path {directory}/tmp;\n  \
         server {{ listen 127.0.0.1:{port} backlog=4096; root {files}; \
         default_type application/octet-stream; }}\n}}\n",
        directory = directory.display(),
        files = files.display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log"));
    command.arg("-c").arg(config);
    Ok(command)
}
