//! Copying an image from one registry to another: children before parents, blobs before manifests,
//! bytes exactly as they are, so that every digest and signature stays good.

use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use crate::{
    Digest, Reference, RepoName,
    client::Client,
    document::{Child, Content},
    error::{CopyError, NoSuchPlatform},
    manifest::{Descriptor, Manifest},
    platform::Platform,
    push::Pushed,
};

/// The deepest nesting of indexes that is followed.
const DEPTH_MAX: usize = 8;

/// An image in a registry.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The registry.
    pub client: &'a Client,
    /// The repository.
    pub repo: &'a RepoName,
    /// Which image of it.
    pub reference: &'a Reference,
}

/// Which of the images behind an index are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// All, and the index itself.
    #[default]
    All,
    /// One: its manifest takes the place of the index.
    One(Platform),
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The digest of what the target reference names now.
    pub digest: Option<Digest>,
    /// Manifests pushed.
    pub manifests: u64,
    /// Blobs that were sent.
    pub blobs: u64,
    /// Blobs that were there, or mounted.
    pub blobs_present: u64,
    /// Bytes of the blobs that were sent.
    pub bytes: u64,
}

/// Copies an image.
///
/// # Errors
/// It cannot be read, it cannot be written, or it has no such platform.
pub async fn copy(
    from: Place<'_>,
    to: Place<'_>,
    platforms: &Platforms,
) -> Result<Copied, CopyError> {
    let mut manifest = from.client.manifest(from.repo, from.reference, &[]).await?;
    if let (Platforms::One(wanted), Content::Index { manifests }) = (platforms, manifest.content()?)
    {
        let child = choose(wanted, &manifests)?;
        let reference = Reference::Digest(child.descriptor.digest);
        manifest = from.client.manifest(from.repo, &reference, &[]).await?;
    }
    let mut copied = Copied::default();
    tree(&from, &to, &manifest, 0, &mut copied).await?;
    let media_type = &manifest.descriptor.media_type;
    let bytes = manifest.bytes.clone();
    let pushed = to.client.push_manifest(to.repo, to.reference, media_type, bytes).await?;
    copied.manifests += 1;
    copied.digest = Some(pushed);
    Ok(copied)
}

impl Platforms {
    /// The child of an index that fits, the first of several.
    ///
    /// # Errors
    /// None does.
    pub fn choose<'a>(
        wanted: &Platform,
        children: &'a [Child],
    ) -> Result<&'a Child, NoSuchPlatform> {
        choose(wanted, children)
    }
}

fn choose<'a>(wanted: &Platform, children: &'a [Child]) -> Result<&'a Child, NoSuchPlatform> {
    let fits = |child: &&Child| child.platform.as_ref().is_some_and(|one| wanted.accepts(one));
    children.iter().find(fits).ok_or_else(|| {
        let named = children.iter().filter_map(|child| child.platform.as_ref());
        let present = named.map(ToString::to_string).collect();
        NoSuchPlatform { wanted: wanted.to_string(), present }
    })
}

/// Everything below a manifest.
fn tree<'a>(
    from: &'a Place<'_>,
    to: &'a Place<'_>,
    manifest: &'a Manifest,
    depth: usize,
    copied: &'a mut Copied,
) -> BoxFuture<'a, Result<(), CopyError>> {
    Box::pin(async move {
        let Content::Index { manifests } = manifest.content()? else {
            return blobs(from, to, manifest, copied).await;
        };
        if depth == DEPTH_MAX {
            let reason = format!("indexes are nested more than {DEPTH_MAX} deep");
            return Err(atoll_core::manifest::ManifestError::Json { reason }.into());
        }
        for child in manifests {
            let reference = Reference::Digest(child.descriptor.digest);
            let child = from.client.manifest(from.repo, &reference, &[]).await?;
            tree(from, to, &child, depth + 1, copied).await?;
            let media_type = &child.descriptor.media_type;
            to.client.push_manifest(to.repo, &reference, media_type, child.bytes.clone()).await?;
            copied.manifests += 1;
        }
        Ok(())
    })
}

async fn blobs(
    from: &Place<'_>,
    to: &Place<'_>,
    manifest: &Manifest,
    copied: &mut Copied,
) -> Result<(), CopyError> {
    let all = manifest.blobs()?;
    let at_a_time = to.client.engine.limits().copies_in_flight;
    let copies = stream::iter(all).map(|one| async move {
        let sent = blob(from, to, &one).await?;
        Ok::<_, CopyError>((sent, one.size))
    });
    let mut copies = copies.buffer_unordered(at_a_time);
    while let Some((sent, size)) = copies.try_next().await? {
        if sent {
            copied.blobs += 1;
            copied.bytes += size;
        } else {
            copied.blobs_present += 1;
        }
    }
    Ok(())
}

/// Was it sent?
async fn blob(from: &Place<'_>, to: &Place<'_>, one: &Descriptor) -> Result<bool, CopyError> {
    let present = to.client.has_blob(to.repo, &one.digest).await;
    if present.map_err(crate::PushError::from)? {
        return Ok(false);
    }
    if from.client.registry() == to.client.registry() && from.repo != to.repo {
        let mounted = to.client.mount(to.repo, &one.digest, from.repo).await;
        // Whoever may not mount may still push.
        if mounted.unwrap_or(false) {
            return Ok(false);
        }
    }
    let content = from.client.blob(from.repo, &one.digest, Some(one.size)).await?;
    let pushed = to.client.push_blob(to.repo, &one.digest, one.size, content).await?;
    Ok(pushed == Pushed::Stored)
}
