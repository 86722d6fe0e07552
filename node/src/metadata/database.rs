//! redb databases on the [`Disk`] seam, created whole or not at all.
//!
//! redb can recover from a power cut at any commit, but a file whose very first header was torn is
//! not a database. So a new one is built beside its name, made durable, and then renamed.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use redb::{Builder, Database};

use super::error::StoreError;
use crate::io::{
    Disk,
    disk::{
        redb_backend::{DiskBackend, sync_name},
        unlink_if_there,
    },
    rt::blocking,
};

/// Opens the database at `path`; creates it with what `found` writes when there is none.
pub(super) fn open_or_create(
    disk: &Arc<dyn Disk>,
    path: &Path,
    cache_bytes: usize,
    found: impl FnOnce(&Database) -> Result<(), StoreError>,
) -> Result<Database, StoreError> {
    let fresh = path.with_extension("redb.new");
    unlink_if_there(disk.as_ref(), &fresh)?;
    match disk.file_len(path) {
        Ok(_) => return open(disk, path, path, cache_bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let database = open(disk, &fresh, path, cache_bytes)?;
    found(&database)?;
    put_in_place(disk.as_ref(), &fresh, path)?;
    Ok(database)
}

/// Opens, or creates without any protection, the database at `path`, which is or will be called `name`.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    path: &Path,
    name: &Path,
    cache_bytes: usize,
) -> Result<Database, StoreError> {
    let backend = DiskBackend::open_to_become(disk, path, name)?;
    Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?)
}

/// Gives a database that is durable under `fresh` its real name, durably. It stays open meanwhile:
/// handles follow the file, not the name.
pub(super) fn put_in_place(disk: &dyn Disk, fresh: &Path, path: &Path) -> Result<(), StoreError> {
    disk.rename(fresh, path)?;
    Ok(sync_name(disk, path)?)
}

/// A database in use by many, which one of them may replace or close.
#[derive(Debug)]
pub(super) struct SharedDatabase(RwLock<Option<Arc<Database>>>);

/// How often, and with what pause, a closing database is looked at until nobody uses it.
const CLOSE_ATTEMPTS: u32 = 200;
const CLOSE_PAUSE: Duration = Duration::from_millis(5);

impl SharedDatabase {
    pub(super) fn new(database: Database) -> Self {
        Self(RwLock::new(Some(Arc::new(database))))
    }

    /// The database as it is now; `Closed` after [`Self::close`].
    pub(super) fn get(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.0.read().unwrap_or_else(PoisonError::into_inner);
        database.clone().ok_or(StoreError::Closed)
    }

    /// Puts another in its place. Whoever has the old one keeps it.
    pub(super) fn replace(&self, database: Database) {
        let fresh = Some(Arc::new(database));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// Closes the file once nobody uses it any more; the last write of redb, which spares the next
    /// start a repair. Without an end to it, a second opening in the same process would share the
    /// file with the first. Answers whether it is closed.
    pub(super) async fn close(&self) -> bool {
        let taken = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut shared) = taken else { return true };
        for _ in 0..CLOSE_ATTEMPTS {
            match Arc::try_unwrap(shared) {
                Ok(database) => {
                    blocking(move || drop(database)).await;
                    return true;
                }
                Err(still_used) => shared = still_used,
            }
            tokio::time::sleep(CLOSE_PAUSE).await;
        }
        false
    }
}
