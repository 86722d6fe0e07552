//! A node's own certificate: made with a key that never leaves the node, kept on its disk, renewed by
//! itself.
//!
//! ```text
//! tls/node.pem       private key, certificate, that of its CA, and those of other believed CAs
//! ```
//!
//! One file, replaced in one step: a key never stands beside the certificate of another. At two
//! thirds of its life a certificate is renewed, with a new key, and at once when the cluster's CA is
//! replaced. Connections that stand keep what they were made with; the next ones use the new.

use std::{
    fmt, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, KeyPair};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use x509_parser::parse_x509_certificate;

use super::ca::{Authorities, CLOCK_SKEW, SignError};
use crate::{
    io::{Disk, Io, disk::create_dir_all_durable},
    wire::{
        Security,
        tls::{BadIdentity, Identity, PeerIdentity},
    },
};

const FOLDER: &str = "tls";
const FILE: &str = "tls/node.pem";
const FILE_NEW: &str = "tls/node.pem.new";

/// A key and a handful of certificates; more is not the file.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// How long a node's certificate lives. A node that was off for longer makes itself a new one, so
/// this bounds only for how long a stolen one is worth something.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The longest pause between two looks at the clock: it may be set forward.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The node's private key.
pub struct NodeKey {
    key: KeyPair,
}

/// A node has no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The disk.
    #[error("`{FILE}`: {0}")]
    Io(#[from] io::Error),
    /// A key could not be made.
    #[error("make a key: {0}")]
    Key(#[from] rcgen::Error),
    /// The certificate, the key and the CAs do not fit together.
    #[error("`{FILE}`: {0}; remove the file to have it made anew")]
    Identity(#[from] BadIdentity),
    /// The CA did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl NodeKey {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<NodeKey, CertificateError> {
        Ok(NodeKey { key: KeyPair::generate()? })
    }

    /// A request for a certificate (PKCS #10, PEM). It says nothing but the public key: who the node
    /// is, the signer says.
    ///
    /// # Errors
    /// The library cannot write it.
    pub fn request_pem(&self) -> Result<String, CertificateError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok(params.serialize_request(&self.key)?.pem()?)
    }

    /// Puts the key together with the certificate that was signed for it and the CAs to believe, the
    /// signer first (both PEM); this is what [`store`] writes and [`Identity::from_pem`] reads.
    pub fn with_certificate(&self, certificate_pem: &str, trusted_pem: &str) -> IdentityPem {
        let key_pem = self.key.serialize_pem();
        IdentityPem([key_pem.trim(), certificate_pem.trim(), trusted_pem.trim(), ""].join("\n"))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

/// An identity as text, private key included.
pub struct IdentityPem(String);

impl IdentityPem {
    /// The identity.
    ///
    /// # Errors
    /// The parts do not decode.
    pub fn identity(&self) -> Result<Identity, BadIdentity> {
        Identity::from_pem(&self.0)
    }
}

impl fmt::Debug for IdentityPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityPem(…)")
    }
}

/// Signs a certificate for a new key of this very node, as every member can.
///
/// # Errors
/// See [`CertificateError`].
pub fn self_issued(
    authorities: &Authorities,
    me: &PeerIdentity,
    now: SystemTime,
    lifetime: Duration,
) -> Result<IdentityPem, CertificateError> {
    let key = NodeKey::generate()?;
    let certificate = authorities.sign(&key.request_pem()?, me, now, lifetime)?;
    Ok(key.with_certificate(&certificate, &authorities.trusted_pem()))
}

/// The identity on the disk, if there is one.
///
/// # Errors
/// The disk, or a file that is none.
pub async fn load(io: &Io) -> Result<Option<Identity>, CertificateError> {
    match io.disk_op(|disk| read(disk.as_ref())).await {
        Ok(text) => Ok(Some(Identity::from_pem(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the identity, in place of any other, and uses it from now on.
///
/// # Errors
/// The disk, or parts that do not fit together; then the one before stays in use.
pub async fn adopt(io: &Io, security: &Security, pem: IdentityPem) -> Result<(), CertificateError> {
    let identity = pem.identity()?;
    io.disk_op(move |disk| write(disk.as_ref(), pem.0.as_bytes())).await?;
    Ok(security.install(identity)?)
}

fn read(disk: &dyn Disk) -> io::Result<String> {
    let file = disk.open_read(Path::new(FILE))?;
    let len = file.len()?;
    if len > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes long")));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a text"))
}

fn write(disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
    create_dir_all_durable(disk, Path::new(FOLDER))?;
    match disk.unlink(Path::new(FILE_NEW)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(Path::new(FILE_NEW))?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(Path::new(FILE_NEW), Path::new(FILE))?;
    disk.sync_dir(Path::new(FOLDER))
}

/// Keeps this node's certificate valid.
#[derive(Debug)]
pub struct Renewal {
    /// Time and disk.
    pub io: Io,
    /// Who this node is.
    pub me: PeerIdentity,
    /// How long a certificate is to live.
    pub lifetime: Duration,
    /// Where it is used.
    pub security: Security,
    /// The cluster's CAs as this node knows them; `None` until it does.
    pub authorities: watch::Receiver<Option<Authorities>>,
}

impl Renewal {
    /// Renews whenever it is time, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let look_interval = LOOK_INTERVAL.min(self.lifetime / 20);
        loop {
            self.look().await;
            let changed = tokio::time::timeout(look_interval, self.authorities.changed());
            let sender_is_gone = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = changed => matches!(changed, Ok(Err(_))),
            };
            if sender_is_gone {
                return;
            }
        }
    }

    async fn look(&mut self) {
        let Some(authorities) = self.authorities.borrow_and_update().clone() else { return };
        let identity = self.security.identity();
        let now = self.io.clock.wall();
        let Some(why) = due(identity.as_deref(), &authorities, &self.me, now) else { return };
        match self.renew(&authorities, now).await {
            Ok(()) => info!(node = %self.me.node, why, "this node's certificate renewed"),
            Err(error) => error!(%error, why, "this node's certificate cannot be renewed"),
        }
    }

    async fn renew(
        &self,
        authorities: &Authorities,
        now: SystemTime,
    ) -> Result<(), CertificateError> {
        let pem = self_issued(authorities, &self.me, now, self.lifetime)?;
        adopt(&self.io, &self.security, pem).await
    }
}

/// Why the identity must be renewed at `now`; `None` when it need not.
pub fn due(
    identity: Option<&Identity>,
    authorities: &Authorities,
    me: &PeerIdentity,
    now: SystemTime,
) -> Option<&'static str> {
    let Some(identity) = identity else { return Some("there was none") };
    if identity.name() != me {
        return Some("it was another node's");
    }
    if !identity.believes_exactly(&authorities.trusted_pem()) {
        return Some("the cluster's CA has changed");
    }
    let Some((from, until)) = validity(identity) else { return Some("it cannot be read") };
    let issued = from + CLOCK_SKEW;
    // A third is left to notice that renewing does not work.
    let renew_at = issued + until.saturating_sub(issued) * 2 / 3;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (now >= renew_at || now < from).then_some("two thirds of its life are over")
}

/// From when until when the node's certificate is valid, since 1970.
fn validity(identity: &Identity) -> Option<(Duration, Duration)> {
    let (_, certificate) = parse_x509_certificate(identity.chain().first()?).ok()?;
    let seconds = |time: i64| u64::try_from(time).ok().map(Duration::from_secs);
    let validity = certificate.validity();
    let (from, until) =
        (seconds(validity.not_before.timestamp())?, seconds(validity.not_after.timestamp())?);
    (from <= until).then_some((from, until))
}
