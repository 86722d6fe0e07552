//! One request at one place: the connection, the login, the redirects.
//!
//! A connection that was used before may be closed by the node at the moment it is used again. Then
//! the request is made once more on a new one: this is no failure of the node.

use std::{fmt, io, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio::time::sleep;

use crate::{
    auth::{Authorizer, Challenge, LoginFailed, Scope, endpoint_of},
    endpoint::Endpoint,
    limits::Limits,
    net::{
        answer::{Answer, with_cause},
        body::{Payload, Sent},
        pool::{Lease, Pool},
    },
    stats::Counters,
};

/// Redirects that are followed one after another. Registries use one, to a content network.
const REDIRECTS_MAX: usize = 5;

/// What is sent.
#[derive(Clone)]
pub(crate) struct Sending {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Sending {
    pub(crate) fn get(path: String) -> Sending {
        Sending::of(Method::GET, path)
    }

    pub(crate) fn of(method: Method, path: String) -> Sending {
        Sending { method, path, headers: HeaderMap::new(), payload: Payload::None }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Sending {
        self.headers.append(name, value);
        self
    }
}

/// Sends requests, without knowing what they are about.
#[derive(Clone, Debug)]
pub(crate) struct Wires {
    pub(crate) pool: Arc<Pool>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) user_agent: HeaderValue,
    pub(crate) insecure_http: bool,
}

/// Why one request at one place has no answer.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The network or the node.
    Io(io::Error),
    /// Nobody let us in.
    Login(LoginFailed),
    /// What is pushed cannot be read here.
    Source(io::Error),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::Io(error) | ExchangeError::Source(error) => error.fmt(f),
            ExchangeError::Login(failed) => f.write_str(&failed.why),
        }
    }
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        ExchangeError::Io(error)
    }
}

impl Wires {
    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        sending: &Sending,
    ) -> Result<Answer, ExchangeError> {
        // An upload takes each byte once: it must not be begun on a connection that may be closing.
        let fresh = matches!(sending.payload, Payload::Source { .. });
        let mut lease = self.pool.lease(endpoint, fresh).await?;
        loop {
            self.counters.request(endpoint);
            let was_used = lease.is_used;
            match self.send_on(&mut lease, endpoint, sending).await {
                Ok(response) => {
                    let stall = self.limits.stall_timeout;
                    return Ok(Answer::new(response, endpoint.clone(), lease, stall));
                }
                Err(ExchangeError::Io(error))
                    if was_used && error.kind() == io::ErrorKind::ConnectionReset =>
                {
                    drop(lease);
                    lease = self.pool.lease(endpoint, true).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send_on(
        &self,
        lease: &mut Lease,
        endpoint: &Endpoint,
        sending: &Sending,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let sent = Sent::default();
        let body = sending.payload.open(&sent).await.map_err(ExchangeError::Source)?;
        let mut request = Request::new(body);
        *request.method_mut() = sending.method.clone();
        *request.uri_mut() = sending.path.parse::<Uri>().map_err(io::Error::other)?;
        let headers = request.headers_mut();
        *headers = sending.headers.clone();
        let host = HeaderValue::try_from(endpoint.authority()).map_err(io::Error::other)?;
        headers.insert(header::HOST, host);
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        let len = sending.payload.len();
        if !matches!(sending.method, Method::GET | Method::HEAD | Method::DELETE) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        let answered = lease.sender.send_request(request);
        let response = self.patiently(answered, &sending.payload, &sent).await?;
        response.map_err(|error| {
            if let Some(failure) = sent.take_failure() {
                return ExchangeError::Source(failure);
            }
            // The connection ended before an answer: a new one may do.
            let is_end = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
            let kind = if is_end { io::ErrorKind::ConnectionReset } else { io::ErrorKind::Other };
            ExchangeError::Io(io::Error::new(kind, with_cause(&error)))
        })
    }

    /// Waits as long as bytes go out, and then for the answer.
    async fn patiently<T>(
        &self,
        answered: impl Future<Output = T>,
        payload: &Payload,
        sent: &Sent,
    ) -> io::Result<T> {
        let limits = &self.limits;
        tokio::pin!(answered);
        loop {
            let before = sent.bytes();
            let limit = match payload {
                Payload::None => limits.first_byte_timeout,
                Payload::Source { .. } if before < payload.len() => limits.stall_timeout,
                // Bytes in memory are few, and not counted.
                Payload::Source { .. } | Payload::Whole(_) => limits.acknowledge_timeout,
            };
            tokio::select! {
                biased;
                answer = &mut answered => return Ok(answer),
                () = sleep(limit) => {}
            }
            if sent.bytes() == before {
                let message = match payload {
                    Payload::None => format!("no answer within {limit:?}"),
                    _ => format!("the body was not taken, or not acknowledged, within {limit:?}"),
                };
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }

    /// Sends a request with the login that it needs, and follows redirects.
    pub(crate) async fn exchange(
        &self,
        authorizer: &Authorizer,
        scope: &Scope,
        target: &Endpoint,
        sending: &Sending,
    ) -> Result<Answer, ExchangeError> {
        let mut sending = sending.clone();
        let mut target = target.clone();
        let origin = target.clone();
        let mut renewed = false;
        let mut redirects = 0;
        let mut header = authorizer.current(scope).await;
        loop {
            sending.headers.remove(header::AUTHORIZATION);
            if let Some(header) = header.as_ref().filter(|_| target.is_same_origin(&origin)) {
                sending.headers.insert(header::AUTHORIZATION, header.clone());
            }
            let mut answer = self.send(&target, &sending).await?;
            if answer.status == StatusCode::UNAUTHORIZED
                && target.is_same_origin(&origin)
                && !renewed
                && let Some(challenge) = challenge(&answer)
            {
                renewed = true;
                let login =
                    authorizer.renew(self, &origin, scope, &challenge, header.as_ref()).await;
                header = Some(login.map_err(ExchangeError::Login)?);
                let _ = answer.detail().await;
                continue;
            }
            let Some(next) = redirect(&answer, &sending.method) else { return Ok(answer) };
            redirects += 1;
            if redirects > REDIRECTS_MAX {
                return Err(io::Error::other("too many redirects").into());
            }
            (target, sending.path) = resolve(&next, &target)
                .ok_or_else(|| io::Error::other("a redirect to no address"))?;
            let _ = answer.detail().await;
        }
    }
}

fn challenge(answer: &Answer) -> Option<Challenge> {
    let lines = answer.headers.get_all(header::WWW_AUTHENTICATE);
    Challenge::choose(lines.iter().filter_map(|line| line.to_str().ok()))
}

/// Where a reading request is sent on to; what changes something is never sent twice.
fn redirect(answer: &Answer, method: &Method) -> Option<String> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let moved = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.header(&header::LOCATION).filter(|_| reads && moved)?;
    Some(location.to_owned())
}

/// A `Location`, absolute or from the root, as seen from `base`. TLS is never left that way.
pub(crate) fn resolve(location: &str, base: &Endpoint) -> Option<(Endpoint, String)> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some((base.clone(), location.to_owned()));
    }
    let uri: Uri = location.parse().ok()?;
    let mut endpoint = endpoint_of(&uri)?;
    if base.tls && !endpoint.tls {
        return None;
    }
    if endpoint.is_same_origin(base) {
        endpoint = base.clone();
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some((endpoint, path.to_owned()))
}
