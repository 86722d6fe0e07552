//! The parts of a node, as the admin API asks for them.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, OnceLock},
    time::Duration,
};

use atoll_core::{
    Digest, Reference, RepoName,
    admin::{
        Collected, Collection, Coordination, Disk, JoinToken, NodeReport, ObjectKind,
        Repair as RepairReport, Scrub, Synchronisation,
    },
    view::NodeId,
};
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::upkeep::Workers;
use crate::{
    admin::{
        AdminError, Operator, TreeLedger,
        pieces::{Part, Pieces},
    },
    background::{
        gc::Gc,
        status::{Phase, RepairStatus},
    },
    cluster::{
        SessionSlot,
        ca::Authorities,
        token::{self, Token},
        znodes,
    },
    coordination::Session,
    http::Api,
    io::{Io, rt::blocking},
    metadata::{COORDINATION, Metadata},
    registry::{ErrorCode, FoundManifest},
    replicate::{Holding, Peer, Replicator},
    telemetry::process::VERSION,
    wire::tls::Fingerprint,
};

/// Where the cluster's CA lies.
const CA: &str = "/atoll/ca";

/// Uses of a join token.
const TOKEN_USES: u32 = 1;

/// The parts.
#[derive(Clone, Debug)]
pub struct Operating {
    /// Time and randomness.
    pub io: Io,
    /// Its session in group 0.
    pub session: SessionSlot,
    /// The Raft groups.
    pub metadata: Metadata,
    /// The public API, and through it the registry's operations.
    pub api: Arc<Api>,
    /// Copies here and elsewhere.
    pub blobs: Replicator,
    /// Background work, once it has begun.
    pub workers: Arc<OnceLock<Workers>>,
    /// The monotonic time at which the node started.
    pub started: Duration,
}

/// The handle that answers operators, over these parts.
pub fn operator(parts: Operating) -> Operator {
    let cluster = parts.blobs.cluster().clone();
    let ledger = Arc::new(TreeLedger::new(parts.session.clone()));
    Operator::new(cluster, Arc::new(parts), ledger)
}

impl Pieces for Operating {
    fn coordination(&self) -> Coordination {
        let (Ok(leader), Ok(members)) =
            (self.metadata.leader(COORDINATION), self.metadata.membership(COORDINATION))
        else {
            return Coordination::default();
        };
        // Members of groups are numbered as nodes are.
        let node = |id: &u64| u16::try_from(*id).ok();
        Coordination {
            leader: leader.leader.and_then(|leader| node(&leader.id)),
            term: leader.term,
            voters: members.voters.iter().filter_map(node).collect(),
            learners: members.learners.iter().filter_map(node).collect(),
        }
    }

    fn report(&self) -> BoxFuture<'_, NodeReport> {
        Box::pin(async move {
            let store = self.blobs.tiers().store().clone();
            let (stats, uptime) = (store.stats(), self.io.clock.monotonic());
            let counted = store.inventory_progress().is_complete();
            let blobs = blocking(move || store.inventory_len()).await;
            let (cluster, view) = (self.blobs.cluster(), self.blobs.cluster().view());
            let mut report = NodeReport {
                version: VERSION.to_owned(),
                uptime_seconds: uptime.saturating_sub(self.started).as_secs(),
                epoch: view.epoch.0,
                lease_valid: cluster.lease_is_valid(),
                suspects: cluster.suspects().into_iter().map(|node| node.0).collect(),
                disk: Disk {
                    total_bytes: stats.disk_total_bytes,
                    available_bytes: stats.disk_available_bytes,
                    full: false,
                },
                blobs: blobs.ok().filter(|_| counted),
                ..NodeReport::default()
            };
            if let Some(workers) = self.workers.get() {
                add_workers(&mut report, &workers.status, self.io.clock.monotonic());
                report.collection = Some(collection(&workers.gc));
            }
            report
        })
    }

    fn repair(&self) {
        if let Some(workers) = self.workers.get() {
            workers.repair.kick();
        }
    }

    fn collector(&self) -> Option<NodeId> {
        let leader = self.metadata.leader(0).ok()?.leader?;
        u16::try_from(leader.id).ok().map(NodeId)
    }

    fn collect(&self, dry_run: bool) -> BoxFuture<'_, Result<Collected, AdminError>> {
        Box::pin(async move {
            let gc = &self.workers.get().ok_or(AdminError::Starting)?.gc;
            if !dry_run {
                gc.kick();
                return Ok(Collected { started: true, ..Collected::default() });
            }
            let found = gc.dry_run().await;
            let found = found.map_err(|error| AdminError::Failed(error.to_string()))?;
            Ok(Collected {
                started: false,
                blobs: found.blobs,
                bytes: found.bytes,
                copies: found.copies,
                copies_bytes: found.copies_bytes,
            })
        })
    }

    fn image<'a>(
        &'a self,
        repo: &'a RepoName,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<Part>>, AdminError>> {
        Box::pin(async move {
            match self.api.registry().find_manifest(repo, reference).await {
                Ok(found) => Ok(Some(self.parts(&found).await)),
                Err(error) if error.code == ErrorCode::ManifestUnknown => Ok(None),
                Err(error) => Err(AdminError::Failed(error.to_string())),
            }
        })
    }

    fn have<'a>(&'a self, node: NodeId, digests: &'a [Digest]) -> BoxFuture<'a, Option<Vec<bool>>> {
        Box::pin(async move {
            let is_here = |holding: &Holding| matches!(holding, Holding::Present(_));
            if node == self.blobs.cluster().me() {
                let mut held = Vec::with_capacity(digests.len());
                for digest in digests {
                    held.push(is_here(&self.blobs.holding(digest).await));
                }
                return Some(held);
            }
            let (held, _) = Peer::new(self.blobs.cluster(), node).have(digests).await.ok()?;
            Some(held.iter().map(is_here).collect())
        })
    }

    fn mint(&self, ttl: Duration) -> BoxFuture<'_, Result<JoinToken, AdminError>> {
        Box::pin(async move {
            let unreachable =
                |error: &dyn std::fmt::Display| AdminError::NoCoordination(error.to_string());
            let session =
                self.session.get().ok_or_else(|| unreachable(&"this node has no session"))?;
            let token =
                Token::draw(self.authority(session.as_ref()).await?, self.io.entropy.as_ref());
            let record = token.record(self.io.clock.wall(), ttl, TOKEN_USES);
            let issued = token::issue(session.as_ref(), &token, &record).await;
            issued.map_err(|error| unreachable(&error))?;
            tracing::info!(id = %token.id(), ?ttl, "join token made");
            let view = self.blobs.cluster().view();
            let join =
                view.members.get(&self.blobs.cluster().me()).map(|member| member.grpc.clone());
            Ok(JoinToken {
                token: token.reveal(),
                ttl_seconds: ttl.as_secs(),
                join: join.unwrap_or_default(),
            })
        })
    }
}

impl Operating {
    /// The manifest, then what it refers to. What is a config and what a layer stands in the bytes of
    /// the manifest only; where they cannot be had now, all are blobs.
    async fn parts(&self, found: &FoundManifest) -> Vec<Part> {
        let record = &found.record;
        let part = |kind, digest: &Digest, size_bytes| Part { kind, digest: *digest, size_bytes };
        let mut parts = vec![part(ObjectKind::Manifest, &found.digest, Some(record.size))];
        let bytes = self.api.registry().read_manifest(found).await.ok();
        let described: BTreeMap<Digest, (ObjectKind, Option<u64>)> =
            bytes.map(|bytes| described(&bytes)).unwrap_or_default();
        for digest in &record.blobs {
            let known = described.get(digest).copied();
            let (kind, size) = known.unwrap_or((ObjectKind::Blob, None));
            parts.push(part(kind, digest, size));
        }
        parts.extend(record.children.iter().map(|child| {
            let size = described.get(child).and_then(|(_, size)| *size);
            part(ObjectKind::Manifest, child, size)
        }));
        parts
    }

    /// The CA that a joiner is to look for; `None` where nodes speak plain text.
    async fn authority(&self, session: &dyn Session) -> Result<Option<Fingerprint>, AdminError> {
        if self.blobs.cluster().security().is_plaintext() {
            return Ok(None);
        }
        let failed = |error: &dyn Display| AdminError::Failed(format!("the cluster's CA: {error}"));
        let (data, _) = session.get(CA).await.map_err(|error| failed(&error))?;
        let authorities = znodes::decode::<Authorities>(&data).map_err(|error| failed(&error))?;
        authorities.fingerprint().map(Some).map_err(|error| failed(&error))
    }
}

fn add_workers(report: &mut NodeReport, status: &RepairStatus, now: Duration) {
    let (progress, stats) = (status.progress(now), status.stats());
    report.synchronisation = Synchronisation {
        synced_epoch: progress.synced_epoch,
        active: progress.phase != Phase::Idle,
        sources_done: progress.sources_done,
        sources_total: progress.sources,
        blobs_done: progress.copies_done,
        blobs_total: progress.copies,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes,
        eta_seconds: progress.eta_seconds,
    };
    report.repair = RepairReport {
        under_replicated: stats.missing,
        blobs: stats.copies_fetched,
        bytes: stats.bytes_fetched,
        failed: stats.fetches_failed,
        passes: stats.passes,
    };
    report.scrub = Scrub {
        blobs: stats.scrubbed,
        bytes: stats.scrubbed_bytes,
        damaged: stats.scrub_found_bad,
    };
}

fn collection(gc: &Gc) -> Collection {
    let stats = gc.stats();
    Collection {
        enabled: gc.is_enabled(),
        passes: stats.passes,
        rounds: stats.rounds,
        condemned: stats.condemned,
        spared: stats.spared,
        copies: stats.copies,
        bytes: stats.bytes,
        failed: stats.failed,
    }
}

/// What a manifest says of its descriptors: the one under `config` is the config, those in `layers`
/// and `blobs` are layers, those in `manifests` are manifests.
fn described(manifest: &[u8]) -> BTreeMap<Digest, (ObjectKind, Option<u64>)> {
    let Ok(manifest) = serde_json::from_slice::<Value>(manifest) else { return BTreeMap::new() };
    let list = |key: &str| manifest.get(key).and_then(Value::as_array).into_iter().flatten();
    let config = manifest.get("config").into_iter().map(|it| (ObjectKind::Config, it));
    let layers = list("layers").chain(list("blobs")).map(|it| (ObjectKind::Layer, it));
    let children = list("manifests").map(|it| (ObjectKind::Manifest, it));
    let read = |(kind, descriptor): (ObjectKind, &Value)| {
        let digest = descriptor.get("digest")?.as_str()?.parse().ok()?;
        Some((digest, (kind, descriptor.get("size").and_then(Value::as_u64))))
    };
    config.chain(layers).chain(children).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_tells_config_from_layers() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let manifest = serde_json::json!({
            "config": {"digest": digest("a"), "size": 7},
            "layers": [{"digest": digest("b"), "size": 8}, {"digest": "none"}, 5],
            "manifests": [{"digest": digest("c")}],
        });
        let found = described(manifest.to_string().as_bytes());
        let expected = [
            ("a", ObjectKind::Config, Some(7)),
            ("b", ObjectKind::Layer, Some(8)),
            ("c", ObjectKind::Manifest, None),
        ];
        let expected = expected
            .map(|(digit, kind, size)| (digest(digit).parse().expect("a digest"), (kind, size)));
        assert_eq!(found, expected.into());
        assert!(described(b"not JSON").is_empty());
    }
}
