//! Who is believed: a node whose certificate names this cluster and was signed by its CA.
//!
//! The name is looked at first, though nothing vouches for it yet: "it belongs to cluster B" tells
//! an operator more than "unknown issuer". Whether the node is the *expected* one is asked after the
//! handshake, by whoever expects one: certificates are checked alike for all.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{BadIdentity, Fingerprint, Identity, PeerIdentity, config};

/// Why a certificate that may be well signed is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeer {
    /// It names no node.
    #[error("its certificate does not name one node of one cluster")]
    NoName,
    /// It names a node of another cluster.
    #[error("it belongs to cluster `{theirs}`, this node to `{ours}`")]
    OtherCluster {
        /// Its cluster.
        theirs: String,
        /// This node's.
        ours: String,
    },
    /// None of the certificates it shows has the fingerprint of the token.
    #[error("it does not show the CA certificate {expected} that the join token names")]
    OtherAuthority {
        /// What the token says.
        expected: Fingerprint,
    },
}

impl From<BadPeer> for Error {
    fn from(bad: BadPeer) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(bad))))
    }
}

fn check_cluster(certificate: &CertificateDer<'_>, ours: &str) -> Result<(), BadPeer> {
    let name = PeerIdentity::of_certificate(certificate).map_err(|_| BadPeer::NoName)?;
    if name.cluster_id == ours {
        return Ok(());
    }
    Err(BadPeer::OtherCluster { theirs: name.cluster_id, ours: ours.to_owned() })
}

/// A caller's view of whom it reached.
#[derive(Debug)]
pub(super) struct Callee {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Trust {
    /// Any member of the cluster.
    Cluster { id: String, roots: RootCertStore },
    /// Whoever shows the CA that a join token names, and was signed by it: all a newcomer knows.
    Token(Fingerprint),
}

impl Callee {
    /// For a member.
    pub fn member(identity: &Identity, provider: Arc<CryptoProvider>) -> Result<Self, BadIdentity> {
        let (id, roots) = (identity.name().cluster_id.clone(), config::roots(identity.roots())?);
        Ok(Callee { trust: Trust::Cluster { id, roots }, provider })
    }

    /// For a newcomer.
    pub fn newcomer(authority: Fingerprint, provider: Arc<CryptoProvider>) -> Callee {
        Callee { trust: Trust::Token(authority), provider }
    }

    fn signed_by(
        &self,
        roots: &RootCertStore,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
    }
}

/// A listener's view of who calls: members, and strangers who show nothing.
#[derive(Debug)]
pub(super) struct Callers {
    cluster_id: String,
    signed: Arc<dyn ClientCertVerifier>,
}

impl Callers {
    pub fn new(identity: &Identity, provider: Arc<CryptoProvider>) -> Result<Self, BadIdentity> {
        let roots = Arc::new(config::roots(identity.roots())?);
        let signed = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| BadIdentity::Roots(error.to_string()))?;
        Ok(Callers { cluster_id: identity.name().cluster_id.clone(), signed })
    }
}

/// No suite of TLS 1.2 is offered: its signatures never come.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for Callee {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _address: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            Trust::Cluster { id, roots } => {
                check_cluster(certificate, id)?;
                self.signed_by(roots, certificate, intermediates, now)?;
            }
            Trust::Token(expected) => {
                PeerIdentity::of_certificate(certificate).map_err(|_| BadPeer::NoName)?;
                let named = intermediates.iter().find(|shown| Fingerprint::of(shown) == *expected);
                let named = named.ok_or(BadPeer::OtherAuthority { expected: *expected })?;
                let mut roots = RootCertStore::empty();
                roots.add(named.clone().into_owned())?;
                self.signed_by(&roots, certificate, &[], now)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Callers {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints let a client choose among certificates; a node has one.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check_cluster(certificate, &self.cluster_id)?;
        self.signed.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
