//! Reading every copy again, so that rot is found while other copies are good.
//!
//! In the order of their places, paced so that one round takes the interval; a round that started
//! anew with every restart would never get to the end, so the place it has come to is kept on the
//! disk. A bad copy is set aside by the store and fetched again at once.

use std::{io, path::Path, sync::atomic::Ordering::Relaxed, time::Duration};

use atoll_core::Digest;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    holdings::{Copy, Fetched, HoldingsError, Page},
    repair::Parts,
};
use crate::io::{Disk, Io};

/// Where the round has come to: a digest, as text.
const CURSOR: &str = "scrub-cursor";
const CURSOR_NEW: &str = "scrub-cursor.new";
/// Longer than any digest.
const CURSOR_BYTES_MAX: usize = 256;

/// Copies between two notes of the place.
const COPIES_PER_NOTE: usize = 256;

/// Pause until the copies are listed again, after a start or a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Pause after a round that met nothing.
const REST: Duration = Duration::from_secs(60);

/// Shortest and longest pause between two copies: a small store is not read in a tight loop, and a
/// round always gets on.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The worker.
#[derive(Clone, Debug)]
pub struct Scrub {
    parts: Parts,
    io: Io,
    interval: Duration,
}

impl Scrub {
    /// A worker that reads everything once in `interval`.
    pub fn new(parts: Parts, io: Io, interval: Duration) -> Scrub {
        Scrub { parts, io, interval }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut after = self.io.disk_op(|disk| read_cursor(disk.as_ref())).await;
        let mut since_note = 0;
        loop {
            let page = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                page = self.page(after) => page,
            };
            let pause = self.pause();
            for copy in &page.copies {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                self.check(*copy).await;
                after = Some(copy.digest);
                since_note += 1;
                if since_note >= COPIES_PER_NOTE {
                    since_note = 0;
                    self.note(after).await;
                }
            }
            if !page.more {
                // A round that had copies took the interval; an empty store is not listed all the time.
                let mut rest = REST.min(self.interval);
                if after.is_some() {
                    info!("scrub round ended");
                    rest = pause;
                }
                after = None;
                self.note(None).await;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
    }

    /// So long that a round over what is here takes the interval.
    fn pause(&self) -> Duration {
        let copies = self.parts.holdings.count().unwrap_or(0).max(1);
        (self.interval / u32::try_from(copies).unwrap_or(u32::MAX)).clamp(PAUSE_MIN, PAUSE_MAX)
    }

    async fn page(&self, after: Option<Digest>) -> Page {
        loop {
            match self.parts.holdings.page([0; 32], [0xff; 32], after).await {
                Ok(page) => return page,
                Err(HoldingsError::Counting) => {}
                Err(error) => warn!(%error, "scrub cannot list the copies of this node"),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn check(&self, copy: Copy) {
        let (parts, digest) = (&self.parts, copy.digest);
        parts.throttle.take(copy.size).await;
        match parts.copies.verify(digest).await {
            Ok(true) => {
                parts.status.scrubbed.fetch_add(1, Relaxed);
                parts.status.scrubbed_bytes.fetch_add(copy.size, Relaxed);
            }
            Ok(false) => {
                parts.status.scrubbed.fetch_add(1, Relaxed);
                parts.status.scrub_found_bad.fetch_add(1, Relaxed);
                let healed = parts.copies.fetch(digest, None).await;
                let healed = matches!(healed, Fetched::Here(_));
                warn!(%digest, healed, "scrub found a bad copy");
            }
            Err(error) => warn!(%digest, error, "scrub cannot read a copy"),
        }
    }

    async fn note(&self, after: Option<Digest>) {
        let noted = self.io.disk_op(move |disk| write_cursor(disk.as_ref(), after)).await;
        if let Err(error) = noted {
            warn!(%error, "the place of the scrub round cannot be kept");
        }
    }
}

fn read_cursor(disk: &dyn Disk) -> Option<Digest> {
    let file = disk.open_read(Path::new(CURSOR)).ok()?;
    let mut text = [0; CURSOR_BYTES_MAX];
    let read = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..read]).ok()?.trim_end().parse().ok()
}

/// Not synced before it is renamed: a cursor that is lost costs a round begun anew.
fn write_cursor(disk: &dyn Disk, after: Option<Digest>) -> io::Result<()> {
    let Some(after) = after else {
        return match disk.unlink(Path::new(CURSOR)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    match disk.unlink(Path::new(CURSOR_NEW)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(Path::new(CURSOR_NEW))?;
    file.write_at(format!("{after}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(Path::new(CURSOR_NEW), Path::new(CURSOR))
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;

    use super::*;
    use crate::io::disk::sim::{Faults, SimDisk};

    #[test]
    fn the_cursor_is_kept_and_a_damaged_one_begins_a_new_round() {
        let device = SimDisk::new(1, Faults::default());
        let disk = device.mount();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        assert_eq!(read_cursor(disk.as_ref()), None);
        write_cursor(disk.as_ref(), Some(digest)).unwrap();
        write_cursor(disk.as_ref(), Some(digest)).unwrap();
        assert_eq!(read_cursor(disk.as_ref()), Some(digest));
        write_cursor(disk.as_ref(), None).unwrap();
        write_cursor(disk.as_ref(), None).unwrap();
        assert_eq!(read_cursor(disk.as_ref()), None);
        let file = disk.create_new(Path::new(CURSOR)).unwrap();
        file.write_at(b"sha256:nonsense", 0).unwrap();
        assert_eq!(read_cursor(disk.as_ref()), None);
    }
}
