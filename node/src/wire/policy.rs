//! Whether nodes speak TLS with each other.
//!
//! Plaintext is for one machine: when this node listens and is reached on loopback addresses only,
//! nobody else can read or speak. Elsewhere it takes an operator's word (`cluster.insecure`). What a
//! node does follows from its own settings and never from what a peer offers: an offer of plaintext
//! is what an attacker would make.

use std::{net::SocketAddr, sync::Arc};

use super::Security;
use crate::{config::address::is_loopback, io::Clock};

/// How a node's settings protect its connections with other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Plaintext, and only this machine can listen.
    Local,
    /// Plaintext where other machines can read and speak: worth a warning at the start.
    Exposed,
    /// Mutual TLS.
    Mtls,
}

impl Protection {
    /// What follows from the settings: the address that is listened on, the one that others are told
    /// (if it is another), `tls = "always"`, and `insecure = true`. "Always" beats "insecure".
    pub fn of(
        listen: SocketAddr,
        advertise: Option<SocketAddr>,
        always: bool,
        insecure: bool,
    ) -> Protection {
        let local = [Some(listen), advertise].into_iter().flatten().all(|it| is_loopback(&it));
        match (always, local, insecure) {
            (true, _, _) | (false, false, false) => Protection::Mtls,
            (false, true, _) => Protection::Local,
            (false, false, true) => Protection::Exposed,
        }
    }

    /// The handle of a member. With TLS it lets nobody in until it has an identity.
    pub fn security(self, clock: Arc<dyn Clock>) -> Security {
        match self {
            Protection::Local | Protection::Exposed => Security::plaintext(),
            Protection::Mtls => Security::mtls(clock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_stays_on_the_machine_unless_somebody_says_otherwise() {
        let of = |listen: &str, advertise: Option<&str>, always, insecure| {
            let address = |text: &str| text.parse().expect("an address");
            Protection::of(address(listen), advertise.map(address), always, insecure)
        };
        let (local, any, other) = ("127.0.0.1:1", "0.0.0.0:1", "10.0.0.1:1");
        assert_eq!(of(local, None, false, false), Protection::Local);
        assert_eq!(of("[::1]:1", Some(local), false, false), Protection::Local);
        assert_eq!(of("[::ffff:127.0.0.1]:1", None, false, false), Protection::Local);
        assert_eq!(of(local, None, true, false), Protection::Mtls);
        for (listen, advertise) in [(any, None), (any, Some(local)), (local, Some(other))] {
            assert_eq!(of(listen, advertise, false, false), Protection::Mtls, "{listen}");
            assert_eq!(of(listen, advertise, false, true), Protection::Exposed, "{listen}");
            assert_eq!(of(listen, advertise, true, true), Protection::Mtls, "{listen}");
        }
    }
}
