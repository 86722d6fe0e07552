//! What `atolld dev` is going to start: folders, addresses, configuration, and the texts about it.

use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{DevError, Options, child, system};
use crate::{
    cluster::token::Token,
    config::{Config, value::quoted},
    io::entropy::OsEntropy,
};

/// How far apart the ports of two nodes are.
const PORTS_APART: u16 = 10;

/// One node to start.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The folder that holds `dev.json`, absolute.
    root: PathBuf,
    /// Its number, from 1.
    number: u16,
    /// What the node will be configured to, variables included.
    config: Config,
}

/// Writes the folders and configuration files of all nodes.
///
/// # Errors
/// When the options cannot be met, a variable is wrong, or a file cannot be written.
pub fn plan(options: &Options) -> Result<Vec<NodePlan>, DevError> {
    let last = u32::from(options.port) + u32::from(PORTS_APART) * u32::from(options.nodes - 1) + 2;
    if last > u32::from(u16::MAX) {
        return Err(DevError::Call(format!(
            "--port {}: the nodes would need ports up to {last}, the last there is is {}",
            options.port,
            u16::MAX
        )));
    }
    let root = std::path::absolute(&options.data_dir)
        .map_err(system(format!("find {}", options.data_dir.display())))?;
    child::create_folder(&root)?;
    let token = token(&root)?;
    let write = |number| NodePlan::write(&root, number, options.port, &token);
    (1..=options.nodes).map(write).collect()
}

/// The file with the token by which the later nodes join the first; made when there is none.
fn token(root: &Path) -> Result<PathBuf, DevError> {
    let path = root.join("join-token");
    if child::read_file(&path)?.is_none_or(|text| text.parse::<Token>().is_err()) {
        let token = Token::draw(None, &OsEntropy);
        child::write_secret(&path, &format!("{}\n", token.reveal()))?;
    }
    Ok(path)
}

impl NodePlan {
    fn write(root: &Path, number: u16, first_port: u16, token: &Path) -> Result<Self, DevError> {
        let folder = folder(root, number);
        child::create_folder(&folder)?;
        let file = folder.join("atolld.toml");
        child::write_file(&file, &configuration(&folder, number, first_port, token))?;
        let config = Config::load(Some(&file), std::env::vars_os())?.config;
        Ok(Self { root: root.into(), number, config })
    }

    /// Its name: in its own configuration, in `dev.json`, and of its folder.
    pub fn id(&self) -> String {
        name(self.number)
    }

    /// Its configuration file.
    pub fn config_path(&self) -> PathBuf {
        folder(&self.root, self.number).join("atolld.toml")
    }

    /// Its log file.
    pub fn log_path(&self) -> PathBuf {
        folder(&self.root, self.number).join("atolld.log")
    }

    /// The file that lists the running nodes.
    pub fn summary_path(&self) -> PathBuf {
        self.root.join("dev.json")
    }

    /// Where its probes answer.
    pub fn admin(&self) -> SocketAddr {
        self.config.admin.listen
    }

    /// Has it been started before?
    pub fn has_data(&self) -> bool {
        child::is_there(&self.config.node.data_dir.join("cluster.toml"))
    }

    /// Where its registry answers.
    pub fn http(&self) -> SocketAddr {
        self.config.http.listen
    }

    /// How long it drains at most.
    pub fn drain_timeout(&self) -> Duration {
        self.config.http.drain_timeout
    }

    /// Sees whether its ports are free, so that the answer names the port instead of a log file.
    ///
    /// # Errors
    /// The first that is not.
    #[allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "a port is tried, nothing is served"
    )]
    pub fn check_ports(&self) -> Result<(), DevError> {
        let config = &self.config;
        let listeners = [
            ("registry", config.http.listen),
            ("cluster", config.cluster.listen),
            ("admin", config.admin.listen),
        ];
        for (listener, address) in listeners {
            std::net::TcpListener::bind(address).map(drop).map_err(|error| DevError::Port {
                id: self.id(),
                listener,
                address,
                error,
            })?;
        }
        Ok(())
    }
}

/// The content of `dev.json`.
pub fn summary(plans: &[NodePlan], pids: &[u32]) -> String {
    let nodes: Vec<_> = plans
        .iter()
        .zip(pids)
        .map(|(plan, pid)| {
            json!({
                "id": plan.id(),
                "pid": pid,
                "http": plan.config.http.listen.to_string(),
                "grpc": plan.config.cluster.listen.to_string(),
                "admin": plan.config.admin.listen.to_string(),
                "data_dir": plan.config.node.data_dir,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "nodes": nodes }))
}

/// What is printed once all nodes are ready.
pub fn welcome(plans: &[NodePlan], pids: &[u32]) -> String {
    let mut text = format!("Ready. Everything is kept in {}\n\n", plans[0].root.display());
    let mut row = |columns: [&str; 5]| {
        let [id, pid, registry, cluster, admin] = columns;
        let _ = writeln!(text, "  {id:8} {pid:>8}  {registry:21}  {cluster:21}  {admin}");
    };
    row(["node", "pid", "registry", "cluster", "admin"]);
    for (plan, pid) in plans.iter().zip(pids) {
        let config = &plan.config;
        row([
            &plan.id(),
            &pid.to_string(),
            &config.http.listen.to_string(),
            &config.cluster.listen.to_string(),
            &config.admin.listen.to_string(),
        ]);
    }
    let registry = plans[0].config.http.listen;
    let _ = write!(
        text,
        "\nTry it:\n\
         \x20 docker pull hello-world\n\
         \x20 docker tag hello-world {registry}/hello-world\n\
         \x20 docker push {registry}/hello-world\n\
         \x20 curl http://{registry}/v2/hello-world/tags/list\n\
         \nLog: {}\nCtrl-C stops it.\n",
        plans[0].log_path().display(),
    );
    text
}

fn name(number: u16) -> String {
    format!("node{number}")
}

fn folder(root: &Path, number: u16) -> PathBuf {
    root.join(name(number))
}

/// The configuration file of a node: only what tells it from the others.
fn configuration(folder: &Path, number: u16, first_port: u16, token: &Path) -> String {
    let port = first_port + PORTS_APART * (number - 1);
    let address = |port: u16| quoted(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
    let listen = |offset| address(port + offset);
    // The first node founds the cluster, the others join it.
    let join = match number {
        1 => String::new(),
        _ => format!("join = [{}]\n", address(first_port + 1)),
    };
    let data_dir = quoted(&folder.join("data").to_string_lossy());
    format!(
        "# Written by `atolld dev` at every start; set what you like by ATOLL__… variables.\n\
         [node]\nid = {}\ndata_dir = {data_dir}\n\n\
         [http]\nlisten = {}\n\n\
         [cluster]\nlisten = {}\n{join}token_file = {}\n\n\
         [admin]\nlisten = {}\n",
        quoted(&name(number)),
        listen(0),
        listen(1),
        quoted(&token.to_string_lossy()),
        listen(2),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(number: u16) -> NodePlan {
        let text = configuration(
            Path::new("/tmp/dev dir/nodeX"),
            number,
            5000,
            Path::new("/tmp/dev dir/join-token"),
        );
        let config = Config::parse("atolld.toml", &text, []).expect("valid").config;
        NodePlan { root: "/tmp/dev dir".into(), number, config }
    }

    #[test]
    fn node_k_takes_ports_ten_times_k_minus_one_higher() {
        let ports = |number| {
            let config = planned(number).config;
            [config.http.listen, config.cluster.listen, config.admin.listen].map(|a| a.port())
        };
        assert_eq!(ports(1), [5000, 5001, 5002]);
        assert_eq!(ports(3), [5020, 5021, 5022]);
    }

    #[test]
    fn the_first_node_founds_and_the_others_join_it() {
        assert_eq!(planned(1).config.cluster.join, []);
        let join = planned(3).config.cluster.join;
        assert_eq!(join.iter().map(|node| node.as_str()).collect::<Vec<_>>(), ["127.0.0.1:5001"]);
    }

    #[test]
    fn the_summary_is_what_scripts_rely_on() {
        let summary: serde_json::Value =
            serde_json::from_str(&summary(&[planned(1), planned(2)], &[11, 12])).expect("JSON");
        assert_eq!(
            summary["nodes"][1],
            json!({
                "id": "node2",
                "pid": 12,
                "http": "127.0.0.1:5010",
                "grpc": "127.0.0.1:5011",
                "admin": "127.0.0.1:5012",
                "data_dir": "/tmp/dev dir/nodeX/data",
            })
        );
    }
}
