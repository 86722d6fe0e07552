//! A blob that is here, whole and verified.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, future::BoxFuture, stream};
use tokio::io::{AsyncRead, ReadBuf};

use crate::spool::{DiskFile, SpoolFile, blocking};

/// Bytes that a stream of a blob hands on at a time.
const PIECE_BYTES: usize = 256 << 10;

/// The content of a blob: all of it is here, and it has the digest that was asked for. Cheap to
/// clone; the last clone that is dropped frees the memory or the disk.
#[derive(Clone)]
pub struct Blob {
    content: Content,
}

#[derive(Clone)]
enum Content {
    Memory(Bytes),
    Spooled { file: Arc<dyn SpoolFile>, len: u64 },
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.as_bytes().is_some() { "memory" } else { "file" };
        write!(f, "Blob({} bytes in {place})", self.len())
    }
}

impl Blob {
    pub(crate) fn from_memory(bytes: Bytes) -> Blob {
        Blob { content: Content::Memory(bytes) }
    }

    pub(crate) fn spooled(file: Arc<dyn SpoolFile>, len: u64) -> Blob {
        Blob { content: Content::Spooled { file, len } }
    }

    /// A file as it is, verified by nobody: for pushes only.
    pub(crate) async fn from_file(path: &Path) -> io::Result<Blob> {
        let path = path.to_owned();
        let (file, len) = blocking(move || DiskFile::open(&path)).await??;
        Ok(Blob::spooled(Arc::new(file), len))
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Spooled { len, .. } => *len,
        }
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The content, if it is in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::Spooled { .. } => None,
        }
    }

    /// Up to `len` bytes from `offset` on; fewer only at the end, none behind it.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let rest = self.len().saturating_sub(offset);
        let want = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(Bytes::new());
        }
        match &self.content {
            Content::Memory(bytes) => {
                let start = offset as usize;
                Ok(bytes.slice(start..start + want))
            }
            Content::Spooled { file, .. } => {
                let file = file.clone();
                blocking(move || read_exact_at(file.as_ref(), offset, want)).await?
            }
        }
    }

    /// The whole content, read without a runtime.
    #[cfg(test)]
    pub(crate) fn read_for_tests(&self) -> Bytes {
        match &self.content {
            Content::Memory(bytes) => bytes.clone(),
            Content::Spooled { file, len } => {
                read_exact_at(file.as_ref(), 0, *len as usize).expect("all of it is there")
            }
        }
    }

    /// The whole content in memory: for blobs that are known to be small.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn into_bytes(self) -> io::Result<Bytes> {
        let len = usize::try_from(self.len()).map_err(io::Error::other)?;
        self.read_at(0, len).await
    }

    /// The content as a stream of pieces.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        self.into_stream_from(0)
    }

    /// As [`Self::into_stream`], from `offset` on.
    pub fn into_stream_from(
        self,
        offset: u64,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self, offset), |(blob, offset)| async move {
            let piece = blob.read_at(offset, PIECE_BYTES).await?;
            let next = offset + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, (blob, next))))
        })
    }

    /// The content as a reader.
    pub fn into_async_read(self) -> BlobReader {
        BlobReader::new(self, 0)
    }
}

fn read_exact_at(file: &dyn SpoolFile, offset: u64, want: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; want];
    let mut filled = 0;
    while filled < want {
        match file.read_at(offset + filled as u64, &mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(buffer.into())
}

/// Reads a blob.
pub struct BlobReader {
    blob: Blob,
    offset: u64,
    ready: Bytes,
    reading: Option<BoxFuture<'static, io::Result<Bytes>>>,
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobReader({:?} at {})", self.blob, self.offset)
    }
}

impl BlobReader {
    pub(crate) fn new(blob: Blob, offset: u64) -> BlobReader {
        BlobReader { blob, offset, ready: Bytes::new(), reading: None }
    }
}

impl AsyncRead for BlobReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready.is_empty() {
            let (blob, offset) = (&this.blob, this.offset);
            let reading = this.reading.get_or_insert_with(|| {
                let blob = blob.clone();
                Box::pin(async move { blob.read_at(offset, PIECE_BYTES).await })
            });
            let read = ready!(reading.as_mut().poll(context));
            this.reading = None;
            this.ready = read?;
            this.offset += this.ready.len() as u64;
        }
        let taken = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready.split_to(taken));
        Poll::Ready(Ok(()))
    }
}
