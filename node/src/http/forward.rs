//! Requests of an upload session that another node holds.
//!
//! The id of a session names its node. A request that comes in elsewhere is handed on whole, bodies
//! both ways as they flow, over the nodes' own connections, and the answer is relayed; never by a
//! redirect, which clients do not follow for writes. What comes in from another node is marked by
//! the listener it came through, and answered here in any case: nothing is handed on twice.

use std::sync::Arc;

use atoll_core::{route::UploadId, view::NodeId};
use axum::{Extension, body::Body, routing::any};
use http::{HeaderMap, HeaderName, Request, Response, header};
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::api::{Answer, Api, Ask};
use crate::{
    io::Sometimes,
    registry::{ErrorCode, RegistryError},
};

/// The mark of a request that another node handed on.
#[derive(Clone, Copy, Debug)]
struct HandedOn;

/// Headers that are about one connection (RFC 9110, section 7.6.1), and `Expect`, which this node has
/// answered.
const OF_ONE_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
];

/// Adds to the nodes' services the answers to what other nodes hand on.
pub fn add_handed_on(mut routes: Routes, api: Arc<Api>) -> Routes {
    let handler = move |request: Request<Body>| api.clone().answer(request);
    let router = std::mem::take(routes.axum_router_mut());
    let handed_on = any(handler).layer(Extension(HandedOn));
    *routes.axum_router_mut() = router.route("/v2/{*rest}", handed_on);
    routes
}

impl Api {
    /// The node to which a request about the session must be handed on, if it is not this one.
    pub(super) fn elsewhere(&self, id: UploadId, ask: &Ask) -> Option<NodeId> {
        let blobs = self.registry.blobs();
        let is_here = id.node() == blobs.cluster().me()
            || blobs.is_alone()
            || ask.parts.extensions.get::<HandedOn>().is_some()
            || blobs.tiers().store().has_upload(id);
        (!is_here).then(|| id.node())
    }

    /// Hands a request on to `node` and relays its answer.
    pub(super) async fn hand_on(&self, node: NodeId, ask: &Ask, body: &mut Body) -> Answer {
        let cluster = self.registry.blobs().cluster();
        if !cluster.view().is_up(node) {
            if !cluster.lease_is_valid() || !cluster.is_seated() {
                let message =
                    "this node has lost touch with its cluster; ask another, or try again";
                let cause = anyhow::anyhow!("it cannot say whether node {node} is up");
                return Err(RegistryError::unavailable(message, cause));
            }
            let message =
                format_args!("node {node} held this upload and is gone; start the upload again");
            return Err(ErrorCode::BlobUploadUnknown.error(message));
        }
        let mut request = Request::new(tonic::body::Body::new(std::mem::take(body)));
        *request.method_mut() = ask.parts.method.clone();
        *request.uri_mut() = ask.parts.uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = of_both_connections(&ask.parts.headers);
        let sent = match cluster.channel(node) {
            Ok(channel) => channel.oneshot(request).await,
            Err(status) => Err(status),
        };
        match sent {
            Ok(answer) => {
                cluster.trust(node);
                Sometimes::UploadForwarded.reached();
                let (parts, body) = answer.into_parts();
                let mut relayed = Response::new(Body::new(body));
                *relayed.status_mut() = parts.status;
                *relayed.headers_mut() = of_both_connections(&parts.headers);
                Ok(relayed)
            }
            Err(status) => {
                cluster.suspect(node);
                let message =
                    format_args!("node {node}, which holds this upload, cannot be reached now");
                Err(RegistryError::unavailable(message, anyhow::anyhow!("{status}")))
            }
        }
    }
}

/// The headers that travel on.
fn of_both_connections(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    OF_ONE_CONNECTION.iter().for_each(|name| {
        kept.remove(name);
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_one_connection_stays_there() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("host", "a:1"),
            ("expect", "100-continue"),
            ("content-range", "0-5"),
            ("content-length", "6"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let kept = of_both_connections(&headers);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort();
        assert_eq!(names, ["content-length", "content-range"]);
    }
}
