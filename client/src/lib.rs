//! What a client of Atoll shares with its nodes.
//!
//! Names, tags and digests are the core's own types, so a client and a node can never disagree on
//! what is valid. On top of them stand the two things that every pull needs before a byte crosses
//! the network: knowing what is asked for ([`ImageRef`]), and knowing that what came is that
//! ([`Verifier`], [`VerifiedReader`]). There is no network in this crate yet.
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
mod image_ref;
mod verify;

pub use atoll_core::{Algorithm, Digest, Reference, RepoName, Tag, digest, name};
pub use image_ref::{ImageRef, InvalidImageRef, InvalidRegistryHost, RegistryHost};
pub use verify::{ContentError, DigestMismatch, TooLong, TooShort, VerifiedReader, Verifier};
