//! Which cluster this data folder belongs to, which member it is, and how often it has started.
//!
//! ```text
//! cluster.toml       cluster, node number, start counter; or the nonce of a join under way
//! ```
//!
//! The file is written before its content is used: a node that lost its power never comes back with
//! an incarnation that it had already, and a join that was cut off is asked for again under the same
//! nonce, so that it does not become a second member.

use std::{fmt, io, path::Path};

use atoll_core::view::NodeId;
use serde::{Deserialize, Serialize};

use crate::io::{Disk, Entropy, disk::replace_durable};

const FILE: &str = "cluster.toml";

/// The file is a few lines; more is not one.
const FILE_BYTES_MAX: u64 = 4096;

/// Version of the file.
const VERSION: u32 = 1;

/// Who this node is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, drawn when it was founded.
    pub cluster_id: String,
    /// The node's number.
    pub node: NodeId,
    /// Which start of the node this is, from 1.
    pub incarnation: u64,
    /// Number of metadata groups, at a node that joined: the founder's configuration says it, not
    /// its own. `None` at the founder.
    pub groups: Option<u16>,
}

/// Tells one attempt to join from another.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinNonce(pub [u8; 16]);

impl fmt::Debug for JoinNonce {
    /// Whoever knows it may repeat the join.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinNonce(…)")
    }
}

/// What the data folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: the folder is new, or older than clusters.
    Nothing,
    /// A join has begun.
    Joining(JoinNonce),
    /// It belongs to a member.
    Member(Identity),
}

/// The file is there and says nothing that can be understood.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk.
    #[error("`{FILE}`: {0}")]
    Io(#[from] io::Error),
    /// Guessing would make this node another one.
    #[error("`{FILE}` is damaged: {0}; put it back from a copy, or let the node join anew")]
    Damaged(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joining: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<u16>,
}

impl Identity {
    /// The founding member of a cluster that is drawn now.
    pub fn founder(entropy: &dyn Entropy) -> Identity {
        let mut random = [0; 16];
        entropy.fill(&mut random);
        Identity { cluster_id: hex(&random), node: NodeId(1), incarnation: 1, groups: None }
    }
}

impl JoinNonce {
    /// A new one.
    pub fn draw(entropy: &dyn Entropy) -> JoinNonce {
        let mut nonce = JoinNonce([0; 16]);
        entropy.fill(&mut nonce.0);
        nonce
    }
}

/// What the folder says.
///
/// # Errors
/// The disk, or a file that is not understood.
pub fn read(disk: &dyn Disk) -> Result<Kept, IdentityError> {
    let file = match disk.open_read(Path::new(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
        Err(error) => return Err(error.into()),
    };
    let damaged = |reason: String| IdentityError::Damaged(reason);
    let len = file.len()?;
    if len > FILE_BYTES_MAX {
        return Err(damaged(format!("{len} bytes long")));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    let text = String::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
    let document: Document = toml::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    understand(document).map_err(damaged)
}

fn understand(document: Document) -> Result<Kept, String> {
    match document {
        Document { version, .. } if version != VERSION => {
            Err(format!("version {version} is not known"))
        }
        Document { joining: Some(nonce), cluster_id: None, .. } => {
            let nonce = unhex(&nonce).ok_or("the nonce is none")?;
            Ok(Kept::Joining(JoinNonce(nonce)))
        }
        Document {
            joining: None,
            cluster_id: Some(cluster_id),
            node: Some(node @ 1..),
            incarnation: Some(incarnation @ 1..),
            groups,
            ..
        } => Ok(Kept::Member(Identity { cluster_id, node: NodeId(node), incarnation, groups })),
        _ => Err("fields are missing".to_owned()),
    }
}

/// Notes that a join begins. Durable when it returns.
///
/// # Errors
/// Those of the disk.
pub fn write_joining(disk: &dyn Disk, nonce: JoinNonce) -> io::Result<()> {
    let joining = Some(hex(&nonce.0));
    write(
        disk,
        &Document {
            version: VERSION,
            joining,
            cluster_id: None,
            node: None,
            incarnation: None,
            groups: None,
        },
    )
}

/// Notes who this node is. Durable when it returns.
///
/// # Errors
/// Those of the disk.
pub fn write_member(disk: &dyn Disk, identity: &Identity) -> io::Result<()> {
    write(
        disk,
        &Document {
            version: VERSION,
            joining: None,
            cluster_id: Some(identity.cluster_id.clone()),
            node: Some(identity.node.0),
            incarnation: Some(identity.incarnation),
            groups: identity.groups,
        },
    )
}

fn write(disk: &dyn Disk, document: &Document) -> io::Result<()> {
    let text = toml::to_string(document).map_err(io::Error::other)?;
    replace_durable(disk, Path::new(FILE), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        disk::sim::{Faults, Loss, SimDisk},
        entropy::SimEntropy,
    };

    #[test]
    fn what_was_written_is_read_after_a_power_cut() {
        let device = SimDisk::new(1, Faults::default());
        let entropy = SimEntropy::new(1);
        assert_eq!(read(device.mount().as_ref()).unwrap(), Kept::Nothing);
        let nonce = JoinNonce::draw(&entropy);
        write_joining(device.mount().as_ref(), nonce).unwrap();
        device.power_cut(Loss::DropAll);
        assert_eq!(read(device.mount().as_ref()).unwrap(), Kept::Joining(nonce));
        let mut identity = Identity::founder(&entropy);
        for incarnation in 1..4 {
            identity.incarnation = incarnation;
            write_member(device.mount().as_ref(), &identity).unwrap();
            device.power_cut(Loss::DropAll);
            assert_eq!(read(device.mount().as_ref()).unwrap(), Kept::Member(identity.clone()));
        }
    }

    #[test]
    fn a_file_that_says_half_of_it_stops_the_start() {
        for text in [
            "",
            "version = 1",
            "version = 2\njoining = \"00\"",
            "version = 1\njoining = \"00\"",
            "version = 1\ncluster_id = \"a\"\nnode = 0\nincarnation = 1",
            "version = 1\ncluster_id = \"a\"\nnode = 1\nincarnation = 0",
            "version = 1\nsurprise = 1",
        ] {
            let device = SimDisk::new(1, Faults::default());
            replace_durable(device.mount().as_ref(), Path::new(FILE), text.as_bytes()).unwrap();
            let error = read(device.mount().as_ref()).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{text:?}: {error}");
        }
    }
}
