//! What must be true of a cluster, one promise a file.
//!
//! Some are watched all the time ([`views`], [`errors`], [`sessions`]), some are asked when all faults are over
//! ([`copies`],
//! [`bounds`], [`tasks`]). What clients may see is judged by [`crate::history`] and
//! [`crate::oracle`]; [`collected`] tells these what collecting may take away.

pub mod bounds;
pub mod collected;
pub mod copies;
pub mod errors;
pub mod sessions;
pub mod tasks;
pub mod views;
