//! What the one at the other end of a connection may call.

use std::{convert::Infallible, future::ready};

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use tower::ServiceExt;

use super::super::{
    Security,
    peer::{self, Peer},
};

/// The calls that need no certificate: by them a node gets one. Whoever answers them asks for a join
/// token.
pub const OPEN_TO_STRANGERS: &[&str] = &["/atoll.cluster.v1.Membership/Join"];

/// The services, for one connection.
#[derive(Clone)]
pub(super) struct Guard {
    router: axum::Router,
    peer: Peer,
    security: Security,
}

impl Guard {
    pub fn new(router: axum::Router, peer: Peer, security: Security) -> Guard {
        Guard { router, peer, security }
    }

    fn admit(&self, path: &str) -> Result<(), Status> {
        match &self.peer {
            Peer::Unproven => Ok(()),
            Peer::Stranger if OPEN_TO_STRANGERS.contains(&path) => Ok(()),
            Peer::Stranger => Err(Status::unauthenticated(format!(
                "{path} is for members: connect with a certificate of this cluster"
            ))),
            // A removed node keeps its certificate and its connections; it opens nothing with them.
            Peer::Member(name) if self.security.is_removed(name.node) => Err(
                Status::unauthenticated(format!("node {} was removed from the cluster", name.node)),
            ),
            Peer::Member(_) => Ok(()),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Guard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Err(status) = self.admit(request.uri().path()) {
            return Box::pin(ready(Ok(status.into_http())));
        }
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.clone().oneshot(request);
        Box::pin(peer::answering(self.peer.clone(), answer))
    }
}
