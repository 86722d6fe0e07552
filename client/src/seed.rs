//! Where a client begins: nodes, or a name that stands for several.

use std::{fmt, str::FromStr};

use crate::endpoint::{Endpoint, InvalidEndpoint};

/// An address that a client knows before it knows the cluster. Several may be given; one that
/// answers suffices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seed {
    /// One node, or a load balancer in front of nodes: `host:port`.
    Node(String),
    /// A name whose every address is a node: `name:port`.
    Dns(String),
}

impl Seed {
    /// The address as it was given.
    pub fn address(&self) -> &str {
        match self {
            Seed::Node(address) | Seed::Dns(address) => address,
        }
    }

    /// The endpoint, before any name is resolved.
    pub(crate) fn endpoint(&self, insecure_http: bool) -> Result<Endpoint, InvalidEndpoint> {
        Endpoint::parse(self.address(), insecure_http)
    }
}

/// `host:port`, `http://host:port`, `https://host`, or `dns:name:port`.
impl FromStr for Seed {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Seed, InvalidEndpoint> {
        let seed = match text.strip_prefix("dns:") {
            Some(name) => Seed::Dns(name.to_owned()),
            None => Seed::Node(text.to_owned()),
        };
        seed.endpoint(false)?;
        Ok(seed)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seed::Node(address) => f.write_str(address),
            Seed::Dns(address) => write!(f, "dns:{address}"),
        }
    }
}
