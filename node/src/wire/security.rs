//! How this node's connections are protected: not at all, or by mutual TLS under the cluster's CA.
//!
//! [`Security`] is handed to whoever connects or listens. A node that renews its certificate
//! [installs](Security::install) the new one here: connections made from then on use it, and those
//! that stand stay as they are. Why a whole snapshot for each connection and not rustls's own
//! resolvers: the roots change too when the CA is replaced, and one connection must not mix both.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use atoll_core::view::NodeId;
use rustls::{ClientConfig, ServerConfig};

use super::tls::{self, BadIdentity, Fingerprint, Identity};
use crate::io::Clock;

/// Answers whether a node was removed from the cluster for good.
type Removed = Arc<dyn Fn(NodeId) -> bool + Send + Sync>;

/// How connections are protected. Clones share it.
#[derive(Clone)]
pub struct Security {
    inner: Arc<Inner>,
}

enum Inner {
    Plaintext,
    Joining { client: Arc<ClientConfig> },
    Mtls { clock: Arc<dyn Clock>, state: RwLock<State> },
}

#[derive(Default)]
struct State {
    material: Option<Arc<Material>>,
    removed: Option<Removed>,
}

/// What one connection is made with.
pub(super) struct Material {
    pub identity: Arc<Identity>,
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
}

/// What a caller does before it sends.
pub(super) enum Caller {
    Plaintext,
    Tls(Arc<ClientConfig>),
    /// It has no certificate yet.
    NotReady,
}

impl Security {
    /// No protection: for one machine, for simulation, and where an operator says so.
    pub fn plaintext() -> Security {
        Security { inner: Arc::new(Inner::Plaintext) }
    }

    /// Mutual TLS. Until [`Self::install`] was called nothing connects and nobody is let in.
    pub fn mtls(clock: Arc<dyn Clock>) -> Security {
        Security { inner: Arc::new(Inner::Mtls { clock, state: RwLock::default() }) }
    }

    /// What a node uses for the one call by which it joins: it has no certificate yet, and believes
    /// only a member whose CA has the fingerprint that the token names. It cannot listen.
    pub fn joining(clock: Arc<dyn Clock>, authority: Fingerprint) -> Security {
        let client = tls::config::joining(clock, authority);
        Security { inner: Arc::new(Inner::Joining { client }) }
    }

    /// Uses `identity` for every connection made from now on.
    ///
    /// # Errors
    /// Its parts do not fit together, or this is not [`Self::mtls`].
    pub fn install(&self, identity: Identity) -> Result<(), BadIdentity> {
        let Inner::Mtls { clock, state } = &*self.inner else { return Err(BadIdentity::NotMutual) };
        let client = tls::config::client(clock.clone(), &identity)?;
        let server = tls::config::server(clock.clone(), &identity)?;
        let material = Material { identity: Arc::new(identity), client, server };
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        state.material = Some(Arc::new(material));
        Ok(())
    }

    /// Says how to tell that a node was removed for good: its certificate then opens nothing, long
    /// before it expires. Without effect in plaintext, where nobody proves who he is.
    pub fn refuse_removed(&self, removed: impl Fn(NodeId) -> bool + Send + Sync + 'static) {
        if let Inner::Mtls { state, .. } = &*self.inner {
            let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
            state.removed = Some(Arc::new(removed));
        }
    }

    /// Are bytes sent as they are?
    pub fn is_plaintext(&self) -> bool {
        matches!(&*self.inner, Inner::Plaintext)
    }

    /// Who this node proves to be; `None` in plaintext and before [`Self::install`].
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.material().map(|material| material.identity.clone())
    }

    /// The CA that signed this node's certificate, as a join token names it; `None` in plaintext and
    /// before [`Self::install`].
    pub fn authority(&self) -> Option<Fingerprint> {
        self.identity()?.chain().get(1).map(|authority| Fingerprint::of(authority))
    }

    pub(super) fn material(&self) -> Option<Arc<Material>> {
        let Inner::Mtls { state, .. } = &*self.inner else { return None };
        state.read().unwrap_or_else(PoisonError::into_inner).material.clone()
    }

    pub(super) fn caller(&self) -> Caller {
        match &*self.inner {
            Inner::Plaintext => Caller::Plaintext,
            Inner::Joining { client } => Caller::Tls(client.clone()),
            Inner::Mtls { .. } => match self.material() {
                Some(material) => Caller::Tls(material.client.clone()),
                None => Caller::NotReady,
            },
        }
    }

    /// The node's monotonic time; zero where nothing depends on it.
    pub(super) fn monotonic(&self) -> Duration {
        match &*self.inner {
            Inner::Mtls { clock, .. } => clock.monotonic(),
            Inner::Plaintext | Inner::Joining { .. } => Duration::ZERO,
        }
    }

    pub(super) fn is_removed(&self, node: NodeId) -> bool {
        let Inner::Mtls { state, .. } = &*self.inner else { return false };
        let removed = state.read().unwrap_or_else(PoisonError::into_inner).removed.clone();
        removed.is_some_and(|removed| removed(node))
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match &*self.inner {
            Inner::Plaintext => "plaintext",
            Inner::Joining { .. } => "joining",
            Inner::Mtls { .. } => "mtls",
        };
        f.debug_tuple("Security").field(&mode).finish()
    }
}
