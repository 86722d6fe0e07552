//! The replica-aware client of Atoll.
//!
//! A client keeps a copy of the cluster's view and places with the core's own code, so it goes to
//! the node that has what it wants, in one hop: pushes to the master, pulls from the replica that
//! everybody prefers. When a node dies, hangs, breaks off or sends something else, the client goes
//! on elsewhere at the same byte, and its caller never notices. Every byte is verified before it is
//! handed on. It speaks the distribution API and nothing else: against another registry it is an
//! ordinary client.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use atoll_client::{Client, ImageRef, Seed};
//!
//! let image: ImageRef = "127.0.0.1:5000/team/app:1.0".parse()?;
//! let client = Client::builder(vec![Seed::Node(image.registry().to_string())]).build()?;
//! let manifest = client.manifest(image.repo(), &image.reference(), &[]).await?;
//! for blob in manifest.blobs()? {
//!     let layer = client.blob(image.repo(), &blob.digest, Some(blob.size)).await?;
//!     assert_eq!(layer.len(), blob.size);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Names, tags and digests are the core's own types, so a client and a node can never disagree on
//! what is valid. For content from elsewhere there are [`Verifier`] and [`VerifiedReader`]:
//!
//! ```
//! use std::io::Read as _;
//! use atoll_client::{Algorithm, Digest, ImageRef, Reference, VerifiedReader};
//!
//! let image: ImageRef = "127.0.0.1:5000/team/app:1.0".parse()?;
//! assert_eq!(image.repo().as_str(), "team/app");
//! assert!(matches!(image.reference(), Reference::Tag(tag) if tag.as_str() == "1.0"));
//!
//! let answer: &[u8] = b"layer";
//! let asked = Digest::of(Algorithm::Sha256, b"layer");
//! let mut layer = Vec::new();
//! VerifiedReader::new(answer, asked, 5).read_to_end(&mut layer)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

#[cfg(not(madsim))]
pub mod agent;
mod auth;
mod blob;
mod budget;
mod builder;
mod client;
mod clock;
mod copy;
mod directory;
pub mod docker_config;
mod document;
mod endpoint;
mod engine;
mod entropy;
mod error;
mod exchange;
pub mod format;
mod image_ref;
mod latency;
mod limits;
mod listing;
mod local_files;
mod manifest;
mod net;
mod oci_error;
mod perform;
mod placement;
mod platform;
mod pull;
mod push;
mod seed;
mod source;
mod spool;
mod stats;
mod verify;
mod view_json;

pub use atoll_core::{Algorithm, Digest, Reference, RepoName, Tag, digest, name};
pub use auth::{Anonymous, Credential, Credentials, StaticCredential};
pub use blob::{Blob, BlobReader};
pub use builder::ClientBuilder;
pub use client::{Client, Node, Whereabouts};
pub use copy::{Copied, Place, Platforms, copy};
pub use document::{Child, Content};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::{
    Attempt, BuildError, CopyError, Denied, Kind, LocalFailure, NoSuchPlatform, NoTrueCopy,
    NotFound, PullError, PushError, Refused, RequestError, StrangeAnswer, Unavailable, ViewError,
};
pub use image_ref::{ImageRef, InvalidImageRef, InvalidRegistryHost, RegistryHost};
pub use limits::Limits;
pub use listing::Referrer;
pub use manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MANIFEST_TYPES, Manifest, OCI_INDEX, OCI_MANIFEST,
};
pub use net::{
    tls::TlsSettings,
    transport::{TcpTransport, Transport, Wire},
};
pub use placement::ReadPolicy;
pub use platform::{InvalidPlatform, Platform};
pub use pull::Progress;
pub use push::Pushed;
pub use seed::Seed;
pub use source::{BlobSource, FileSource, Opened};
pub use spool::{DirSpool, MemorySpool, Spool, SpoolFile};
pub use stats::Stats;
pub use verify::{ContentError, DigestMismatch, TooLong, TooShort, VerifiedReader, Verifier};
pub use view_json::InvalidViewDocument;
