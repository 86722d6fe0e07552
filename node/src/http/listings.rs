//! Listings over HTTP: tags, `_catalog`, referrers, live members, extensions (end-8, end-12).

use std::{borrow::Cow, num::NonZeroUsize};

use atoll_core::{
    Algorithm, Digest, RepoName,
    etag::{EntityTag, EntityTags},
    pagination::Page,
    ring::Points,
    route::Route,
    view::{MemberState, RingMode, View},
};
use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::{
    api::{Answer, Api, Ask},
    headers::{self, OCI_FILTERS_APPLIED},
};
use crate::registry::{ErrorCode, Listing, RegistryError};

/// The media type of a referrers listing, without parameters, as the spec demands.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The longest `artifactType` that is looked for. Media types are at most 255 bytes (RFC 6838).
const ARTIFACT_TYPE_BYTES_MAX: usize = 255;

/// The decoded pairs of a query string.
pub(super) fn pairs(query: Option<&str>) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

fn json_answer(content_type: header::HeaderValue, body: &Value) -> Response<Body> {
    let body = body.to_string();
    Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .expect("every header is made here")
}

fn link(answer: &mut Response<Body>, link: Option<String>) {
    if let Some(link) = link {
        answer.headers_mut().insert(header::LINK, headers::ascii(link));
    }
}

impl Api {
    pub(super) fn base(&self) -> Response<Body> {
        json_answer(headers::JSON, &json!({}))
    }

    pub(super) fn registries(&self) -> Response<Body> {
        let view = self.registry.blobs().cluster().view();
        let up = view.members.values().filter(|member| member.is_up());
        let mut addresses: Vec<&str> = up.map(|member| member.http.as_str()).collect();
        addresses.sort_unstable();
        json_answer(headers::JSON, &json!({"Registries": addresses}))
    }

    /// `GET /v2/_atoll/view`: what a client needs to find the owners of a digest by itself. The ring
    /// is long, so it comes only when it is asked for (`?ring=1`), and not when the client has it
    /// (`If-None-Match`).
    pub(super) fn view(&self, ask: &Ask) -> Response<Body> {
        let with_ring =
            pairs(ask.parts.uri.query()).any(|(key, value)| key == "ring" && value == "1");
        let view = self.registry.blobs().cluster().view();
        let named = view_name(&view, with_ring);
        let known = EntityTags::parse(ask.header_lines(header::IF_NONE_MATCH)).ok().flatten();
        let is_news = known.is_none_or(|known| known.if_none_match(Some(&EntityTag::of(&named))));
        let mut answer = if is_news {
            json_answer(headers::JSON, &describe(&view, with_ring))
        } else {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        };
        answer.headers_mut().insert(header::ETAG, headers::ascii(format!("\"{named}\"")));
        answer
    }

    /// `GET /v2/_oci/ext/discover`: what is served beyond the spec.
    pub(super) fn extensions(&self) -> Response<Body> {
        let catalog = json!({
            "name": "_catalog",
            "description": "lists repositories, in pages of n after last",
            "endpoints": ["/v2/_catalog"],
        });
        json_answer(headers::JSON, &json!({"extensions": [catalog]}))
    }

    /// Which page is asked for. `last` may be any text: a page begins behind it.
    fn page(&self, ask: &Ask) -> Result<Page<String>, RegistryError> {
        let values = |name: &str| -> Vec<Cow<'_, str>> {
            pairs(ask.parts.uri.query()).filter(|(key, _)| key == name).map(|(_, v)| v).collect()
        };
        let (n, last) = (values("n"), values("last"));
        let max = NonZeroUsize::new(self.registry.settings().page_entries_max);
        let max = max.unwrap_or(NonZeroUsize::MIN);
        Page::parse(n.iter().map(AsRef::as_ref), last.iter().map(AsRef::as_ref), max)
            .map_err(|error| ErrorCode::PaginationNumberInvalid.error(error))
    }

    pub(super) async fn tags(&self, repo: &RepoName, ask: &Ask) -> Answer {
        let page = self.page(ask)?;
        let Listing { names, more } =
            self.registry.list_tags(repo, page.after.clone(), page.size).await?;
        let mut answer = json_answer(headers::JSON, &json!({"name": repo, "tags": names}));
        if let Some(last) = names.last().filter(|_| more) {
            link(&mut answer, page.next_link(&Route::Tags { repo: repo.clone() }, last, &[]));
        }
        Ok(answer)
    }

    pub(super) async fn catalog(&self, ask: &Ask) -> Answer {
        let page = self.page(ask)?;
        let Listing { names, more } =
            self.registry.list_repositories(page.after.clone(), page.size).await?;
        let mut answer = json_answer(headers::JSON, &json!({"repositories": names}));
        if let Some(last) = names.last().filter(|_| more) {
            link(&mut answer, page.next_link(&Route::Catalog, last, &[]));
        }
        Ok(answer)
    }

    pub(super) async fn referrers(&self, repo: &RepoName, subject: &Digest, ask: &Ask) -> Answer {
        let page = self.page(ask)?;
        let after = page.after.as_deref().map(str::parse).transpose();
        let after: Option<Digest> =
            after.map_err(|error| ErrorCode::PaginationNumberInvalid.error(error))?;
        let filter = artifact_type(ask)?;
        let found =
            self.registry.list_referrers(repo, subject, filter.clone(), after, page.size).await?;
        let manifests: Vec<Value> = found.items.iter().map(descriptor).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let mut answer = json_answer(header::HeaderValue::from_static(INDEX), &index);
        let filters: Vec<_> =
            filter.iter().map(|filter| ("artifactType", filter.as_str())).collect();
        if !filters.is_empty() {
            let applied = header::HeaderValue::from_static("artifactType");
            answer.headers_mut().insert(OCI_FILTERS_APPLIED, applied);
        }
        if let Some(last) = found.cursor.filter(|_| found.more) {
            let route = Route::Referrers { repo: repo.clone(), digest: *subject };
            link(&mut answer, page.next_link(&route, &last.to_string(), &filters));
        }
        Ok(answer)
    }
}

fn artifact_type(ask: &Ask) -> Result<Option<String>, RegistryError> {
    let value = pairs(ask.parts.uri.query()).find(|(key, _)| key == "artifactType");
    let Some((_, value)) = value.filter(|(_, value)| !value.is_empty()) else { return Ok(None) };
    if value.len() > ARTIFACT_TYPE_BYTES_MAX {
        let message = format_args!(
            "`artifactType` has {} bytes, at most {ARTIFACT_TYPE_BYTES_MAX} are allowed",
            value.len()
        );
        return Err(ErrorCode::Unsupported.error(message).with_status(StatusCode::BAD_REQUEST));
    }
    // Media types hold no space; where one arrives, somebody sent a bare `+`.
    Ok(Some(value.replace(' ', "+")))
}

/// What tells one description of a view from every other: what it is made from. The number of a
/// view is agreed on, and what describes it is a part of this program.
fn view_name(view: &View, with_ring: bool) -> Digest {
    let program = env!("CARGO_PKG_VERSION");
    let parts = format!("{program} {} {} {with_ring}", view.cluster_id, view.epoch);
    Digest::of(Algorithm::Sha256, parts.as_bytes())
}

/// A view as clients read it.
fn describe(view: &View, with_ring: bool) -> Value {
    let members = view.members.iter().map(|(node, member)| {
        json!({
            "id": node.0,
            "name": member.name,
            "http": member.http,
            "grpc": member.grpc,
            "zone": member.zone,
            "weight": member.weight,
            "incarnation": member.incarnation,
            "state": match member.state {
                MemberState::Joining => "joining",
                MemberState::Up => "up",
                MemberState::Down => "down",
                MemberState::Draining => "draining",
            },
            "in_ring": view.ring.contains(*node),
        })
    });
    let mut described = json!({
        "cluster_id": view.cluster_id,
        "epoch": view.epoch.0,
        "since": view.since.0,
        "mode": match view.mode {
            RingMode::Assigned { .. } => "assigned",
            RingMode::Paper { .. } => "paper",
        },
        "points": view.ring.len(),
        "replicas": view.replicas,
        "write_quorum": view.write_quorum(),
        "members": members.collect::<Vec<_>>(),
        "open": view.open.len(),
    });
    if with_ring {
        described["ring"] = match view.ring.points() {
            Points::Assigned { owners } => json!({"owners": owners}),
            Points::Paper { identities } => {
                let hex =
                    |at: &[u8]| at.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                let identities = identities.iter().map(|(at, node)| json!([hex(at), node.0]));
                json!({"identities": identities.collect::<Vec<_>>()})
            }
        };
    }
    described
}

fn descriptor(referrer: &atoll_core::metadata::query::Referrer) -> Value {
    let mut descriptor = json!({
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    });
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    descriptor
}
