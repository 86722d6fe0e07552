//! One Atoll node: the shell around `atoll-core`.
//!
//! Arrows point down only (held by `tests/tidy.rs`):
//!
//! ```text
//! app                                            composition: configuration in, running node out
//! http · rpc · admin                             surfaces
//! registry · auth                                the registry's operations and who may ask for them
//! tiers                                          memory cache over the store
//! store · metadata                               blobs on disk; tags, manifests and links in Raft
//! io · config · telemetry                        seams to the world; settings; logs and metrics
//! atoll-core                                     everything that needs no IO
//! ```

pub mod admin;
pub mod app;
pub mod auth;
pub mod config;
pub mod http;
pub mod io;
pub mod metadata;
pub mod registry;
pub mod rpc;
pub mod store;
pub mod telemetry;
pub mod tiers;
