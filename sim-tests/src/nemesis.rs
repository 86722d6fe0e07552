//! What goes wrong: faults drawn from the seed.
//!
//! [`Nemesis`] does one fault to one machine and ends it. In a cluster a [`squad`] of them is at work at
//! the same time, and the [`atlas`] knows how much may be broken at once. A machine that is alone has
//! one copy of everything, so only faults that it promises to survive are drawn: a lying disk is not
//! among them, and rot meets blobs, whose bytes are checked, not the database.

pub mod atlas;
mod fault;
pub mod links;
pub mod operator;
pub mod squad;

use std::{path::PathBuf, time::Duration};

use atoll_core::Digest;
use atoll_node::io::{
    disk::sim::{AfterSyncError, CrashPoint, Faults, Loss},
    net::partition,
};

pub use self::fault::Fault;
use self::links::Links;
use crate::{cluster::Machine, draw::Draw, history::Book, trace, workload::push::short};

/// How long a node may take to be ready again.
pub const READY: Duration = Duration::from_secs(60);

/// Bytes that a disk writes at once.
const SECTOR: u64 = 512;

/// Where blobs are, and where they are made.
const BLOBS: &str = "blobs";
const UPLOADS: &str = "uploads";

/// Milliseconds by which a link is slower than usual: mostly by nothing, seldom by more than a voter
/// may take to answer.
const SLOWER: [u64; 10] = [0, 0, 0, 0, 0, 0, 30, 100, 200, 600];

/// How long a node may take to stop in order: its drain deadline and a little.
const STOP: Duration = Duration::from_secs(60);

/// The one who does it.
pub struct Nemesis {
    /// Whom it does it to.
    pub machine: Machine,
    /// The rest of its cluster.
    pub others: Vec<Machine>,
    /// Milliseconds for which a dead machine stays dead, at most.
    pub away_millis: u64,
    /// Where damage is written down.
    pub book: Book,
    /// What it draws from.
    pub draw: Draw,
}

impl Nemesis {
    /// Does one fault and ends it.
    ///
    /// # Errors
    /// When the node did not come back.
    pub async fn strike(&mut self, fault: Fault) -> Result<(), String> {
        trace::note("nemesis", format_args!("{fault} {}", self.machine.name()));
        self.book.lock().count(&format!("fault {fault:?}"));
        match fault {
            Fault::Kill => {
                self.machine.kill().await;
                self.come_back().await?;
            }
            Fault::Stop => {
                self.machine.stop(STOP).await?;
                self.machine.kill().await;
                self.come_back().await?;
            }
            Fault::PowerCut => self.cut().await?,
            Fault::CrashAtOperation => self.crash_at_operation().await?,
            Fault::IoErrors => self.io_errors().await?,
            Fault::SyncErrors => {
                self.fail_syncs().await;
                self.cut().await?;
            }
            Fault::FailedSync => {
                self.fail_syncs().await;
                self.machine.kill().await;
                self.come_back().await?;
            }
            Fault::Full => self.full().await?,
            Fault::Rot => self.damage(false),
            Fault::Misdirected => self.damage(true),
            Fault::LyingSync => self.lie().await?,
            Fault::ReadRot => self.rot_on_read().await,
            Fault::Slow => self.slow().await,
            Fault::Pause => {
                self.machine.pause();
                self.wait(100..4_000).await;
                self.machine.resume();
            }
            Fault::CutLink => {
                let links = self.cut_off();
                self.wait(100..20_000).await;
                links.heal();
            }
            Fault::Lossy => self.lossy().await,
            Fault::SlowLinks => self.slow_links().await,
            Fault::ClockJump => {
                let (hours, ppm) = (self.draw.within(0..48), self.draw.within(0..100_000));
                self.machine.jump_clock(hours as i64 - 24, ppm as i64 - 50_000);
            }
            Fault::LeaderKill
            | Fault::Partition
            | Fault::RollingRestart
            | Fault::Join
            | Fault::Drain
            | Fault::Replace => {
                return Err(format!("{fault} is no fault of a single machine"));
            }
        }
        trace::note("nemesis", format_args!("{fault} {} ended", self.machine.name()));
        Ok(())
    }

    async fn wait(&mut self, millis: std::ops::Range<u64>) {
        let pause = self.draw.millis(millis);
        tokio::time::sleep(pause).await;
    }

    async fn come_back(&mut self) -> Result<(), String> {
        self.wait(0..self.away_millis).await;
        self.machine.restart();
        self.machine.wait_ready(READY).await
    }

    /// Of its users, its peers, or both.
    fn cut_off(&mut self) -> Links {
        let directions = *self.draw.pick(&[(true, true), (true, false), (false, true)]);
        let (of_users, of_peers) = match self.others.is_empty() {
            true => (true, false),
            false => *self.draw.pick(&[(true, true), (false, true), (false, true)]),
        };
        let mut links = Links::default();
        if of_users {
            links.cut(madsim::plugin::node(), self.machine.id(), directions);
        }
        for other in self.others.iter().filter(|_| of_peers) {
            links.cut(other.id(), self.machine.id(), directions);
        }
        links
    }

    /// The power goes now.
    async fn cut(&mut self) -> Result<(), String> {
        let loss = *self.draw.pick(&Loss::ALL);
        trace::note("nemesis", format_args!("power cut: {loss:?}"));
        self.machine.power_cut(loss).await;
        self.come_back().await
    }

    async fn crash_at_operation(&mut self) -> Result<(), String> {
        let at = self.machine.device.operation_count() + self.draw.within(0..40);
        let point = *self.draw.pick(&[CrashPoint::Before, CrashPoint::After]);
        self.machine.device.crash_at(at, point);
        for _ in 0..100 {
            if self.machine.device.operation_count() > at {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.cut().await
    }

    /// A disk that failed may have stopped the metadata for good: the operator restarts the node.
    async fn io_errors(&mut self) -> Result<(), String> {
        let (reads, writes) = (self.draw.chance(0.5), self.draw.chance(0.7));
        self.machine.device.set_faults(|faults| {
            faults.read_error = if reads { 0.03 } else { 0.0 };
            faults.write_error = if writes { 0.05 } else { 0.0 };
        });
        self.wait(100..1_500).await;
        self.machine
            .device
            .set_faults(|faults| (faults.read_error, faults.write_error) = (0.0, 0.0));
        self.machine.kill().await;
        self.come_back().await
    }

    /// After a failed sync the page cache may show what the platter does not hold, to a new process
    /// too; only a reboot shows the truth.
    async fn fail_syncs(&mut self) {
        let after = *self.draw.pick(&[AfterSyncError::KeepPages, AfterSyncError::DropPages]);
        self.machine.device.set_faults(|faults| {
            (faults.sync_error, faults.after_sync_error) = (0.1, after);
        });
        self.wait(100..1_500).await;
        self.machine.device.set_faults(|faults| faults.sync_error = 0.0);
    }

    async fn full(&mut self) -> Result<(), String> {
        let whole = Faults::default().capacity;
        let room = self.draw.within(0..300_000);
        let used = self.used();
        self.machine.device.set_faults(|faults| faults.capacity = used + room);
        self.wait(200..2_000).await;
        self.machine.device.set_faults(|faults| faults.capacity = whole);
        // A full disk may have stopped the metadata.
        self.machine.kill().await;
        self.come_back().await
    }

    /// Bytes on the disk.
    fn used(&self) -> u64 {
        let space = self.machine.device.mount().space();
        space.map_or(0, |space| space.total - space.available)
    }

    /// One bit of one blob flips, or a sector of it is another's. An only copy is lost then, and must
    /// be missed, not served; where there are others, they are served.
    fn damage(&mut self, is_sector: bool) {
        let digests: Vec<Digest> = self.book.lock().contents.keys().copied().collect();
        if digests.is_empty() {
            return;
        }
        let digest = *self.draw.pick(&digests);
        let hex = digest.hex();
        let path = PathBuf::from(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        let Ok(len) = self.machine.device.mount().file_len(&path) else { return };
        let (offset, bit) = (self.draw.within(0..len), self.draw.within(0..8) as u8);
        let range = match is_sector {
            true => offset / SECTOR * SECTOR..(offset / SECTOR + 1) * SECTOR,
            false => offset..offset + 1,
        };
        for at in range.clone() {
            // Past the end there is nothing to change.
            let _ = self.machine.device.rot(&path, at, bit);
        }
        match self.others.is_empty() {
            true => self.book.lock().damaged.insert(digest),
            false => self.book.lock().rotten.insert((self.machine.number, digest)),
        };
        let text = format!("bit {bit} of bytes {range:?} of {}", short(&digest));
        trace::note("nemesis", format_args!("{text} at {}", self.machine.name()));
    }

    /// Blobs were said to have names, until the power went.
    async fn lie(&mut self) -> Result<(), String> {
        self.machine.device.set_faults(|faults| {
            (faults.lying_sync, faults.frail) = (0.5, Some(BLOBS.into()));
        });
        self.wait(200..8_000).await;
        let loss = *self.draw.pick(&Loss::ALL);
        trace::note("nemesis", format_args!("power cut: {loss:?}"));
        self.machine.power_cut(loss).await;
        self.machine.device.set_faults(|faults| (faults.lying_sync, faults.frail) = (0.0, None));
        self.come_back().await
    }

    async fn rot_on_read(&mut self) {
        // Where blobs are made: their files keep the place in mind when they get their names.
        self.machine.device.set_faults(|faults| {
            (faults.read_rot, faults.frail) = (0.1, Some(UPLOADS.into()));
        });
        self.wait(200..6_000).await;
        self.machine.device.set_faults(|faults| (faults.read_rot, faults.frail) = (0.0, None));
    }

    async fn slow_links(&mut self) {
        let machines: Vec<Machine> =
            std::iter::once(&self.machine).chain(&self.others).cloned().collect();
        links::slow_at_random(&machines, &SLOWER, &mut self.draw);
        self.wait(1_000..20_000).await;
        partition::quicken_all();
    }

    async fn lossy(&mut self) {
        let net = madsim::net::NetSim::current();
        let mut usual = None;
        net.update_config(|config| {
            usual = Some(config.clone());
            config.packet_loss_rate = 0.1;
            config.send_latency = Duration::from_millis(1)..Duration::from_millis(60);
        });
        self.wait(200..4_000).await;
        net.update_config(|config| *config = usual.unwrap_or_default());
    }

    async fn slow(&mut self) {
        self.machine.device.set_faults(|faults| {
            faults.latency = Duration::from_millis(1)..=Duration::from_millis(15);
            faults.stall = 0.02;
            faults.stall_time = Duration::from_millis(800);
        });
        self.wait(200..3_000).await;
        self.machine.device.set_faults(|faults| {
            faults.latency = Duration::ZERO..=Duration::ZERO;
            faults.stall = 0.0;
        });
    }
}
