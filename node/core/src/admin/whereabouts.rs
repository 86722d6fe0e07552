//! Where the parts of an image are.

use serde::{Deserialize, Serialize};

/// `GET /v1/where`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Whereabouts {
    /// What was asked for.
    pub target: String,
    /// Epoch of the view that the owners are of.
    pub epoch: u64,
    /// Copies that each object should have.
    pub replicas: u8,
    /// Every object: a manifest, then what it refers to.
    pub objects: Vec<Object>,
    /// What could not be looked into, such as more objects than one answer holds.
    pub notes: Vec<String>,
}

/// One blob or manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Its digest.
    pub digest: String,
    /// Its size, where it is known.
    pub size_bytes: Option<u64>,
    /// Its owners in order, the master first, and after them others that may hold a copy.
    pub copies: Vec<Copy>,
}

impl Object {
    /// Owners that were asked and do have a copy.
    pub fn present(&self) -> usize {
        let owners = self.copies.iter().filter(|copy| copy.owner);
        owners.filter(|copy| copy.state == CopyState::Present).count()
    }
}

/// What an object is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// The bytes of a manifest.
    Manifest,
    /// The configuration of an image.
    Config,
    /// A layer.
    Layer,
    /// A blob, not known to be more.
    #[default]
    #[serde(other)]
    Blob,
}

/// One node's copy of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Copy {
    /// Which node.
    pub node: u16,
    /// Does it own the object in the present view?
    pub owner: bool,
    /// What it said.
    pub state: CopyState,
}

/// What a node said about its copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// It has a durable copy.
    Present,
    /// It has none.
    Absent,
    /// It did not answer.
    #[default]
    #[serde(other)]
    Unknown,
}
