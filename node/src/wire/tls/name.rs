//! What a certificate says about its node: one URI, `atoll://<cluster id>/node/<number>`.

use std::{fmt, str::FromStr};

use atoll_core::view::NodeId;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// A node of a cluster, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIdentity {
    /// Which cluster.
    pub cluster_id: String,
    /// Which node of it.
    pub node: NodeId,
}

/// A text or a certificate that names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate does not name one node of one cluster")]
pub struct NoName;

impl PeerIdentity {
    /// The node that a certificate names. Says nothing about who signed it.
    ///
    /// # Errors
    /// It is no certificate, or it does not have exactly one name, or that is of another kind.
    pub fn of_certificate(der: &[u8]) -> Result<PeerIdentity, NoName> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|_| NoName)?;
        let names = certificate.subject_alternative_name().map_err(|_| NoName)?.ok_or(NoName)?;
        match names.value.general_names.as_slice() {
            [GeneralName::URI(uri)] => uri.parse(),
            _ => Err(NoName),
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "atoll://{}/node/{}", self.cluster_id, self.node.0)
    }
}

impl FromStr for PeerIdentity {
    type Err = NoName;

    fn from_str(text: &str) -> Result<PeerIdentity, NoName> {
        let rest = text.strip_prefix("atoll://").ok_or(NoName)?;
        let (cluster_id, number) = rest.split_once("/node/").ok_or(NoName)?;
        let node = number.parse().map(NodeId).map_err(|_| NoName)?;
        let identity = PeerIdentity { cluster_id: cluster_id.to_owned(), node };
        // One node has one text: no `+7`, no `007`.
        let exact = !cluster_id.is_empty() && identity.to_string() == text;
        exact.then_some(identity).ok_or(NoName)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(cluster_id in "[a-z0-9-]{1,40}", number: u16) {
            let identity = PeerIdentity { cluster_id, node: NodeId(number) };
            prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, text: String) {
            prop_assert_eq!(PeerIdentity::of_certificate(&bytes), Err(NoName));
            prop_assert_eq!(text.parse::<PeerIdentity>(), Err(NoName));
        }
    }

    #[test]
    fn what_names_no_node_is_refused() {
        let texts = [
            "",
            "atoll://",
            "atoll:///node/1",
            "atoll://c/node/",
            "atoll://c/node/+1",
            "atoll://c/node/01",
            "atoll://c/node/65536",
            "atoll://c/node/1/node/2",
            "http://c/node/1",
        ];
        for text in texts {
            assert_eq!(text.parse::<PeerIdentity>(), Err(NoName), "{text}");
        }
    }
}
