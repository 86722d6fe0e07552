//! The bytes of a blob that is being written, wherever they lie.

use bytes::Bytes;

use crate::store::{SealedBytes, StoreIo};

/// Bytes that can be read more than once: a chain that failed is followed by another.
#[derive(Clone, Debug)]
pub enum Bytewise {
    /// In memory.
    Memory(Bytes),
    /// In the file of an upload.
    Sealed(SealedBytes),
}

impl Bytewise {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Bytewise::Memory(bytes) => bytes.len() as u64,
            Bytewise::Sealed(bytes) => bytes.size(),
        }
    }

    /// At most `len` bytes from `offset` on; none at the end.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn read(&self, offset: u64, len: usize) -> Result<Bytes, StoreIo> {
        match self {
            Bytewise::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(from..bytes.len().min(from.saturating_add(len))))
            }
            Bytewise::Sealed(bytes) => bytes.read(offset, len).await,
        }
    }
}
