//! Pulls an image into a folder, one file for each blob: `pull 127.0.0.1:5000/team/app:1.0 DIR`.

#![allow(clippy::disallowed_methods, reason = "an example writes to the disk as it likes")]

use std::{error::Error, fs::File, io::Write as _, path::PathBuf, pin::pin};

use atoll_client::{Client, Content, ImageRef, Platform, Platforms, Reference, Seed};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(image), Some(dir)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pull HOST:PORT/NAME[:TAG|@DIGEST] DIR".into());
    };
    let (image, dir): (ImageRef, PathBuf) = (image.parse()?, dir.into());
    let client = Client::builder(vec![Seed::Node(image.registry().to_string())]).build()?;
    let mut manifest = client.manifest(image.repo(), &image.reference(), &[]).await?;
    if let Content::Index { manifests } = manifest.content()? {
        let child = Platforms::choose(&Platform::host(), &manifests)?;
        let reference = Reference::Digest(child.descriptor.digest);
        manifest = client.manifest(image.repo(), &reference, &[]).await?;
    }
    std::fs::write(dir.join("manifest.json"), &manifest.bytes)?;
    for blob in manifest.blobs()? {
        let preferred = client.whereabouts(&blob.digest).and_then(|place| place.preferred);
        let from = preferred.map_or_else(|| "the registry".to_owned(), |node| node.name);
        // All of it is verified before the first piece comes.
        let content = client.blob(image.repo(), &blob.digest, Some(blob.size)).await?;
        let mut file = File::create(dir.join(blob.digest.hex()))?;
        let mut pieces = pin!(content.into_stream());
        while let Some(piece) = pieces.next().await {
            file.write_all(&piece?)?;
        }
        println!("{} {} bytes, preferred at {from}", blob.digest, blob.size);
    }
    Ok(())
}
