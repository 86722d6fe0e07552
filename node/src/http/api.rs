//! The public API: from a request to an answer, and what every answer shares.

use std::{sync::Arc, time::Duration};

use atoll_core::{
    route::{self, Route, RouteError},
    view::Epoch,
};
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as _;

use super::{
    body::discard,
    connection::Connection,
    headers::{self, ATOLL_EPOCH, DOCKER_API_VERSION, X_REQUEST_ID},
    listener::HeaderLimit,
    request_id::{RequestId, RequestIds},
};
use crate::{
    io::Io,
    registry::{ErrorCode, Registry, RegistryError},
    telemetry::{HttpMetrics, metrics::label},
};

/// Everything a request is answered with.
#[derive(Debug)]
pub struct Api {
    pub(super) registry: Registry,
    pub(super) io: Io,
    ids: RequestIds,
    metrics: Arc<HttpMetrics>,
}

impl Api {
    /// Puts the API together.
    pub fn new(registry: Registry, io: Io, metrics: Arc<HttpMetrics>) -> Api {
        let ids = RequestIds::new(io.entropy.as_ref());
        Api { registry, io, ids, metrics }
    }

    /// The seams of the node.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// The registry behind the API.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A request whose route is known, but for its body: that stays with the caller, who decides what
/// becomes of a rest that nobody read.
pub(super) struct Ask {
    pub(super) parts: Parts,
    /// The body's length, where the client declared it.
    pub(super) content_length: Option<u64>,
}

impl Ask {
    /// A header as text; `None` when there is none or it is not text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// All lines of a header as text.
    pub(super) fn header_lines(&self, name: header::HeaderName) -> impl Iterator<Item = &str> {
        self.parts.headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok())
    }
}

pub(super) type Answer = Result<Response<Body>, RegistryError>;

impl Api {
    /// Answers a request. There is one route: paths are told apart by the pure parser, which alone
    /// knows names of any depth.
    pub async fn answer(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let started = self.io.clock.monotonic();
        let id = self.ids.next();
        let (parts, mut body) = request.into_parts();
        let ask = Ask { content_length: body.size_hint().exact(), parts };
        let routed = route::parse(ask.parts.uri.path());
        let label = routed.as_ref().map_or(label::Route::Unknown, route_label);
        let answer = match routed {
            Ok(route) => answer(&self, route, &ask, &mut body).await,
            Err(error) => Err(error.into()),
        };
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                log_error(&error, id, &ask.parts);
                error_response(&error, id, &ask.parts.method)
            }
        };
        // Reading the body of a client that asked first would tell it to go on and send it. Any
        // other rest is read: hyper would close the connection under the answer.
        if !body.is_end_stream() && !ask.parts.headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        let epoch = self.registry.blobs().cluster().view().epoch;
        finish(&mut response, id, epoch);
        let taken = self.io.clock.monotonic().saturating_sub(started);
        log_answer(&response, id, &ask.parts, taken);
        let status = response.status().as_u16();
        self.metrics.request(label, label::Method::from(&ask.parts.method), status, taken);
        response
    }
}

/// Checks that the request may be served, and serves it.
async fn answer(api: &Api, route: Route, ask: &Ask, body: &mut Body) -> Answer {
    if let Some(refusal) = refuse_framing(&ask.parts).or_else(|| refuse_header(&ask.parts)) {
        return Err(refusal);
    }
    api.registry.policy().check(&ask.parts.method)?;
    if let Route::Upload { id, .. } = &route
        && let Some(node) = api.elsewhere(*id, ask)
    {
        return boxed(api.hand_on(node, ask, body)).await;
    }
    dispatch(api, route, ask, body).await
}

/// A message whose length is told in two ways is how requests are smuggled (RFC 9112, section 6.3);
/// so is a coding that a proxy may read in another way than this node.
fn refuse_framing(parts: &Parts) -> Option<RegistryError> {
    if parts.extensions.get::<Arc<Connection>>().is_some_and(|connection| connection.is_ambiguous())
    {
        let message = "received both Content-Length and Transfer-Encoding; send one of them";
        return Some(ErrorCode::SizeInvalid.error(message).and_close());
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let first = codings.next()?;
    let plain = first.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    let message = "the only Transfer-Encoding this registry takes is one `chunked`";
    (!plain).then(|| ErrorCode::SizeInvalid.error(message).and_close())
}

/// A header that is longer than the listener allows.
fn refuse_header(parts: &Parts) -> Option<RegistryError> {
    let HeaderLimit(max) = *parts.extensions.get()?;
    let bytes: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (bytes > max).then(|| {
        let message =
            format_args!("the header fields have {bytes} bytes, at most {max} are allowed");
        ErrorCode::SizeInvalid
            .error(message)
            .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    })
}

/// Puts the state of a rare or long answer on the heap. hyper keeps room for the largest one on every
/// connection, idle ones too; pulls, which are neither, stay in place.
fn boxed<'a>(answer: impl Future<Output = Answer> + Send + 'a) -> BoxFuture<'a, Answer> {
    Box::pin(answer)
}

async fn dispatch(api: &Api, route: Route, ask: &Ask, body: &mut Body) -> Answer {
    use Method as M;
    let method = ask.parts.method.clone();
    match (route, method) {
        (Route::Base, M::GET | M::HEAD) => Ok(api.base()),
        (Route::Catalog, M::GET) => boxed(api.catalog(ask)).await,
        (Route::Registries, M::GET) => Ok(api.registries()),
        (Route::Extensions, M::GET) => Ok(api.extensions()),
        (Route::Tags { repo }, M::GET) => boxed(api.tags(&repo, ask)).await,
        (Route::Referrers { repo, digest }, M::GET) => {
            boxed(api.referrers(&repo, &digest, ask)).await
        }
        (Route::Blob { repo, digest }, M::GET) => api.get_blob(&repo, &digest, ask).await,
        (Route::Blob { repo, digest }, M::HEAD) => api.head_blob(&repo, &digest, ask).await,
        (Route::Blob { repo, digest }, M::DELETE) => boxed(api.delete_blob(&repo, &digest)).await,
        (Route::Manifest { repo, reference }, M::GET | M::HEAD) => {
            api.get_manifest(&repo, &reference, ask).await
        }
        (Route::Manifest { repo, reference }, M::PUT) => {
            boxed(api.put_manifest(&repo, &reference, ask, body)).await
        }
        (Route::Manifest { repo, reference }, M::DELETE) => {
            boxed(api.delete_manifest(&repo, &reference, ask)).await
        }
        (Route::Uploads { repo }, M::POST) => boxed(api.begin_upload(&repo, ask, body)).await,
        (Route::Upload { repo, id }, M::PATCH) => {
            boxed(api.patch_upload(&repo, id, ask, body)).await
        }
        (Route::Upload { repo, id }, M::PUT) => boxed(api.put_upload(&repo, id, ask, body)).await,
        (Route::Upload { repo, id }, M::GET) => api.upload_status(&repo, id),
        (Route::Upload { repo, id }, M::DELETE) => boxed(api.cancel_upload(&repo, id)).await,
        (Route::View, M::GET) => Ok(api.view(ask)),
        (route, method) => Err(wrong_method(&route, &method)),
    }
}

/// The methods that a route answers to.
const fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Base => "GET, HEAD",
        Route::Catalog | Route::Registries | Route::View | Route::Extensions => "GET",
        Route::Tags { .. } | Route::Referrers { .. } => "GET",
        Route::Manifest { .. } => "GET, HEAD, PUT, DELETE",
        Route::Blob { .. } => "GET, HEAD, DELETE",
        Route::Uploads { .. } => "POST",
        Route::Upload { .. } => "GET, PATCH, PUT, DELETE",
    }
}

fn wrong_method(route: &Route, method: &Method) -> RegistryError {
    let allowed = allowed(route);
    ErrorCode::Unsupported
        .error(format_args!("`{method}` is not supported here; allowed are {allowed}"))
        .with_detail(serde_json::json!({"allow": allowed}))
}

/// Characters of a path that an error or a log line repeats.
const ECHO_CHARS_MAX: usize = 160;

impl From<RouteError> for RegistryError {
    fn from(error: RouteError) -> Self {
        match &error {
            RouteError::Name(_) => ErrorCode::NameInvalid.error(error),
            RouteError::Digest(_) => ErrorCode::DigestInvalid.error(error),
            RouteError::Tag(_) => ErrorCode::ManifestInvalid.error(error),
            RouteError::UploadId(_) => ErrorCode::BlobUploadUnknown.error(error),
            RouteError::UnknownRoute(_) => ErrorCode::NameUnknown.error(error),
        }
    }
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

fn error_response(error: &RegistryError, id: RequestId, method: &Method) -> Response<Body> {
    let body = error.body(&id.text()).to_string();
    let mut response = Response::builder()
        .status(error.status)
        .header(header::CONTENT_TYPE, headers::JSON)
        .header(header::CONTENT_LENGTH, body.len());
    if let Some(seconds) = error.retry_after_seconds {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    if error.closes_connection {
        response = response.header(header::CONNECTION, CLOSE);
    }
    if let Some(upload) = &error.upload {
        response = response
            .header(header::LOCATION, headers::ascii(upload.location.clone()))
            .header(header::RANGE, headers::ascii(super::uploads::received_range(upload.offset)));
    }
    if error.status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allow) = error.detail.get("allow").and_then(serde_json::Value::as_str)
    {
        response = response.header(header::ALLOW, allow);
    }
    if error.status == StatusCode::RANGE_NOT_SATISFIABLE
        && let Some(size) = error.detail.get("size").and_then(serde_json::Value::as_u64)
    {
        let range = atoll_core::range::unsatisfiable(size);
        response = response.header(header::CONTENT_RANGE, headers::ascii(range));
    }
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(body) };
    response.body(body).expect("every header is made here, of printable ASCII")
}

fn finish(response: &mut Response<Body>, id: RequestId, epoch: Epoch) {
    const REGISTRY_2: HeaderValue = HeaderValue::from_static("registry/2.0");
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(DOCKER_API_VERSION, REGISTRY_2);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    headers.insert(X_REQUEST_ID, headers::ascii(id.text()));
    headers.insert(ATOLL_EPOCH, HeaderValue::from(epoch.0));
}

fn log_error(error: &RegistryError, id: RequestId, parts: &Parts) {
    let (method, path) = (&parts.method, parts.uri.path());
    let (id, status) = (id.text(), error.status.as_u16());
    let path: String = path.chars().take(ECHO_CHARS_MAX).collect();
    match &error.cause {
        // The cluster or the disk cannot for now, and clients try again: what keeps it from it is
        // told where it happens.
        Some(cause) if error.status == StatusCode::SERVICE_UNAVAILABLE => {
            tracing::warn!(request_id = id, %method, path, status, %error, cause = format!("{cause:#}"), "request put off");
        }
        Some(cause) if error.status.is_server_error() => {
            tracing::error!(request_id = id, %method, path, status, %error, cause = format!("{cause:#}"), "request failed");
        }
        Some(cause) => {
            tracing::info!(request_id = id, %method, path, status, %error, cause = format!("{cause:#}"), "request refused");
        }
        None => tracing::debug!(request_id = id, %method, path, status, %error, "request refused"),
    }
}

fn log_answer(response: &Response<Body>, id: RequestId, parts: &Parts, taken: Duration) {
    let (method, path) = (&parts.method, parts.uri.path());
    let changes = !matches!(*method, Method::GET | Method::HEAD);
    let status = response.status().as_u16();
    if changes && response.status().is_success() {
        tracing::info!(request_id = id.text(), %method, path, status, ?taken, "answered");
    } else if tracing::enabled!(tracing::Level::DEBUG) {
        tracing::debug!(request_id = id.text(), %method, path, status, ?taken, "answered");
    }
}

/// What a route is called in metrics.
const fn route_label(route: &Route) -> label::Route {
    match route {
        Route::Base => label::Route::Base,
        Route::Catalog => label::Route::Catalog,
        Route::Registries => label::Route::Registries,
        Route::View => label::Route::View,
        Route::Extensions => label::Route::Extensions,
        Route::Tags { .. } => label::Route::Tags,
        Route::Referrers { .. } => label::Route::Referrers,
        Route::Manifest { .. } => label::Route::Manifest,
        Route::Blob { .. } => label::Route::Blob,
        Route::Uploads { .. } => label::Route::Uploads,
        Route::Upload { .. } => label::Route::Upload,
    }
}
