//! Where a push takes its bytes from. A source can be opened more than once, from any offset: only so
//! can a push that broke be taken up again.

use std::{io, path::PathBuf, pin::Pin};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::AsyncRead;

use crate::blob::{Blob, BlobReader};

/// An opened source.
pub type Opened = Pin<Box<dyn AsyncRead + Send>>;

/// Content that can be read as often as needed.
pub trait BlobSource: Send + Sync {
    /// Opens the content from byte `offset` on.
    ///
    /// # Errors
    /// Those of the operating system.
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>>;
}

impl BlobSource for Bytes {
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>> {
        let blob = Blob::from_memory(self.clone());
        Box::pin(async move { Ok(Box::pin(BlobReader::new(blob, offset)) as Opened) })
    }
}

impl BlobSource for Blob {
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>> {
        let blob = self.clone();
        Box::pin(async move { Ok(Box::pin(BlobReader::new(blob, offset)) as Opened) })
    }
}

/// A file of this machine. Nobody may change it while it is pushed; if somebody does, the digest is
/// wrong and the registry says so.
#[derive(Clone, Debug)]
pub struct FileSource(pub PathBuf);

impl BlobSource for FileSource {
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>> {
        let path = self.0.clone();
        Box::pin(async move {
            let blob = Blob::from_file(&path).await?;
            Ok(Box::pin(BlobReader::new(blob, offset)) as Opened)
        })
    }
}
