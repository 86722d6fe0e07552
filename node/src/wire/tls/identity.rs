//! What a node proves itself with, and whom it believes.

use std::{fmt, str::FromStr};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
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
    /// There is no private key.
    #[error("no readable private key")]
    NoKey,
    /// The node's certificate or that of its CA is missing.
    #[error("no readable certificate of the node and its CA")]
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
    /// Reads a PEM text of the node's private key (PKCS #8), its certificate, that of the CA which
    /// signed it, and those of other CAs that are believed.
    ///
    /// # Errors
    /// Something is missing or does not decode, or the certificate names no node.
    pub fn from_pem(pem: &str) -> Result<Identity, BadIdentity> {
        let pem = pem.as_bytes();
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| BadIdentity::NoKey)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let mut chain = certificates.map_err(|_| BadIdentity::NoCertificate)?;
        if chain.len() < 2 {
            return Err(BadIdentity::NoCertificate);
        }
        let roots = chain.split_off(1);
        chain.push(roots[0].clone());
        let name = PeerIdentity::of_certificate(&chain[0])?;
        Ok(Identity { name, chain, key: key.into(), roots })
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

    /// Does it believe the CAs of this PEM text, in this order, and no others?
    pub fn believes_exactly(&self, trusted_pem: &str) -> bool {
        let trusted: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(trusted_pem.as_bytes()).collect();
        trusted.is_ok_and(|trusted| trusted == self.roots)
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
