//! Where credentials come from.

use std::fmt;

use futures_util::future::BoxFuture;

/// What a user proves who they are with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Name and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that is sent as it is.
    Bearer(String),
    /// A refresh token, which a token server changes into bearer tokens.
    IdentityToken(String),
}

/// Never shows what must stay secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Basic { .. } => "Basic(…)",
            Credential::Bearer(_) => "Bearer(…)",
            Credential::IdentityToken(_) => "IdentityToken(…)",
        })
    }
}

/// Knows credentials, by registry.
pub trait Credentials: Send + Sync {
    /// The credential for a registry, if there is one. `host` is the registry as the client was told
    /// of it (`host:port`), never a node that a view or a redirect named; `scope` is what it is
    /// needed for, such as `repository:team/app:pull`, and may be empty.
    fn for_registry<'a>(
        &'a self,
        host: &'a str,
        scope: &'a str,
    ) -> BoxFuture<'a, Option<Credential>>;
}

/// No credentials at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn for_registry<'a>(
        &'a self,
        _host: &'a str,
        _scope: &'a str,
    ) -> BoxFuture<'a, Option<Credential>> {
        Box::pin(async { None })
    }
}

/// One credential, for the registry that the client was made for.
#[derive(Clone, Debug)]
pub struct StaticCredential(pub Credential);

impl Credentials for StaticCredential {
    fn for_registry<'a>(
        &'a self,
        _host: &'a str,
        _scope: &'a str,
    ) -> BoxFuture<'a, Option<Credential>> {
        Box::pin(async { Some(self.0.clone()) })
    }
}
