//! The accept loop: every connection of every listener begins and ends here.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::BytesMut;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    api::Api,
    connection::{Connection, PacedBody, Stream, TrackedBody},
    pace::{Cut, Patience},
};
use crate::{
    io::{Clock, net, rt, workers::Workers},
    telemetry::{HttpMetrics, metrics::label},
    tiers::arena::Arenas,
};

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How patient it is with a client.
    pub patience: Patience,
    /// Connections at a time. When they are all taken, idle ones make room; when none is idle, new
    /// ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections at a time from one address; 0 for no such limit.
    pub connections_per_address_max: usize,
    /// Bytes of the header fields of one request.
    pub header_bytes_max: usize,
    /// Header fields of one request.
    pub header_fields_max: usize,
    /// HTTP/2 streams at a time on one connection.
    pub streams_max: u32,
    /// How long open requests may take to end after the listener was told to stop.
    pub drain_timeout: Duration,
}

/// What an HTTP/1 connection may buffer: one read of a body, which grows towards it only while a
/// client keeps the buffer full. A header that does not fit into it is refused by hyper itself.
const HTTP1_BUFFER_BYTES_MAX: usize = 512 << 10;

/// Streams a peer may reset before it must read: beyond, it is a rapid-reset flood (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 64;

/// How often connections are looked at. A limit is therefore kept to within this.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// How long accepting pauses when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many idle connections are ended at a time to make room.
const SHED_AT_ONCE: usize = 64;

/// Everything about a listener that its connections share.
#[derive(Debug)]
struct Server {
    name: &'static str,
    answers: Answers,
    limits: Limits,
    clock: Arc<dyn Clock>,
    arenas: Arenas,
    metrics: Arc<HttpMetrics>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    stop: CancellationToken,
}

impl Server {
    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends some idle connections, so that others find room.
    fn shed_idle(&self) -> usize {
        let connections = self.connections();
        let idle = connections.values().filter(|connection| connection.is_idle());
        idle.take(SHED_AT_ONCE).map(|connection| connection.shed()).count()
    }

    /// Ends every connection.
    fn cut_off(&self) -> usize {
        let connections = self.connections();
        for connection in connections.values() {
            self.metrics.cut(label::Cut::Drain);
            connection.shed();
        }
        connections.len()
    }

    /// Has this address as many connections as one may have?
    fn is_full_for(&self, peer: &SocketAddr) -> bool {
        let max = self.limits.connections_per_address_max;
        let of_peer = |connection: &&Arc<Connection>| connection.peer.ip() == peer.ip();
        max > 0 && self.connections().values().filter(of_peer).take(max).count() == max
    }

    fn sweep(&self) {
        let now = self.clock.monotonic();
        for connection in self.connections().values() {
            let Some(cut) = connection.sweep(&self.limits.patience, now) else { continue };
            match cut {
                Cut::Idle => {
                    tracing::debug!(listener = self.name, peer = %connection.peer, "idle connection closed");
                }
                Cut::Header | Cut::Slow => {
                    let slow = matches!(cut, Cut::Slow);
                    let why = if slow { label::Cut::MinRate } else { label::Cut::HeaderTimeout };
                    self.metrics.cut(why);
                    tracing::info!(listener = self.name, peer = %connection.peer, why = why.as_str(), "slow connection cut");
                }
            }
        }
    }
}

/// What a listener answers with.
#[derive(Clone, Debug)]
pub enum Answers {
    /// The public API. It has one route, so it needs no router.
    Api(Arc<Api>),
    /// Anything else.
    Router(Router),
}

impl Answers {
    async fn answer(self, request: Request<Body>) -> Response<Body> {
        match self {
            Answers::Api(api) => api.answer(request).await,
            Answers::Router(router) => {
                router.oneshot(request).await.unwrap_or_else(|never| match never {})
            }
        }
    }
}

/// What a listener is made of.
#[derive(Debug)]
pub struct Serving {
    /// What its log lines call it.
    pub name: &'static str,
    /// What it answers with.
    pub answers: Answers,
    /// Threads for its connections.
    pub threads: usize,
    /// Its bounds.
    pub limits: Limits,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where bytes lie that can be sent without copying them.
    pub arenas: Arenas,
    /// What it counts.
    pub metrics: Arc<HttpMetrics>,
}

/// Serves on `listener` until `stop`, then lets open requests end under the drain deadline. Answers
/// how many connections had to be cut off at the end.
///
/// # Errors
/// The system gives no threads for connections.
pub async fn serve(
    serving: Serving,
    listener: net::Listener,
    stop: CancellationToken,
) -> io::Result<usize> {
    let Serving { name, answers, threads, limits, clock, arenas, metrics } = serving;
    let workers = Workers::start(threads)?;
    let connections = Mutex::default();
    let server = Arc::new(Server {
        name,
        answers,
        limits,
        clock,
        arenas,
        metrics,
        connections,
        stop: stop.clone(),
    });
    let graceful = GracefulShutdown::new();
    let sweeper = tokio::spawn(sweep(server.clone()));
    accept(&server, &listener, &workers, &graceful, &stop).await;
    drop(listener);
    let deadline = tokio::time::timeout(limits.drain_timeout, graceful.shutdown());
    let drained = deadline.await.is_ok();
    sweeper.abort();
    if drained {
        tracing::info!(listener = name, "drained");
        return Ok(0);
    }
    let left = server.cut_off();
    tracing::warn!(listener = name, left, timeout = ?limits.drain_timeout, "drain deadline passed; connections cut off");
    Ok(left)
}

async fn sweep(server: Arc<Server>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        server.sweep();
    }
}

async fn accept(
    server: &Arc<Server>,
    listener: &net::Listener,
    workers: &Workers,
    graceful: &GracefulShutdown,
    stop: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(server.limits.connections_max));
    let mut next_id = 0;
    loop {
        let permit = match room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let shed = server.shed_idle();
                tracing::warn!(
                    listener = server.name,
                    shed,
                    max = server.limits.connections_max,
                    "every connection is taken"
                );
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    permit = room.clone().acquire_owned() => match permit {
                        Ok(permit) => permit,
                        Err(_closed) => return,
                    },
                }
            }
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                recover(server, &error).await;
                continue;
            }
        };
        if server.is_full_for(&peer) {
            server.metrics.cut(label::Cut::AddressLimit);
            tracing::info!(listener = server.name, %peer, "address has its limit of connections; refused");
            continue;
        }
        let counted = server.metrics.connection();
        let connection = Connection::new(peer, server.clock.clone());
        next_id += 1;
        server.connections().insert(next_id, connection.clone());
        let watcher = graceful.watcher();
        let (server, id) = (server.clone(), next_id);
        let handover = net::Handover::of(stream);
        workers.spawn(move || async move {
            let served = match handover.and_then(net::Handover::take) {
                Ok(stream) => {
                    let stream = Stream::new(stream, connection.clone(), server.arenas.clone());
                    converse(&server, stream, &connection, watcher).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = served {
                tracing::debug!(listener = server.name, %peer, %error, "connection ended");
            }
            server.connections().remove(&id);
            drop((permit, counted));
        });
    }
}

/// An accept failed. The loop goes on whatever it was: a registry that stops accepting because it
/// once ran out of file descriptors is down until someone notices.
async fn recover(server: &Server, error: &io::Error) {
    server.metrics.accept_errors.fetch_add(1, Relaxed);
    let of_one_peer = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if of_one_peer {
        return;
    }
    let shed = server.shed_idle();
    tracing::warn!(listener = server.name, %error, shed, "accept failed; idle connections make room");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// What a client speaks, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    Tls,
}

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads as much as tells the protocol; `None` when the client went away first.
async fn detect(stream: &mut Stream) -> io::Result<Option<Protocol>> {
    let mut seen = BytesMut::with_capacity(HTTP2_PREFACE.len());
    let protocol = loop {
        if stream.read_buf(&mut seen).await? == 0 {
            return Ok(None);
        }
        let common = seen.iter().zip(HTTP2_PREFACE).take_while(|(a, b)| a == b).count();
        match seen.first() {
            Some(&TLS_HANDSHAKE) => break Protocol::Tls,
            _ if common == HTTP2_PREFACE.len() => break Protocol::Http2,
            _ if common < seen.len() => break Protocol::Http1,
            _ => {}
        }
    };
    stream.put_back(seen.freeze());
    Ok(Some(protocol))
}

const TLS_REFUSAL: &str = r#"{"errors":[{"code":"UNSUPPORTED","message":"received a TLS hello on a plain HTTP port; use http://, or list the registry as insecure in the client","detail":{}}]}"#;

async fn refuse_tls(stream: &mut Stream) -> io::Result<()> {
    let refusal = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{TLS_REFUSAL}",
        TLS_REFUSAL.len()
    );
    stream.write_all(refusal.as_bytes()).await?;
    stream.shutdown().await
}

async fn converse(
    server: &Arc<Server>,
    mut stream: Stream,
    connection: &Arc<Connection>,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let detected = tokio::select! {
        biased;
        detected = detect(&mut stream) => detected?,
        () = connection.cut() => return Ok(()),
        // Nothing was asked on it yet: it does not hold up a node that stops.
        () = server.stop.cancelled() => return Ok(()),
    };
    let limits = &server.limits;
    let service = {
        let connection = connection.clone();
        let server = server.clone();
        // hyper keeps room for the answer's state as long as the connection lives: boxed, an idle
        // connection holds none.
        service_fn(move |request| Box::pin(answer(&server, connection.clone(), request)))
    };
    match detected {
        None => Ok(()),
        Some(Protocol::Tls) => {
            server.metrics.cut(label::Cut::NotHttp);
            Ok(refuse_tls(&mut stream).await?)
        }
        Some(Protocol::Http1) => {
            let mut http1 = hyper::server::conn::http1::Builder::new();
            http1
                .timer(rt::Timer)
                // The sweeper times headers: it knows idle from slow.
                .header_read_timeout(None)
                .max_headers(limits.header_fields_max)
                .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
            let served =
                Box::pin(watcher.watch(http1.serve_connection(TokioIo::new(stream), service)));
            until_cut(served, connection).await
        }
        Some(Protocol::Http2) => {
            connection.set_multiplexed();
            let mut http2 = hyper::server::conn::http2::Builder::new(rt::Executor);
            http2
                .timer(rt::Timer)
                .max_concurrent_streams(limits.streams_max)
                .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
                .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
                .max_local_error_reset_streams(RESET_STREAMS_MAX)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .max_frame_size(64 << 10);
            let served =
                Box::pin(watcher.watch(http2.serve_connection(TokioIo::new(stream), service)));
            until_cut(served, connection).await
        }
    }
}

async fn until_cut<F>(
    served: F,
    connection: &Connection,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    F: Future<Output = hyper::Result<()>>,
{
    tokio::select! {
        biased;
        served = served => served.map_err(Into::into),
        () = connection.cut() => Ok(()),
    }
}

fn answer(
    server: &Arc<Server>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<TrackedBody<Body>>, Infallible>> + use<> {
    let open = connection.open_request();
    let metrics = server.metrics.clone();
    let mut request = request
        .map(|incoming| Body::new(PacedBody::new(incoming, connection.clone(), metrics.clone())));
    let header_bytes_max = server.limits.header_bytes_max;
    if matches!(server.answers, Answers::Router(_)) {
        request.extensions_mut().insert(net::Peer(connection.peer));
    }
    request.extensions_mut().insert(connection);
    request.extensions_mut().insert(HeaderLimit(header_bytes_max));
    let answers = server.answers.clone();
    answers
        .answer(request)
        .map(|response| Ok(response.map(|body| TrackedBody::new(body, open, metrics))))
}

/// The bound of a request's header fields in bytes, for the API that refuses what is over it.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimit(pub usize);
