//! The way of blobs from a registry: several at a time, each verified before anybody gets it.

use atoll_client::{
    Blob, Client, Content, Kind, Manifest, Platform, Platforms, Reference, RepoName,
    format::{Descriptor, Graph, Walk},
};

use super::failure::Failure;

/// Blobs that are on their way at a time. Large ones come in parallel ranges besides.
pub const AT_A_TIME: usize = 4;

/// The image behind a reference, with everything that it leads to.
pub async fn graph(
    client: &Client,
    repo: &RepoName,
    reference: &Reference,
    platform: Option<Platform>,
) -> Result<Graph, Failure> {
    let root = client.manifest(repo, reference, &[]).await?;
    let described = &root.descriptor;
    let descriptor = Descriptor::new(&described.media_type, described.digest, described.size);
    let mut walk = Walk::new(descriptor, platform);
    walk.found(root.bytes.to_vec())?;
    while let Some(wanted) = walk.wanted() {
        let reference = Reference::Digest(wanted.digest);
        let types = [wanted.media_type.as_str()];
        let bytes = client.manifest(repo, &reference, &types).await?.bytes;
        walk.found(bytes.to_vec())?;
    }
    Ok(walk.finish()?)
}

/// The manifest behind a reference; with a platform the one for it, where there is a choice.
pub async fn manifest(
    client: &Client,
    repo: &RepoName,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Manifest, Failure> {
    let manifest = client.manifest(repo, reference, &[]).await?;
    let content = manifest.content().map_err(atoll_client::CopyError::from)?;
    let (Some(platform), Content::Index { manifests }) = (platform, content) else {
        return Ok(manifest);
    };
    let child = Platforms::choose(platform, &manifests).map_err(atoll_client::CopyError::from)?;
    let reference = Reference::Digest(child.descriptor.digest);
    Ok(client.manifest(repo, &reference, &[]).await?)
}

/// A blob; `None` for one that the registry lacks and need not have.
pub async fn fetch(
    client: &Client,
    repo: &RepoName,
    blob: &Descriptor,
    progress: atoll_client::Progress,
) -> Result<Option<Blob>, Failure> {
    let fetched = client.blob_with_progress(repo, &blob.digest, Some(blob.size), progress).await;
    match fetched {
        Err(error) if error.kind() == Kind::NotFound && blob.may_be_missing() => Ok(None),
        fetched => Ok(Some(fetched?)),
    }
}

/// Runs a piece of work on another thread of the runtime: hashing and writing one blob must not hold
/// up the others.
pub async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Failure::failed(format!("a task broke off: {error}"))))
}
