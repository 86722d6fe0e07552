//! The sizes of a random run: all of them drawn from the seed and printed first.

use crate::{cluster::Tuning, draw::Draw, nemesis::Fault};

/// Every size of a run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The node's own sizes.
    pub tuning: Tuning,
    /// Users at a time.
    pub users: u64,
    /// Steps of each user.
    pub steps: u64,
    /// Repositories.
    pub repos: Vec<String>,
    /// Tags in each repository.
    pub tags: Vec<String>,
    /// The classes of faults that are on.
    pub faults: Vec<Fault>,
    /// How often one of them strikes.
    pub strikes: u64,
    /// Longest pause between two steps of a user.
    pub think_millis: u64,
    /// Longest blob.
    pub blob_bytes_max: u64,
    /// Is an upload over when the node that holds it is down? So a cluster says.
    pub uploads_end: bool,
    /// Are blobs collected that no manifest needs?
    pub collects: bool,
    /// Do streams read and write less than they are asked to?
    pub short_io: bool,
}

impl Swarm {
    /// Draws them.
    pub fn draw(draw: &mut Draw) -> Swarm {
        let names = |prefix: &str, count| (0..count).map(|n| format!("{prefix}{n}")).collect();
        Swarm {
            tuning: Tuning {
                snapshot_interval: draw.within(4..60),
                batch_bytes: *draw.pick(&[16 << 10, 64 << 10, 1 << 20]),
                object_bytes_max: *draw.pick(&[0, 64 << 10, 1 << 20]),
            },
            users: draw.within(1..5),
            steps: draw.within(10..40),
            repos: names("repo", draw.within(1..3)),
            tags: names("t", draw.within(1..4)),
            faults: Fault::ALL.into_iter().filter(|_| draw.chance(0.4)).collect(),
            strikes: draw.within(1..6),
            think_millis: draw.within(5..150),
            blob_bytes_max: *draw.pick(&[5_000, 80_000, 400_000]),
            uploads_end: false,
            collects: false,
            short_io: draw.chance(0.2),
        }
    }

    /// Does an upload outlast everything that may happen? Not a disk that fails or is full: then
    /// its file is given up.
    pub fn keeps_uploads(&self) -> bool {
        use Fault::{FailedSync, Full, IoErrors, SyncErrors};
        let ends_uploads = |fault| matches!(fault, IoErrors | SyncErrors | FailedSync | Full);
        !self.uploads_end && !self.faults.iter().copied().any(ends_uploads)
    }
}
