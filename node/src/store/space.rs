//! How full the disk is, and whether uploads may begin.
//!
//! The disk is asked by those who are on it anyway (every batch, every commit, the reaper); who
//! must not touch it, such as a request that only opens a session, reads the last answer.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::io::{Disk, Sometimes, disk::Space};

use super::error::NoSpace;

/// The last known room on the disk.
#[derive(Debug)]
pub(crate) struct SpaceGauge {
    reserve_percent: u8,
    total: AtomicU64,
    available: AtomicU64,
}

impl SpaceGauge {
    pub(crate) fn new(reserve_percent: u8) -> SpaceGauge {
        let unknown = u64::MAX;
        SpaceGauge {
            reserve_percent,
            total: AtomicU64::new(unknown),
            available: AtomicU64::new(unknown),
        }
    }

    /// Asks the disk. One cheap system call; a failure keeps the last answer.
    pub(crate) fn refresh(&self, disk: &dyn Disk) -> io::Result<()> {
        let Space { total, available } = disk.space()?;
        self.total.store(total, Ordering::Relaxed);
        self.available.store(available, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn last(&self) -> Space {
        Space {
            total: self.total.load(Ordering::Relaxed),
            available: self.available.load(Ordering::Relaxed),
        }
    }

    /// May a new upload begin? Those under way go on into the reserve: they are bounded, and to
    /// stop them would waste what they wrote.
    pub(crate) fn check(&self) -> Result<(), NoSpace> {
        let Space { total, available } = self.last();
        let reserve = u128::from(total) * u128::from(self.reserve_percent) / 100;
        if u128::from(available) < reserve {
            Sometimes::DiskFull.reached();
            return Err(NoSpace);
        }
        Ok(())
    }
}
