//! Pushes a file as an artifact of one layer: `push FILE 127.0.0.1:5000/team/notes:1.0`.

#![allow(clippy::disallowed_methods, reason = "an example reads the disk as it likes")]

use std::{error::Error, path::PathBuf};

use atoll_client::{Algorithm, Client, Digest, FileSource, ImageRef, OCI_MANIFEST, Seed};
use bytes::Bytes;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("usage: push FILE HOST:PORT/NAME[:TAG]".into());
    };
    let (file, image): (PathBuf, ImageRef) = (file.into(), image.parse()?);
    let client = Client::builder(vec![Seed::Node(image.registry().to_string())]).build()?;

    // A large file would be hashed piece by piece with `Digest`'s hasher.
    let content = std::fs::read(&file)?;
    let layer = Digest::of(Algorithm::Sha256, &content);
    let size = content.len() as u64;
    let pushed = client.push_blob(image.repo(), &layer, size, FileSource(file)).await?;
    println!("{layer} {size} bytes: {pushed:?}");

    let config = Bytes::from_static(b"{}");
    let empty = Digest::of(Algorithm::Sha256, &config);
    client.push_blob(image.repo(), &empty, 2, config).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/octet-stream",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": "application/octet-stream", "digest": layer, "size": size}],
    });
    let bytes = Bytes::from(manifest.to_string());
    let reference = image.reference();
    let digest = client.push_manifest(image.repo(), &reference, OCI_MANIFEST, bytes).await?;
    println!("{image} is {digest}");
    Ok(())
}
