//! A service that says who calls it, behind the cluster listener, and identities to call it with.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use atoll_core::view::NodeId;
use atoll_node::{
    cluster::{ca::Authorities, certificate},
    io::{
        clock::{Clock, SimClock},
        net,
    },
    wire::{
        Channel, Security,
        peer::{self, Peer},
        server::serve,
        tls::{Identity, PeerIdentity},
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes};
use tower_service::Service;

pub const CLUSTER: &str = "c1";
pub const LIFETIME: Duration = Duration::from_secs(3600);
pub const JOIN: &str = "/atoll.cluster.v1.Membership/Join";
pub const OTHER: &str = "/atoll.cluster.v1.Membership/Other";
pub const BLOB: &str = "/atoll.cluster.v1.Membership/Blob";
pub const BLOB_BYTES: usize = 64 << 20;
const PIECE: &[u8] = &[7; 64 << 10];

/// Answers who calls, as the request's extension and the handler's own look agree on.
#[derive(Clone)]
struct WhoCalls;

impl NamedService for WhoCalls {
    const NAME: &'static str = "atoll.cluster.v1.Membership";
}

impl Service<Request<Body>> for WhoCalls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() == BLOB {
                let pieces = stream::iter(0..BLOB_BYTES / PIECE.len());
                let frames = pieces.map(|_| {
                    Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from_static(PIECE)))
                });
                return Ok(Response::new(Body::new(StreamBody::new(frames))));
            }
            let extension = request.extensions().get::<Peer>().cloned();
            assert_eq!(extension, peer::current());
            let text = match extension {
                Some(Peer::Member(name)) => name.to_string(),
                other => format!("{other:?}"),
            };
            Ok(Response::new(Body::new(http_body_util::Full::new(Bytes::from(text)))))
        })
    }
}

/// A listener that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    stop: CancellationToken,
}

impl Server {
    pub async fn start(security: &Security) -> Server {
        let listener = net::listen("127.0.0.1:0".parse().unwrap(), net::BACKLOG).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Routes::new(WhoCalls), security.clone(), stop.clone()));
        Server { address, stop }
    }

    /// A call, by whoever `security` is; the answer, or the refusal as one text.
    pub async fn call(&self, security: &Security, path: &str) -> Result<String, String> {
        call(&self.channel(security), path).await
    }

    pub fn channel(&self, security: &Security) -> Channel {
        Channel::new(&self.address.to_string(), security).unwrap()
    }

    pub async fn call_node(&self, node: u16, security: &Security) -> Result<String, String> {
        let address = self.address.to_string();
        let channel = Channel::to_node(NodeId(node), &address, security).unwrap();
        call(&channel, OTHER).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn send(channel: &Channel, path: &str) -> Result<Response<Body>, String> {
    let request = Request::post(path).header("content-type", "application/grpc");
    let request = request.body(Body::empty()).unwrap();
    let response =
        channel.clone().call(request).await.map_err(|status| status.message().to_owned())?;
    if let Some(message) = response.headers().get("grpc-message") {
        let message = message.to_str().unwrap().replace("%20", " ").replace("%3A", ":");
        return Err(message);
    }
    Ok(response)
}

pub async fn call(channel: &Channel, path: &str) -> Result<String, String> {
    let response = send(channel, path).await?;
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

pub fn now() -> SystemTime {
    clock().wall()
}

pub fn name(cluster_id: &str, node: u16) -> PeerIdentity {
    PeerIdentity { cluster_id: cluster_id.to_owned(), node: NodeId(node) }
}

pub fn authorities(cluster_id: &str) -> Authorities {
    Authorities::found(cluster_id, now()).unwrap()
}

pub fn identity(authorities: &Authorities, cluster_id: &str, node: u16) -> Identity {
    identity_at(authorities, cluster_id, node, now())
}

pub fn identity_at(
    authorities: &Authorities,
    cluster_id: &str,
    node: u16,
    now: SystemTime,
) -> Identity {
    let name = name(cluster_id, node);
    certificate::self_issued(authorities, &name, now, LIFETIME).unwrap().identity().unwrap()
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SimClock::new())
}

pub fn mtls(identity: Identity) -> Security {
    let security = Security::mtls(clock());
    security.install(identity).unwrap();
    security
}

/// A member of the test's cluster.
pub fn member(authorities: &Authorities, node: u16) -> Security {
    mtls(identity(authorities, CLUSTER, node))
}
