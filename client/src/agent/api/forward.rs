//! Everything that is not content on its way out: sent on to the node that it concerns.

use atoll_core::{Digest, Reference, route::Route};
use bytes::Bytes;
use http::{Method, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};

use super::{Api, Call};
use crate::agent::{
    body::{self, Body},
    refusal::Refusal,
    upstream::Ask,
};

/// Bodies up to this are gathered, so that they can be sent again when a node dies: manifests.
const GATHERED_BYTES_MAX: u64 = 8 << 20;

impl Api {
    /// Sends a request on, and relays the answer.
    pub(super) async fn forward(
        &self,
        call: &Call,
        body: Incoming,
    ) -> Result<Response<Body>, Refusal> {
        let order = self.order(call);
        let mut ask = Ask::new(call.method.clone(), call.path.clone(), call.headers.clone());
        let answered = if self.is_repeatable(call, &body) {
            ask.payload = gathered(body).await?;
            self.upstream.read(&order, &ask).await?
        } else {
            self.upstream.write(&order, &ask, body::flowing(body)).await?
        };
        Ok(self.relayed(answered))
    }

    /// May it be sent to a second node when the first one did not answer? Reading may; opening an
    /// upload leaves at worst an unused session behind; a manifest is the same the second time,
    /// unless a condition was to be judged.
    fn is_repeatable(&self, call: &Call, body: &Incoming) -> bool {
        let is_short = body.size_hint().upper().is_some_and(|most| most <= GATHERED_BYTES_MAX);
        let is_conditional = [header::IF_MATCH, header::IF_NONE_MATCH]
            .iter()
            .any(|condition| call.headers.contains_key(condition));
        match (&call.method, &call.route) {
            (&Method::GET | &Method::HEAD, _) => is_short,
            (&Method::POST, Some(Route::Uploads { .. })) => body.is_end_stream(),
            (&Method::PUT, Some(Route::Manifest { .. })) => is_short && !is_conditional,
            _ => false,
        }
    }

    /// Whom to ask.
    pub(super) fn order(&self, call: &Call) -> Vec<String> {
        match &call.route {
            Some(
                Route::Blob { digest, .. }
                | Route::Manifest { reference: Reference::Digest(digest), .. },
            ) => self.placement.owners(digest),
            // The master of what comes: it is written there first.
            Some(Route::Uploads { repo }) => match announced(&call.query) {
                Some(digest) => self.placement.masters(&digest),
                None => self.placement.anyone(repo.as_str()),
            },
            // Every step of an upload at the node that holds it.
            Some(Route::Upload { repo, id }) => {
                let mut order = self.placement.anyone(repo.as_str());
                if let Some(holder) = self.placement.numbered(id.node()) {
                    order.retain(|node| *node != holder);
                    order.insert(0, holder);
                }
                order
            }
            Some(route) => {
                self.placement.anyone(route.repo().map(|repo| repo.as_str()).unwrap_or_default())
            }
            None => self.placement.anyone(""),
        }
    }
}

/// The digest that an upload names in advance.
fn announced(query: &str) -> Option<Digest> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "digest" || name == "mount")
        .find_map(|(_, value)| value.parse().ok())
}

async fn gathered(body: Incoming) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let most = usize::try_from(GATHERED_BYTES_MAX).unwrap_or(usize::MAX);
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Refusal::bad_answer(format!("the request ended early: {error}"))),
    }
}
