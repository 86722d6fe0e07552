//! What one node knows about itself alone. Others ask it for this when a status is put together.

use serde::{Deserialize, Serialize};

/// One node's own account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// Version of the binary.
    pub version: String,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
    /// Epoch of the view it holds.
    pub epoch: u64,
    /// May it acknowledge writes and say "not found"?
    pub lease_valid: bool,
    /// Peers it asks last because they did not answer as they should.
    pub suspects: Vec<u16>,
    /// The device of its data folder.
    pub disk: Disk,
    /// Copies it holds; `None` until they have been counted after the start.
    pub blobs: Option<u64>,
    /// What it is fetching.
    pub synchronisation: Synchronisation,
    /// The comparison with its co-owners.
    pub repair: Repair,
    /// The reading of its own copies.
    pub scrub: Scrub,
    /// Garbage collection, as far as this node drives it.
    pub collection: Option<Collection>,
}

/// Room on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Its size in bytes.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub available_bytes: u64,
    /// Is it so full that the node takes no more copies?
    pub full: bool,
}

/// Fetching the copies a node should have and has not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synchronisation {
    /// The epoch up to which the node holds all it owns.
    pub synced_epoch: u64,
    /// Is it working?
    pub active: bool,
    /// Nodes it has compared with in this pass.
    pub sources_done: u64,
    /// Nodes it compares with in this pass.
    pub sources_total: u64,
    /// Blobs fetched.
    pub blobs_done: u64,
    /// Blobs known to be missing, those fetched included.
    pub blobs_total: u64,
    /// Bytes fetched.
    pub bytes_done: u64,
    /// Bytes known to be missing, those fetched included.
    pub bytes_total: u64,
    /// How long it will take at the present pace; `None` when that cannot be said.
    pub eta_seconds: Option<u64>,
}

/// The continuous comparison of copies among owners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repair {
    /// Copies this node should have and has not, as far as is known.
    pub under_replicated: u64,
    /// Blobs copied by repair since the start.
    pub blobs: u64,
    /// Bytes copied by repair since the start.
    pub bytes: u64,
    /// Copies that could not be fetched and will be tried again.
    pub failed: u64,
    /// Comparisons completed since the start.
    pub passes: u64,
}

/// The reading of every copy against its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scrub {
    /// Copies read since the start.
    pub blobs: u64,
    /// Bytes read since the start.
    pub bytes: u64,
    /// Copies whose content was not their digest's.
    pub damaged: u64,
}

/// Garbage collection, as the node that drove it saw it since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collection {
    /// Is it switched on?
    pub enabled: bool,
    /// Passes over everything.
    pub passes: u64,
    /// Rounds that condemned something.
    pub rounds: u64,
    /// Blobs condemned.
    pub condemned: u64,
    /// Blobs spared because somebody came to need them meanwhile.
    pub spared: u64,
    /// Copies deleted.
    pub copies: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Rounds that could not be ended at once.
    pub failed: u64,
}

/// The answer to a request to collect garbage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collected {
    /// Was a pass begun? Otherwise it was only looked at what one would take.
    pub started: bool,
    /// Blobs that nobody needs.
    pub blobs: u64,
    /// Their bytes, one copy of each.
    pub bytes: u64,
    /// Copies of them on all nodes that are up.
    pub copies: u64,
    /// The bytes of all those copies.
    pub copies_bytes: u64,
}
