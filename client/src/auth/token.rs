//! From a challenge to an `Authorization` header (docker's token authentication).
//!
//! A token is kept until shortly before it ends, one for each scope, and fetched once however many
//! requests wait for it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::{Challenge, Credential, Credentials, Scope};
use crate::{
    clock::now,
    endpoint::{Endpoint, is_loopback},
    exchange::{Sending, Wires},
    net::body::Payload,
};

/// The longest answer of a token server. Tokens with many groups reach tens of kilobytes.
const TOKEN_BYTES_MAX: usize = 1 << 20;
/// How long a token lasts when the server does not say (docker's specification).
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
/// A token is replaced this long before its end: clocks and requests take time.
const MARGIN: Duration = Duration::from_secs(10);
/// The longest that a token is believed to last.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// Kept headers; beyond it the oldest repositories' are dropped. A copy of a whole registry goes
/// through many repositories.
const KEPT_MAX: usize = 1024;

/// Logging in did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoginFailed {
    /// Why, without any secret.
    pub(crate) why: String,
    /// May it work a moment later?
    pub(crate) is_passing: bool,
}

impl LoginFailed {
    fn lasting(why: String) -> LoginFailed {
        LoginFailed { why, is_passing: false }
    }
}

#[derive(Clone)]
struct Kept {
    value: HeaderValue,
    /// When it is no longer sent; never for a password.
    until: Option<Instant>,
}

type Slot = Arc<AsyncMutex<Option<Kept>>>;

/// Makes `Authorization` headers for one registry.
pub(crate) struct Authorizer {
    registry: String,
    credentials: Arc<dyn Credentials>,
    kept: Mutex<BTreeMap<Scope, Slot>>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorizer({})", self.registry)
    }
}

#[derive(Deserialize)]
struct TokenDocument {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorizer {
    pub(crate) fn new(registry: String, credentials: Arc<dyn Credentials>) -> Authorizer {
        Authorizer { registry, credentials, kept: Mutex::default() }
    }

    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// The header that worked last for this scope, if it is still good.
    pub(crate) async fn current(&self, scope: &Scope) -> Option<HeaderValue> {
        let slot = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(scope)?.clone()
        };
        let kept = slot.lock().await;
        kept.as_ref().filter(|kept| kept.is_good()).map(|kept| kept.value.clone())
    }

    /// A new header, after `refused` (or none) was answered with `challenge`.
    ///
    /// # Errors
    /// There is no credential that would help, or the token server refuses it.
    pub(crate) async fn renew(
        &self,
        wires: &Wires,
        origin: &Endpoint,
        scope: &Scope,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, LoginFailed> {
        let slot = self.slot(scope);
        let mut kept = slot.lock().await;
        // Somebody else may have renewed it while this request was refused or waited here.
        if let Some(other) =
            kept.as_ref().filter(|kept| kept.is_good() && Some(&kept.value) != refused)
        {
            return Ok(other.value.clone());
        }
        let credential = self.credentials.for_registry(&self.registry, scope.as_str()).await;
        let new = match (challenge, credential) {
            (_, Some(Credential::Bearer(token))) => Kept { value: bearer(&token)?, until: None },
            (Challenge::Basic, Some(Credential::Basic { username, password })) => {
                Kept { value: basic(&username, &password)?, until: None }
            }
            (Challenge::Basic, _) => {
                let why = format!("no user and password are known for {}", self.registry);
                return Err(LoginFailed::lasting(why));
            }
            (Challenge::Bearer { realm, service, scope: asked }, credential) => {
                let request = TokenRequest {
                    realm,
                    service: service.as_deref(),
                    scopes: scopes(scope, asked.as_deref()),
                    credential: credential.as_ref(),
                };
                request.fetch(wires, origin).await?
            }
        };
        if Some(&new.value) == refused {
            return Err(LoginFailed::lasting(format!("{} refuses the credential", self.registry)));
        }
        let value = new.value.clone();
        *kept = Some(new);
        Ok(value)
    }

    fn slot(&self, scope: &Scope) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(scope) {
            kept.pop_first();
        }
        kept.entry(scope.clone()).or_default().clone()
    }
}

/// Everything that is asked for: what this client needs and what the registry named.
fn scopes<'a>(needed: &'a Scope, named: Option<&'a str>) -> Vec<&'a str> {
    let all = needed.as_str().split(' ').chain(named.unwrap_or_default().split(' '));
    let mut scopes: Vec<&str> = Vec::new();
    for scope in all.filter(|scope| !scope.is_empty()) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

impl Kept {
    fn is_good(&self) -> bool {
        self.until.is_none_or(|until| now() < until)
    }
}

fn secret(text: String) -> Result<HeaderValue, LoginFailed> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| LoginFailed::lasting("the credential cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, LoginFailed> {
    secret(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn bearer(token: &str) -> Result<HeaderValue, LoginFailed> {
    secret(format!("Bearer {token}"))
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scopes: Vec<&'a str>,
    credential: Option<&'a Credential>,
}

impl TokenRequest<'_> {
    async fn fetch(&self, wires: &Wires, origin: &Endpoint) -> Result<Kept, LoginFailed> {
        let failed =
            |why: String| LoginFailed::lasting(format!("token server {}: {why}", self.realm));
        let uri: Uri = self.realm.parse().map_err(|_| failed("no address".to_owned()))?;
        let endpoint = endpoint_of(&uri).ok_or_else(|| failed("no address".to_owned()))?;
        // A registry behind TLS must not be able to have passwords sent in the clear.
        if !endpoint.tls
            && !is_loopback(&endpoint.host)
            && (origin.tls || self.credential.is_some())
            && !(wires.insecure_http && endpoint.host == origin.host)
        {
            return Err(failed("it is not behind TLS, so nothing is sent to it".to_owned()));
        }
        let mut answer = wires
            .send(&endpoint, &self.sending(&uri)?)
            .await
            .map_err(|error| LoginFailed { is_passing: true, ..failed(error.to_string()) })?;
        if answer.status != StatusCode::OK {
            let (status, detail) = (answer.status, answer.detail().await);
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let refusal = failed(format!("answered {status} {detail}"));
            return Err(LoginFailed { is_passing, ..refusal });
        }
        let body = answer.whole(TOKEN_BYTES_MAX).await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        // What serde says could quote the token.
        let document: TokenDocument = serde_json::from_slice(&body)
            .map_err(|_| failed("sent something that is no token".to_owned()))?;
        let token = document.token.or(document.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| failed("sent no token".to_owned()))?;
        let lifetime = document.expires_in.map_or(LIFETIME_DEFAULT, Duration::from_secs);
        let lifetime = lifetime.min(LIFETIME_MAX);
        let lifetime = lifetime.checked_sub(MARGIN).unwrap_or(lifetime / 2);
        Ok(Kept { value: bearer(&token)?, until: Some(now() + lifetime) })
    }

    /// `GET` with a password or without one, `POST` with a refresh token.
    fn sending(&self, uri: &Uri) -> Result<Sending, LoginFailed> {
        let mut headers = HeaderMap::new();
        let mut form = form_urlencoded::Serializer::new(String::new());
        if let Some(service) = self.service {
            form.append_pair("service", service);
        }
        if let Some(Credential::IdentityToken(token)) = self.credential {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("client_id", "atoll");
            form.append_pair("refresh_token", token);
            form.append_pair("scope", &self.scopes.join(" "));
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form_type);
            let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let payload = Payload::Whole(Bytes::from(form.finish()));
            return Ok(Sending { method: Method::POST, path, headers, payload });
        }
        for scope in &self.scopes {
            form.append_pair("scope", scope);
        }
        if let Some(Credential::Basic { username, password }) = self.credential {
            form.append_pair("account", username);
            headers.insert(header::AUTHORIZATION, basic(username, password)?);
        }
        let query = form.finish();
        let path = match uri.query() {
            Some(own) => format!("{}?{own}&{query}", uri.path()),
            None => format!("{}?{query}", uri.path()),
        };
        Ok(Sending { method: Method::GET, path, headers, payload: Payload::None })
    }
}

/// Where an absolute address leads.
pub(crate) fn endpoint_of(uri: &Uri) -> Option<Endpoint> {
    let scheme = uri.scheme_str()?;
    let authority = uri.authority()?;
    // A user name in an address would hide where it leads.
    if authority.as_str().contains('@') {
        return None;
    }
    Endpoint::parse(&format!("{scheme}://{authority}"), false).ok()
}
