//! The cluster's certificate authority: made when the cluster is founded, kept in group 0.
//!
//! Every node holds the authority's key, because every node holds the state of group 0. So any member
//! can let a newcomer in, and each renews its own certificate without asking anybody; a node that was
//! off for longer than its certificate lives comes back by itself. The price is that whoever reads
//! one node's disk can make certificates: `docs/adr/0010-every-member-holds-the-ca.md`.
//!
//! An authority is replaced in three steps, each of which every node must have taken before the
//! next: a [successor](Authorities::with_successor) is believed and does not sign; it
//! [signs](Authorities::promoted) and the old one is still believed; the old one is
//! [forgotten](Authorities::without_retired).

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

use crate::wire::tls::{Fingerprint, PeerIdentity};

/// How long an authority lives: it is replaced long before, by an operator.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How far a certificate reaches into the past of the node that signs it: clocks of nodes differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The longest signing request, in bytes. One of ours has about 500.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;

/// One authority: its certificate and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Authority {
    certificate_pem: String,
    key_pem: String,
}

/// The authority that signs, and those that are believed beside it while it is being replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities {
    current: Authority,
    successor: Option<Authority>,
    /// Certificates of authorities that no longer sign.
    retired_pem: Vec<String>,
}

/// Making or using an authority did not work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate or key could not be made or read.
    #[error("certificate authority: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// What is kept as an authority is none.
    #[error("the cluster's CA certificate cannot be read")]
    Unreadable,
    /// A step that does not come next.
    #[error("{0}")]
    OutOfOrder(&'static str),
}

/// A signing request that is not granted.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is longer than any that a node makes.
    #[error("the signing request has {0} bytes, more than {REQUEST_BYTES_MAX}")]
    TooLong(usize),
    /// It is not one, or whoever made it does not have the key.
    #[error("the signing request is refused: {0}")]
    BadRequest(rcgen::Error),
    /// It asks for another kind of key than nodes make.
    #[error("the signing request is not for an ECDSA key on P-256")]
    OtherKey,
    /// Nothing to do with the request.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Authority {
    fn make(cluster_id: &str, now: SystemTime) -> Result<Authority, AuthorityError> {
        // Keys come from the crypto library's own generator: they are never part of a simulation.
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Atoll cluster {cluster_id}"));
        // Two authorities of one cluster must not have the same name.
        let serial = &Fingerprint::of(key.public_key_raw()).to_string()[..16];
        params.distinguished_name.push(DnType::OrganizationalUnitName, serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + AUTHORITY_LIFETIME).into();
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Authority { certificate_pem, key_pem: key.serialize_pem() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        let key = KeyPair::from_pem(&self.key_pem)?;
        Ok(Issuer::from_ca_cert_pem(&self.certificate_pem, key)?)
    }
}

impl Authorities {
    /// The first authority of a cluster.
    ///
    /// # Errors
    /// Those of making a key.
    pub fn found(cluster_id: &str, now: SystemTime) -> Result<Authorities, AuthorityError> {
        let current = Authority::make(cluster_id, now)?;
        Ok(Authorities { current, successor: None, retired_pem: Vec::new() })
    }

    /// What a join token says of the authority that signs.
    ///
    /// # Errors
    /// What is kept is no certificate.
    pub fn fingerprint(&self) -> Result<Fingerprint, AuthorityError> {
        let certificate = CertificateDer::from_pem_slice(self.current.certificate_pem.as_bytes());
        let certificate = certificate.map_err(|_| AuthorityError::Unreadable)?;
        Ok(Fingerprint::of(&certificate))
    }

    /// The certificates to believe (PEM), that of the authority which signs first.
    pub fn trusted_pem(&self) -> String {
        let current = std::iter::once(&self.current.certificate_pem);
        let successor = self.successor.iter().map(|successor| &successor.certificate_pem);
        current.chain(successor).chain(&self.retired_pem).map(String::as_str).collect()
    }

    /// Looks whether [`Self::sign`] would take a request.
    ///
    /// # Errors
    /// It would not.
    pub fn check(&self, request_pem: &str) -> Result<(), SignError> {
        parse(request_pem).map(drop)
    }

    /// Signs a request (PKCS #10, PEM) for `name`, for `lifetime` from `now`; answers the
    /// certificate (PEM). Of the request only the public key is used: the signer decides on the rest.
    ///
    /// # Errors
    /// The request is no such, or what is kept is no authority.
    pub fn sign(
        &self,
        request_pem: &str,
        name: &PeerIdentity,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<String, SignError> {
        let request = parse(request_pem)?;
        let params = node_params(name, now, lifetime)?;
        let issuer = self.current.issuer()?;
        let signed = params.signed_by(&request.public_key, &issuer);
        Ok(signed.map_err(AuthorityError::from)?.pem())
    }

    /// With a second authority that is believed from now on.
    ///
    /// # Errors
    /// There is one already, or the one before the present is still believed.
    pub fn with_successor(
        &self,
        cluster_id: &str,
        now: SystemTime,
    ) -> Result<Authorities, AuthorityError> {
        if self.successor.is_some() || !self.retired_pem.is_empty() {
            return Err(AuthorityError::OutOfOrder("the CA is being replaced already"));
        }
        let successor = Some(Authority::make(cluster_id, now)?);
        Ok(Authorities { successor, ..self.clone() })
    }

    /// With the successor signing, and the present one only believed.
    ///
    /// # Errors
    /// There is no successor.
    pub fn promoted(&self) -> Result<Authorities, AuthorityError> {
        let nobody = AuthorityError::OutOfOrder("there is no successor of the CA");
        let current = self.successor.clone().ok_or(nobody)?;
        let retired_pem = vec![self.current.certificate_pem.clone()];
        Ok(Authorities { current, successor: None, retired_pem })
    }

    /// Without authorities that no longer sign. What they signed is worth nothing from then on.
    pub fn without_retired(&self) -> Authorities {
        Authorities { retired_pem: Vec::new(), ..self.clone() }
    }
}

/// The public key of a request whose maker has the private one.
fn parse(request_pem: &str) -> Result<CertificateSigningRequestParams, SignError> {
    if request_pem.len() > REQUEST_BYTES_MAX {
        return Err(SignError::TooLong(request_pem.len()));
    }
    let request = CertificateSigningRequestParams::from_pem(request_pem);
    let request = request.map_err(SignError::BadRequest)?;
    if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
        return Err(SignError::OtherKey);
    }
    Ok(request)
}

/// The certificate of a node, but for its key.
fn node_params(
    name: &PeerIdentity,
    now: SystemTime,
    lifetime: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let uri = name.to_string().try_into()?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.distinguished_name.push(DnType::CommonName, format!("Atoll node {}", name.node));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + lifetime).into();
    Ok(params)
}

impl std::fmt::Debug for Authorities {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities")
            .field("fingerprint", &self.fingerprint().map(|it| it.to_string()).ok())
            .field("successor", &self.successor.is_some())
            .field("retired", &self.retired_pem.len())
            .finish_non_exhaustive()
    }
}
