//! Asks a node whether it is ready.

use std::{net::SocketAddr, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::io::net;

/// How long a probe may take: a node that answers later is asked again anyway.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// The beginning of the only good answer.
const READY: &[u8] = b"HTTP/1.1 200 ";

/// Does `/readyz` at `admin` answer 200?
pub(super) async fn is_ready(admin: SocketAddr) -> bool {
    matches!(tokio::time::timeout(PROBE_DEADLINE, ask(admin)).await, Ok(Ok(true)))
}

async fn ask(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = net::connect(admin, PROBE_DEADLINE).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == READY)
}
