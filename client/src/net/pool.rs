//! Connections to nodes, kept while they are good.
//!
//! HTTP/1.1: one request at a time on a connection, so a large layer never stands before a small
//! manifest, and a node that hangs takes one request with it. HTTP/2 would save connections and
//! couple them.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{body::RequestBody, tls::Tls, transport::Transport};
use crate::{clock::now, endpoint::Endpoint, limits::Limits};

/// The most bytes of an answer's head, and what is read at a time at most.
const READ_BUFFER_BYTES_MAX: usize = 512 << 10;

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    transport: Arc<dyn Transport>,
    tls: Tls,
    limits: Arc<Limits>,
    nodes: Mutex<BTreeMap<Endpoint, Node>>,
}

struct Node {
    idle: Vec<Idle>,
    room: Arc<Semaphore>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({} idle)", self.idle.len())
    }
}

/// A connection in use.
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Did it serve before? Then its end may have been on the way when it was taken.
    pub(crate) is_used: bool,
    endpoint: Endpoint,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Gives the connection back, for the next request. Its answer has been read to the end.
    pub(crate) fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let idle = Idle { sender: self.sender, since: now() };
        let mut nodes = self.pool.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get_mut(&self.endpoint) {
            node.idle.push(idle);
        }
    }
}

impl Pool {
    pub(crate) fn new(transport: Arc<dyn Transport>, tls: Tls, limits: Arc<Limits>) -> Pool {
        Pool { transport, tls, limits, nodes: Mutex::default() }
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        self.transport.as_ref()
    }

    /// A connection to the endpoint. With `fresh`, one that was never used.
    ///
    /// # Errors
    /// Nobody answers there in time.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        fresh: bool,
    ) -> io::Result<Lease> {
        let room = self.room(endpoint);
        let permit = room.acquire_owned().await.map_err(io::Error::other)?;
        let kept = if fresh { None } else { self.take_idle(endpoint).await };
        let is_used = kept.is_some();
        let sender = match kept {
            Some(sender) => sender,
            None => self.dial(endpoint).await?,
        };
        Ok(Lease {
            sender,
            is_used,
            endpoint: endpoint.clone(),
            pool: self.clone(),
            _permit: permit,
        })
    }

    fn room(&self, endpoint: &Endpoint) -> Arc<Semaphore> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.entry(endpoint.clone()).or_insert_with(|| Node {
            idle: Vec::new(),
            room: Arc::new(Semaphore::new(self.limits.connections_per_node)),
        });
        node.room.clone()
    }

    async fn take_idle(&self, endpoint: &Endpoint) -> Option<SendRequest<RequestBody>> {
        loop {
            let mut idle = {
                let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                let node = nodes.get_mut(endpoint)?;
                // The youngest lies at the end: once it is too old, all are.
                let idle = node.idle.pop()?;
                if idle.since.elapsed() > self.limits.idle_connection {
                    node.idle.clear();
                    return None;
                }
                idle
            };
            // The task of the connection may not have seen yet that the answer was read.
            if !idle.sender.is_closed() && idle.sender.ready().await.is_ok() {
                return Some(idle.sender);
            }
        }
    }

    async fn dial(&self, endpoint: &Endpoint) -> io::Result<SendRequest<RequestBody>> {
        let limit = self.limits.connect_timeout;
        let connecting = async {
            let wire = self.transport.connect(endpoint).await?;
            if endpoint.tls { self.tls.connect(endpoint, wire).await } else { Ok(wire) }
        };
        let wire = timeout(limit, connecting).await.map_err(|_elapsed| {
            io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}"))
        })??;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES_MAX);
        let (sender, connection) =
            builder.handshake(TokioIo::new(wire)).await.map_err(io::Error::other)?;
        // Ends with the connection: when the sender is dropped, or when the node closes it.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }
}
