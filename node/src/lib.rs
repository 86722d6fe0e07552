//! One Atoll node: the shell around `atoll-core`.
//!
//! Arrows point down only (held by `tests/tidy.rs`):
//!
//! ```text
//! app                                            composition: configuration in, running node out
//! http · rpc · admin                             surfaces
//! registry · auth                                the registry's operations and who may ask for them
//! background                                     repair, rebalance, scrub, collection
//! replicate                                      copies on other nodes: chain writes, fail-over reads
//! tiers                                          memory cache over the store
//! cluster                                        the view, the lease, the ways to the peers
//! coordination                                   sessions, znodes, watches: group 0
//! store · metadata · wire                        blobs on disk; Raft groups; gRPC's own transport
//! io · config · telemetry                        seams to the world; settings; logs and metrics
//! atoll-core                                     everything that needs no IO
//! ```

pub mod admin;
pub mod app;
pub mod auth;
pub mod background;
pub mod cluster;
pub mod config;
pub mod coordination;
pub mod http;
pub mod io;
pub mod metadata;
pub mod registry;
pub mod replicate;
pub mod rpc;
pub mod store;
pub mod telemetry;
pub mod tiers;
pub mod wire;
