//! Where an archive goes while it is made: a file, the docker daemon, or containerd.

use std::{io, path::Path};

use atoll_client::format::{ArchiveFile, END, header, padding};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, pin_mut};

use super::{
    containerd::Import,
    docker::Load,
    failure::Failure,
    place::{Place, Stored},
};

/// An archive that is being written.
pub struct Outlet(Kind);

enum Kind {
    File(ArchiveFile),
    Docker(Load),
    Containerd(Import),
}

impl Outlet {
    /// Opens the way to a place.
    pub async fn open(place: &Place) -> Result<Outlet, Failure> {
        Ok(Outlet(match place {
            Place::Stored(Stored { path, .. }) => Kind::File(file(path)?),
            Place::Docker => Kind::Docker(Load::begin().await?),
            Place::Containerd { namespace } => Kind::Containerd(Import::begin(namespace)?),
        }))
    }

    /// Adds a file.
    pub async fn file(
        &mut self,
        path: &str,
        size: u64,
        content: impl Stream<Item = io::Result<Bytes>>,
    ) -> Result<(), Failure> {
        self.write(header(path, size).into()).await?;
        pin_mut!(content);
        let unreadable = |error| Failure::failed(format!("cannot read what was fetched: {error}"));
        while let Some(piece) = content.try_next().await.map_err(unreadable)? {
            self.write(piece).await?;
        }
        self.write(Bytes::from_static(padding(size))).await
    }

    /// Ends the archive. Before that nobody sees anything of it.
    pub async fn close(mut self) -> Result<(), Failure> {
        self.write(Bytes::from_static(&END)).await?;
        match self.0 {
            Kind::File(file) => Ok(file.publish()?),
            Kind::Docker(load) => load.end().await,
            Kind::Containerd(import) => import.end(),
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        match &mut self.0 {
            Kind::File(file) => Ok(file.write(&bytes)?),
            Kind::Docker(load) => load.write(bytes).await,
            Kind::Containerd(import) => import.write(&bytes),
        }
    }
}

fn file(path: &Path) -> Result<ArchiveFile, Failure> {
    Ok(ArchiveFile::create(path)?)
}
