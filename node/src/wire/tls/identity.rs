//! What a node proves itself with, and whom it believes.

use std::{fmt, str::FromStr};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};

use super::name::{NoName, PeerIdentity};

/// A node's certificate with its private key, and the CAs whose certificates it believes.
pub struct Identity {
    name: PeerIdentity,
    /// The node's certificate, then that of the CA which signed it: a node that joins knows only
    /// the fingerprint of a CA and must be shown the whole.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Vec<CertificateDer<'static>>,
}

/// Parts that make no identity.
#[derive(Debug, thiserror::Error)]
pub enum BadIdentity {
    /// The certificate names no node.
    #[error(transparent)]
    NoName(#[from] NoName),
    /// There is no certificate.
    #[error("no certificate")]
    NoCertificate,
    /// TLS refuses a certificate or the key.
    #[error("certificate and key: {0}")]
    Tls(#[from] rustls::Error),
    /// None of the CAs can be used.
    #[error("no usable CA certificate: {0}")]
    Roots(String),
    /// The handle's connections do not use it.
    #[error("this node does not use mutual TLS")]
    NotMutual,
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 lower-case hexadecimal digits")]
pub struct BadFingerprint;

impl Identity {
    /// Puts together `chain` (the node's certificate, then that of its CA), the node's private key
    /// in PKCS #8, and the CAs it believes, all DER.
    ///
    /// # Errors
    /// The chain is empty or its first certificate names no node.
    pub fn new(
        chain: Vec<Vec<u8>>,
        key: Vec<u8>,
        roots: Vec<Vec<u8>>,
    ) -> Result<Identity, BadIdentity> {
        let certificates =
            |ders: Vec<Vec<u8>>| ders.into_iter().map(CertificateDer::from).collect();
        let name = PeerIdentity::of_certificate(chain.first().ok_or(BadIdentity::NoCertificate)?)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        Ok(Identity { name, chain: certificates(chain), key, roots: certificates(roots) })
    }

    /// Who it proves to be.
    pub fn name(&self) -> &PeerIdentity {
        &self.name
    }

    /// The node's certificate, then that of the CA that signed it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The CAs it believes.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The private key.
    pub(crate) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, BadFingerprint> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(BadFingerprint),
        };
        let bytes = <[u8; 64]>::try_from(text.as_bytes()).map_err(|_| BadFingerprint)?;
        let mut fingerprint = [0; 32];
        for (byte, pair) in fingerprint.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Fingerprint(fingerprint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_was_written() {
        let fingerprint = Fingerprint::of(b"certificate");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for text in ["", "00", &"g0".repeat(32), &"AB".repeat(32), &"ab".repeat(33)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(BadFingerprint), "{text}");
        }
    }
}
