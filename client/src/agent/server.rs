//! The agent as a process: listens, answers, stops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::{
    api::{Api, Nodes},
    cache::Cache,
    guard, host,
    namespace::Names,
};

/// Connections at once; more wait to be accepted. A pull uses about four.
const CONNECTIONS_MAX: usize = 2048;
/// How long a caller may take for the head of a request, and a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long answers under way may take when the agent stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a connection could not be accepted: there may be no room for one more file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An agent that listens.
#[derive(Debug)]
pub struct Server {
    listener: host::Listener,
    api: Arc<Api>,
    nodes: Nodes,
}

/// How often the view is looked at while nothing happens. Answers name newer ones sooner.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15);
/// The least time between two looks: a node that is gone fails many requests at once.
const REFRESH_PAUSE: Duration = Duration::from_millis(250);

impl Server {
    /// Listens on `listen`, which must be on loopback.
    ///
    /// # Errors
    /// It is not, or the address is taken.
    pub async fn bind(
        listen: SocketAddr,
        names: Names,
        nodes: Nodes,
        cache: Cache,
    ) -> io::Result<Server> {
        let listen = guard::loopback(listen)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = host::listen(listen).await?;
        let api = Api::new(listener.local_addr()?, names, nodes.clone(), cache);
        Ok(Server { listener, api: Arc::new(api), nodes })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then ends what is under way.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let refreshing = tokio::spawn(refresh(self.nodes));
        tokio::pin!(stop);
        loop {
            // The semaphore is never closed.
            let accepted = async {
                let permit = room.clone().acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let serving = graceful.watch(connection(stream, self.api.clone()));
            tokio::spawn(async move {
                let _permit = permit;
                if let Err(error) = serving.await {
                    debug!(%error, "a connection ended early");
                }
            });
        }
        drop(self.listener);
        refreshing.abort();
        info!("stopping");
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            warn!("stopped with answers under way");
        }
    }
}

/// Keeps the view fresh.
async fn refresh(nodes: Nodes) {
    loop {
        nodes.placement.refresh().await;
        tokio::time::sleep(REFRESH_PAUSE).await;
        // Due, or told to: both end in a look.
        let _ = tokio::time::timeout(REFRESH_INTERVAL, nodes.upstream.stale()).await;
    }
}

fn connection(
    stream: host::Stream,
    api: Arc<Api>,
) -> http1::Connection<
    TokioIo<host::Stream>,
    impl hyper::service::HttpService<
        Incoming,
        ResBody = super::body::Body,
        Error = std::convert::Infallible,
        Future: Send,
    >,
> {
    let service = service_fn(move |request: Request<Incoming>| {
        let api = api.clone();
        async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
}
