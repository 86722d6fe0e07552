//! Asks a node whether it is ready, and whom it takes for members.

use std::{net::SocketAddr, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::io::net;

/// How long a probe may take: a node that answers later is asked again anyway.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// The beginning of the only good answer.
const GOOD: &str = "HTTP/1.1 200 ";

/// Longest answer: a hundred members without the ring.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// Does `/readyz` at `admin` answer 200?
pub(super) async fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/readyz").await.is_some()
}

/// How many members are up and in the ring, as the node at `http` sees it.
pub(super) async fn members_in_ring(http: SocketAddr) -> Option<usize> {
    let view: serde_json::Value =
        serde_json::from_str(&get(http, "/v2/_atoll/view").await?).ok()?;
    let members = view["members"].as_array()?;
    let counts = |member: &&serde_json::Value| member["state"] == "up" && member["in_ring"] == true;
    Some(members.iter().filter(counts).count())
}

/// The body of a good answer.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    tokio::time::timeout(PROBE_DEADLINE, ask(address, path)).await.ok()?.ok()?
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<Option<String>> {
    let mut stream = net::connect(address, PROBE_DEADLINE).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok(body.filter(|_| answer.starts_with(GOOD)))
}
