//! An image that is pushed: what it is made of, and where its bytes are.

use std::{
    io::{self, Read},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use atoll_client::{
    BlobSource, Opened, Platform, VerifiedReader,
    format::{Descriptor, DockerArchive, FormatError, Graph, Image, Layout, Piece, Tree},
};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    containerd, docker,
    failure::Failure,
    place::{Format, SourcePlace, Stored},
    scratch::Scratch,
};

/// How much is read and thrown away at a time, to go on in the middle.
const SKIP_BYTES: usize = 1 << 20;

/// An image outside a registry.
pub struct Source {
    /// What it is made of.
    pub graph: Graph,
    content: Arc<Content>,
}

struct Content {
    kind: Kind,
    /// Kept until the push is over.
    _scratch: Option<Scratch>,
}

enum Kind {
    Layout(Layout),
    Docker(DockerArchive, Image),
}

impl Source {
    /// Finds the image that is meant. Of an index `platform` chooses one.
    pub async fn open(from: &SourcePlace, platform: Option<Platform>) -> Result<Source, Failure> {
        match from {
            SourcePlace::Stored(Stored { format, path, name }) => {
                let name = name.as_deref();
                Source::read(*format, path, name, platform, None)
            }
            SourcePlace::Docker(name) => {
                let scratch = docker::save(name).await?;
                let path = scratch.path().to_path_buf();
                Source::read(Format::DockerArchive, &path, None, platform, Some(scratch))
            }
            SourcePlace::Containerd { namespace, name } => {
                let scratch = containerd::export(namespace, name)?;
                let path = scratch.path().to_path_buf();
                Source::read(Format::OciArchive, &path, None, platform, Some(scratch))
            }
        }
    }

    fn read(
        format: Format,
        path: &Path,
        name: Option<&str>,
        platform: Option<Platform>,
        scratch: Option<Scratch>,
    ) -> Result<Source, Failure> {
        let tree = Tree::open(path)?;
        let (graph, kind) = match format {
            Format::Oci | Format::OciArchive => {
                let layout = Layout::open(tree)?;
                (layout.image(name, platform)?, Kind::Layout(layout))
            }
            Format::DockerArchive => {
                let archive = DockerArchive::open(tree)?;
                let image = archive.image(archive.find(name)?)?;
                (image.graph(), Kind::Docker(archive, image))
            }
        };
        Ok(Source { graph, content: Arc::new(Content { kind, _scratch: scratch }) })
    }

    /// The content of a blob, to be opened as often as needed; `None` for one that is not here and
    /// need not be.
    pub fn blob(&self, blob: &Descriptor) -> Result<Option<SourceBlob>, Failure> {
        let here = self.content.open(blob)?.is_some();
        match (here, blob.may_be_missing()) {
            (true, _) => Ok(Some(SourceBlob { content: self.content.clone(), blob: blob.clone() })),
            (false, true) => Ok(None),
            (false, false) => Err(FormatError::MissingBlob { digest: blob.digest }.into()),
        }
    }
}

impl Content {
    fn open(&self, blob: &Descriptor) -> Result<Option<VerifiedReader<Piece>>, FormatError> {
        match &self.kind {
            Kind::Layout(layout) => layout.blob(blob),
            Kind::Docker(archive, image) => {
                let found = image.blobs.iter().find(|(known, _)| known.digest == blob.digest);
                found.map(|found| archive.blob(found)).transpose()
            }
        }
    }
}

/// A blob of an image. What is read is judged, so that nothing wrong is sent to its end.
pub struct SourceBlob {
    content: Arc<Content>,
    blob: Descriptor,
}

impl BlobSource for SourceBlob {
    fn open(&self, offset: u64) -> BoxFuture<'_, io::Result<Opened>> {
        Box::pin(async move {
            let opened = self.content.open(&self.blob).map_err(io::Error::other)?;
            let mut reader = opened.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            // The beginning is read all the same: the digest is of the whole.
            let mut left = offset;
            let mut buffer = vec![0; SKIP_BYTES];
            while left > 0 {
                let wanted = left.min(SKIP_BYTES as u64) as usize;
                match reader.read(&mut buffer[..wanted])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => left -= read as u64,
                }
            }
            Ok(Box::pin(Plain(reader)) as Opened)
        })
    }
}

/// A reader of a local file as the runtime wants it. A read of what the system has in memory is
/// shorter than handing it to another thread.
struct Plain(VerifiedReader<Piece>);

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}
