//! `atoll status`: the cluster as its clients see it.

use std::time::Duration;

use atoll_client::Node;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    arguments::Status,
    failure::{Class, Failure},
    pull::json,
};
use crate::{
    cli::Output,
    print_text,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// How long a node may take to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Nodes that are tried at a time.
const AT_A_TIME: usize = 32;

/// A cluster, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Seen {
    registry: String,
    epoch: u64,
    nodes: Vec<SeenNode>,
}

#[derive(Debug, Serialize)]
struct SeenNode {
    node: u16,
    name: String,
    address: String,
    zone: String,
    state: String,
    reachable: bool,
    /// How long a connection took.
    connect_milliseconds: Option<u64>,
}

pub async fn run(call: Status) -> Result<(), Failure> {
    let host = call.connection.host(call.host.as_deref())?;
    let client = call.connection.client(&host)?;
    client.refresh().await?;
    let Some(view) = client.view() else {
        client.ping().await?;
        return Err(Failure {
            class: Class::Failed,
            text: format!("{host} is a registry, but no Atoll cluster: it has no view"),
        });
    };
    let nodes = stream::iter(client.nodes()).map(look).buffered(AT_A_TIME).collect().await;
    let seen = Seen { registry: host.to_string(), epoch: view.epoch.0, nodes };
    match call.printing.output {
        Output::Json => print_text(&(json(&seen) + "\n")),
        Output::Table => print_text(&text(&seen)),
    }
}

#[allow(clippy::disallowed_methods, reason = "the command line is never simulated")]
async fn look(node: Node) -> SeenNode {
    let begun = Instant::now();
    let reached = timeout(CONNECT_MAX, TcpStream::connect(&node.address)).await;
    let reachable = matches!(reached, Ok(Ok(_)));
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    SeenNode {
        node: node.id.0,
        name: node.name,
        address: node.address,
        zone: node.zone,
        state: format!("{:?}", node.state).to_lowercase(),
        reachable,
        connect_milliseconds: reachable.then_some(milliseconds),
    }
}

fn text(seen: &Seen) -> String {
    let mut table = Table::new(&[
        Right("NODE"),
        Left("NAME"),
        Left("ADDRESS"),
        Left("ZONE"),
        Left("STATE"),
        Right("REACHED IN"),
    ]);
    for node in &seen.nodes {
        table.row([
            node.node.to_string(),
            node.name.clone(),
            node.address.clone(),
            node.zone.clone(),
            node.state.clone(),
            node.connect_milliseconds.map_or("not".to_owned(), |time| format!("{time} ms")),
        ]);
    }
    format!("{}  epoch {}\n\n{}", seen.registry, seen.epoch, table.text())
}
