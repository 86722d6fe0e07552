//! `atoll pull`.

use std::sync::Arc;

use atoll_client::{
    Client, ImageRef, Platform, Reference,
    format::{ArchiveKind, Descriptor, Graph, LayoutFolder, Member, REF_NAME, members},
};
use futures_util::{StreamExt as _, TryStreamExt as _, pin_mut, stream};
use serde::Serialize;

use super::{
    arguments::{Choice, Pull},
    blobs::{AT_A_TIME, apart, fetch, graph},
    failure::Failure,
    outlet::Outlet,
    place::{Format, Place, Stored},
    progress::Progress,
};
use crate::{cli::Output, human, print_text};

/// What was done, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Pulled {
    image: String,
    digest: String,
    media_type: String,
    to: String,
    blobs: u64,
    blobs_present: u64,
    bytes: u64,
    bytes_fetched: u64,
}

/// Blobs that did not have to be fetched.
#[derive(Clone, Copy, Debug, Default)]
struct Spared {
    blobs: u64,
    bytes: u64,
}

pub async fn run(call: Pull) -> Result<(), Failure> {
    let image = call.connection.image(&call.image)?;
    let client = call.connection.client(image.registry())?;
    let platform = platform(&call.choice, &call.to);
    let graph = graph(&client, image.repo(), &image.reference(), platform).await?;
    let image = with_tag(image);
    let total = graph.blob_bytes();
    let progress = Progress::new(call.printing, total);
    let spared = match &call.to {
        Place::Stored(Stored { format: Format::Oci, path, name }) => {
            let folder = LayoutFolder::create(path)?;
            let spared = into_folder(&client, &image, &graph, &folder, &progress).await?;
            let name = name.clone().or_else(|| image.tag().map(ToString::to_string));
            name_in(&folder, &graph, name)?;
            spared
        }
        to => {
            into_archive(&client, &image, &graph, to, &progress).await?;
            Spared::default()
        }
    };
    drop(progress);
    let pulled = Pulled {
        image: image.to_string(),
        digest: graph.root.digest.to_string(),
        media_type: graph.root.media_type.clone(),
        to: call.to.to_string(),
        blobs: graph.blobs.len() as u64,
        blobs_present: spared.blobs,
        bytes: total,
        bytes_fetched: total - spared.bytes,
    };
    match (call.printing.output, call.printing.quiet) {
        (Output::Json, _) => print_text(&(json(&pulled) + "\n")),
        (Output::Table, true) => print_text(&format!("{}\n", pulled.digest)),
        (Output::Table, false) => print_text(&format!(
            "{}@{}  {} in {} blobs, {} fetched  {}\n",
            image_name(&image),
            pulled.digest,
            human::bytes(pulled.bytes),
            pulled.blobs,
            human::bytes(pulled.bytes_fetched),
            pulled.to,
        )),
    }
}

/// A value as pretty JSON.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what is printed is made of texts and numbers")
}

/// A layout takes all platforms, everything else the one that runs here, unless it was said.
fn platform(choice: &Choice, to: &Place) -> Option<Platform> {
    let is_layout =
        matches!(to, Place::Stored(Stored { format: Format::Oci | Format::OciArchive, .. }));
    match &choice.platform {
        Some(platform) => Some(platform.clone()),
        None if choice.all || is_layout => None,
        None => Some(Platform::host()),
    }
}

/// An image that was asked for without a tag and without a digest is called `latest`.
fn with_tag(image: ImageRef) -> ImageRef {
    match image.reference() {
        Reference::Tag(tag) if image.tag().is_none() => {
            format!("{image}:{tag}").parse().unwrap_or(image)
        }
        _ => image,
    }
}

fn image_name(image: &ImageRef) -> String {
    let name = format!("{}/{}", image.registry(), image.repo());
    image.tag().map_or(name.clone(), |tag| format!("{name}:{tag}"))
}

fn name_in(folder: &LayoutFolder, graph: &Graph, name: Option<String>) -> Result<(), Failure> {
    let mut root = graph.root.clone();
    if let Some(name) = name {
        root.annotations.insert(REF_NAME.to_owned(), name);
    }
    Ok(folder.name(root)?)
}

/// Blobs in any order, then the documents, each after those it leads to.
async fn into_folder(
    client: &Client,
    image: &ImageRef,
    graph: &Graph,
    folder: &LayoutFolder,
    progress: &Progress,
) -> Result<Spared, Failure> {
    let work = graph.blobs.iter().cloned().map(|blob| {
        let (client, repo) = (client.clone(), image.repo().clone());
        let (folder, progress) = (folder.clone(), progress.clone());
        apart(async move {
            let item = progress.begin(&blob.digest, blob.size);
            if folder.holds(&blob.digest, blob.size) {
                item.done("is there");
                return Ok(Spared { blobs: 1, bytes: blob.size });
            }
            let Some(content) = fetch(&client, &repo, &blob, item.watcher()).await? else {
                item.done("is kept elsewhere");
                return Ok(Spared { blobs: 1, bytes: blob.size });
            };
            let mut file = folder.begin(&blob.digest, blob.size)?;
            let pieces = content.into_stream();
            pin_mut!(pieces);
            while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
                file.write(&piece)?;
            }
            file.finish()?;
            item.done("pulled");
            Ok(Spared::default())
        })
    });
    let mut work = stream::iter(work).buffer_unordered(AT_A_TIME);
    let mut spared = Spared::default();
    while let Some(one) = work.try_next().await? {
        spared.blobs += one.blobs;
        spared.bytes += one.bytes;
    }
    for (descriptor, bytes) in graph.documents.iter().rev() {
        folder.put(&descriptor.digest, bytes)?;
    }
    Ok(spared)
}

/// One file after the other, while the next blobs are fetched.
async fn into_archive(
    client: &Client,
    image: &ImageRef,
    graph: &Graph,
    to: &Place,
    progress: &Progress,
) -> Result<(), Failure> {
    let kind = match to {
        Place::Docker | Place::Stored(Stored { format: Format::DockerArchive, .. }) => {
            ArchiveKind::Docker
        }
        Place::Containerd { .. } | Place::Stored(_) => ArchiveKind::Oci,
    };
    let name = match to {
        Place::Stored(Stored { name: Some(name), .. }) => Some(name.as_str()),
        _ => None,
    };
    let members = members(kind, graph, image, name)?;
    let mut outlet = Outlet::open(to).await?;
    let client = Arc::new(client.clone());
    let work = members.into_iter().map(|member| {
        let (client, repo, progress) = (client.clone(), image.repo().clone(), progress.clone());
        apart(async move {
            match member {
                Member::Document(path, bytes) => Ok((path, Part::Document(bytes))),
                Member::Blob(path, blob) => {
                    let item = progress.begin(&blob.digest, blob.size);
                    let content = fetch(&client, &repo, &blob, item.watcher()).await?;
                    let content = content.ok_or_else(|| missing(&blob))?;
                    item.done("pulled");
                    Ok((path, Part::Blob(content)))
                }
            }
        })
    });
    let mut work = stream::iter(work).buffered(AT_A_TIME);
    while let Some((path, part)) = work.try_next().await? {
        match part {
            Part::Document(bytes) => {
                outlet.file(&path, bytes.len() as u64, stream::iter([Ok(bytes.into())])).await?
            }
            Part::Blob(content) => {
                let size = content.len();
                outlet.file(&path, size, content.into_stream()).await?;
            }
        }
    }
    outlet.close().await
}

enum Part {
    Document(Vec<u8>),
    Blob(atoll_client::Blob),
}

fn missing(blob: &Descriptor) -> Failure {
    Failure::failed(format!(
        "the layer `{}` is kept outside registries and cannot go into an archive; pull into oci:DIR, \
         where it may be missing",
        blob.digest
    ))
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot read what was fetched: {error}"))
}
