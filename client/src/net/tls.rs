//! TLS to registries: whom to believe, and which hosts may be spoken to in the clear.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;

use super::transport::Wire;
use crate::{endpoint::Endpoint, error::LocalFailure};

/// Where systems keep the certificates they trust; `SSL_CERT_FILE` goes before all of them.
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How connections are protected.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// PEM files with certificates to trust beside those of the system.
    pub ca_files: Vec<PathBuf>,
    /// Speak to this registry in the clear, wherever it is. Loopback is spoken to in the clear
    /// anyway.
    pub insecure_http: bool,
}

/// What is needed to lay TLS over a connection.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the certificates.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Tls, LocalFailure> {
        let mut roots = RootCertStore::empty();
        for path in &settings.ca_files {
            let found = certificates(path)?;
            if roots.add_parsable_certificates(found).0 == 0 {
                let cause = io::Error::new(io::ErrorKind::InvalidData, "no certificate in it");
                return Err(reading(path, cause));
            }
        }
        // Without the system's list only what was named is believed; that is an error at the first
        // handshake with somebody else, not here.
        if let Some(path) = system_file() {
            roots.add_parsable_certificates(certificates(&path).unwrap_or_default());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = &[&rustls::version::TLS13, &rustls::version::TLS12];
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        wire: Box<dyn Wire>,
    ) -> io::Result<Box<dyn Wire>> {
        let name = ServerName::try_from(endpoint.bare_host().to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Box::new(self.0.connect(name, wire).await?))
    }
}

fn system_file() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = SYSTEM_CERTIFICATES.iter().map(PathBuf::from);
    named.into_iter().chain(known).find(|path| path.is_file())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LocalFailure> {
    let broken = |error: rustls::pki_types::pem::Error| match error {
        rustls::pki_types::pem::Error::Io(error) => reading(path, error),
        error => reading(path, io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let found = CertificateDer::pem_file_iter(path).map_err(broken)?;
    found.collect::<Result<_, _>>().map_err(broken)
}

fn reading(path: &Path, cause: io::Error) -> LocalFailure {
    LocalFailure { doing: format!("reading certificates from {}", path.display()), cause }
}
