//! `atoll push`.

use std::sync::Arc;

use atoll_client::{Client, ImageRef, Pushed, Reference};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    arguments::Push,
    blobs::{AT_A_TIME, apart},
    failure::Failure,
    progress::Progress,
    pull::json,
    source::Source,
};
use crate::{cli::Output, human, print_text};

/// What was done, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    digest: String,
    media_type: String,
    from: String,
    blobs: u64,
    blobs_present: u64,
    bytes: u64,
    bytes_sent: u64,
}

pub async fn run(call: Push) -> Result<(), Failure> {
    let image = call.connection.image(&call.image)?;
    let client = call.connection.client(image.registry())?;
    let source = Arc::new(Source::open(&call.from, call.choice.platform.clone()).await?);
    let root = &source.graph.root;
    if let Some(wanted) = image.digest()
        && *wanted != root.digest
    {
        return Err(Failure::usage(format!(
            "`{image}` says which digest is meant, but the image at {} has `{}`",
            call.from, root.digest
        )));
    }
    let progress = Progress::new(call.printing, source.graph.blob_bytes());
    let (present, sent) = send_blobs(&client, &image, &source, &progress).await?;
    send_documents(&client, &image, &source).await?;
    drop(progress);
    let report = Report {
        image: image.to_string(),
        digest: root.digest.to_string(),
        media_type: root.media_type.clone(),
        from: call.from.to_string(),
        blobs: source.graph.blobs.len() as u64,
        blobs_present: present,
        bytes: source.graph.blob_bytes(),
        bytes_sent: sent,
    };
    match (call.printing.output, call.printing.quiet) {
        (Output::Json, _) => print_text(&(json(&report) + "\n")),
        (Output::Table, true) => print_text(&format!("{}\n", report.digest)),
        (Output::Table, false) => print_text(&format!(
            "{}/{}@{}  {} in {} blobs, {} sent\n",
            image.registry(),
            image.repo(),
            report.digest,
            human::bytes(report.bytes),
            report.blobs,
            human::bytes(report.bytes_sent),
        )),
    }
}

/// Sends what the registry lacks; answers how many blobs it had, and how many bytes went.
async fn send_blobs(
    client: &Client,
    image: &ImageRef,
    source: &Arc<Source>,
    progress: &Progress,
) -> Result<(u64, u64), Failure> {
    let work = source.graph.blobs.iter().cloned().map(|blob| {
        let (client, repo) = (client.clone(), image.repo().clone());
        let (source, progress) = (source.clone(), progress.clone());
        apart(async move {
            let item = progress.begin(&blob.digest, blob.size);
            let Some(content) = source.blob(&blob)? else {
                item.done("is kept elsewhere");
                return Ok((1, 0));
            };
            let watcher = item.watcher();
            let (digest, size) = (&blob.digest, blob.size);
            let pushed =
                client.push_blob_with_progress(&repo, digest, size, content, watcher).await?;
            Ok(match pushed {
                Pushed::Stored => {
                    item.done("pushed");
                    (0, size)
                }
                Pushed::Existed => {
                    item.done("is there");
                    (1, 0)
                }
            })
        })
    });
    let mut work = stream::iter(work).buffer_unordered(AT_A_TIME);
    let (mut present, mut sent) = (0, 0);
    while let Some((one_present, one_sent)) = work.try_next().await? {
        present += one_present;
        sent += one_sent;
    }
    Ok((present, sent))
}

/// Each manifest after those it leads to; the last one gets the name.
async fn send_documents(client: &Client, image: &ImageRef, source: &Source) -> Result<(), Failure> {
    for (descriptor, bytes) in source.graph.documents.iter().rev() {
        let is_root = descriptor.digest == source.graph.root.digest;
        // A name with a tag and a digest means that the tag is to lead to that digest.
        let reference = match image.tag() {
            _ if !is_root => Reference::Digest(descriptor.digest),
            Some(tag) => Reference::Tag(tag.clone()),
            None => image.reference(),
        };
        let bytes = Bytes::copy_from_slice(bytes);
        client.push_manifest(image.repo(), &reference, &descriptor.media_type, bytes).await?;
    }
    Ok(())
}
