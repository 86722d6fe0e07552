//! The seams: the only doors to time, randomness, disk and network.
//!
//! Each has a real side and a simulated side, and both pass one suite ([`conformance`]). Nothing above
//! this module names the operating system; `clippy.toml` lists the calls that would go around it.

pub mod clock;
#[doc(hidden)]
pub mod conformance;
pub mod disk;
pub mod entropy;
pub mod net;
pub mod plant;
pub mod rt;
pub mod sometimes;
pub mod workers;

use std::{io, path::Path, sync::Arc, time::Duration};

pub use clock::Clock;
pub use disk::Disk;
pub use entropy::Entropy;
pub use sometimes::Sometimes;

/// The seams of one node, handed down from the top.
#[derive(Clone, Debug)]
pub struct Io {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The data folder.
    pub disk: Arc<dyn Disk>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Io {
    /// The machine's own clock, randomness, and the folder `data_dir`, which this process then owns.
    ///
    /// # Errors
    /// Those of [`disk::real::RealDisk::open`].
    pub fn real(data_dir: &Path) -> io::Result<Io> {
        Ok(Io {
            clock: Arc::new(clock::RealClock::new()),
            disk: Arc::new(disk::real::RealDisk::open(data_dir)?),
            entropy: Arc::new(entropy::OsEntropy),
        })
    }

    /// Runs a sequence of disk operations away from the reactor and answers its result.
    ///
    /// In simulation the caller then waits as long as the simulated disk says they took.
    ///
    /// # Panics
    /// Passes on a panic of `operations`.
    pub async fn disk_op<T, F>(&self, operations: F) -> T
    where
        F: FnOnce(&Arc<dyn Disk>) -> T + Send + 'static,
        T: Send + 'static,
    {
        let disk = Arc::clone(&self.disk);
        let (value, stall) = rt::blocking(move || {
            let value = operations(&disk);
            (value, disk.take_stall())
        })
        .await;
        if stall > Duration::ZERO {
            tokio::time::sleep(stall).await;
        }
        value
    }
}
