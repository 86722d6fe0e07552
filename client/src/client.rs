//! The client, as its users see it.

use std::{fmt, sync::Arc};

use atoll_core::{
    replication::preferred,
    view::{Epoch, MemberState, NodeId, View},
};
use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{
    Digest, Reference, RepoName, Tag,
    auth::Scope,
    blob::Blob,
    builder::ClientBuilder,
    engine::Engine,
    error::{LocalFailure, PullError, PushError, RequestError, ViewError},
    exchange::Sending,
    listing::Referrer,
    manifest::{Descriptor, Manifest},
    perform::{Ask, AskError},
    placement::Aim,
    pull::{Job, Progress},
    push::{PushJob, Pushed, Watched, push_error},
    seed::Seed,
    source::BlobSource,
    stats::Stats,
};

/// A client of one registry: an Atoll cluster, or any other that speaks the distribution API.
///
/// Cheap to clone; clones share connections, the view, tokens and counters. Nothing happens before
/// the first request.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use atoll_client::{Client, Seed};
///
/// let client = Client::builder(vec!["127.0.0.1:5000".parse::<Seed>()?]).build()?;
/// let manifest = client.manifest(&"team/app".parse()?, &"1.0".parse()?, &[]).await?;
/// println!("{} has {} bytes", manifest.descriptor.digest, manifest.bytes.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) engine: Arc<Engine>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.registry())
    }
}

/// A member of the cluster, as the view names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// Its zone.
    pub zone: String,
    /// What it is doing.
    pub state: MemberState,
}

/// Who has to do with a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The view that this follows from.
    pub epoch: Epoch,
    /// The owners that take writes and answer for it now, the master first.
    pub owners: Vec<Node>,
    /// Where its copies belong when every node is up, the master first.
    pub placement: Vec<Node>,
    /// The owner that everybody reads from first.
    pub preferred: Option<Node>,
}

impl Client {
    /// Begins a client that starts from these addresses.
    pub fn builder(seeds: Vec<Seed>) -> ClientBuilder {
        ClientBuilder::new(seeds)
    }

    /// The registry's name, as credentials are looked up by: the first seed's `host:port`.
    pub fn registry(&self) -> &str {
        self.engine.authorizer.registry()
    }

    /// The view in use. `None` before the first request, and for a registry that is no Atoll.
    pub fn view(&self) -> Option<Arc<View>> {
        self.engine.directory.view()
    }

    /// Looks at the view now.
    ///
    /// # Errors
    /// Nobody answers, or what they answer is no view. A registry that knows no view is no error.
    pub async fn refresh(&self) -> Result<(), ViewError> {
        self.engine.refresh().await
    }

    /// The acting owners of a digest, the master first; empty without a view.
    pub fn owners(&self, digest: &Digest) -> Vec<Node> {
        self.whereabouts(digest).map(|place| place.owners).unwrap_or_default()
    }

    /// Who has to do with a digest; `None` without a view.
    pub fn whereabouts(&self, digest: &Digest) -> Option<Whereabouts> {
        let view = self.view()?;
        let nodes = |ids: Vec<NodeId>| ids.into_iter().filter_map(|id| node(&view, id)).collect();
        Some(Whereabouts {
            epoch: view.epoch,
            owners: nodes(view.acting(digest)),
            placement: nodes(view.placement(digest)),
            preferred: preferred(&view, digest).and_then(|id| node(&view, id)),
        })
    }

    /// The members of the cluster; empty without a view.
    pub fn nodes(&self) -> Vec<Node> {
        let Some(view) = self.view() else { return Vec::new() };
        view.members.keys().filter_map(|id| node(&view, *id)).collect()
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        self.engine.wires.counters.snapshot()
    }

    /// Does a registry answer here, and does it let the caller in?
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), RequestError> {
        let what = format!("reaching {}", self.registry());
        let sending = Sending::get("/v2/".to_owned());
        let ask = Ask::new(what, Aim::Name(String::new()), Scope::base(), sending);
        let mut answer = asked(self.engine.perform(&ask).await)?;
        let _ = answer.detail().await;
        Ok(())
    }

    /// What a reference names now. `accept` lists media types; empty means [`crate::MANIFEST_TYPES`].
    ///
    /// # Errors
    /// It does not exist, or nobody answers.
    pub async fn resolve(
        &self,
        repo: &RepoName,
        reference: &Reference,
        accept: &[&str],
    ) -> Result<Descriptor, PullError> {
        self.engine.resolve(repo, reference, accept).await
    }

    /// A manifest, verified. `accept` as for [`Self::resolve`].
    ///
    /// # Errors
    /// It does not exist, nobody answers, or nobody sends bytes that match the digest.
    pub async fn manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        accept: &[&str],
    ) -> Result<Manifest, PullError> {
        self.engine.manifest(repo, reference, accept).await
    }

    /// A blob, whole and verified. Its length spares a question, and bounds what is accepted.
    ///
    /// # Errors
    /// It does not exist, nobody answers, nobody sends bytes that match the digest, or this machine
    /// has no room for it.
    pub async fn blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<Blob, PullError> {
        self.engine.fetch_blob(Job::new(repo.clone(), *digest, size, None)).await
    }

    /// As [`Self::blob`], and tells how much has come.
    ///
    /// # Errors
    /// As [`Self::blob`].
    pub async fn blob_with_progress(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: Option<u64>,
        progress: Progress,
    ) -> Result<Blob, PullError> {
        self.engine.fetch_blob(Job::new(repo.clone(), *digest, size, Some(progress))).await
    }

    /// Writes a blob, once it is verified, to `sink`. Answers its length.
    ///
    /// # Errors
    /// As [`Self::blob`], or `sink` fails.
    pub async fn blob_to(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: Option<u64>,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
        progress: Option<Progress>,
    ) -> Result<u64, PullError> {
        let job = Job::new(repo.clone(), *digest, size, progress);
        let blob = self.engine.fetch_blob(job).await?;
        let mut reader = blob.into_async_read();
        let copied = tokio::io::copy(&mut reader, sink).await;
        let flushed = match copied {
            Ok(bytes) => sink.flush().await.map(|()| bytes),
            Err(error) => Err(error),
        };
        flushed.map_err(|cause| {
            let doing = format!("writing `{repo}@{digest}`");
            PullError::Local(Box::new(LocalFailure { doing, cause }))
        })
    }

    /// Is the blob in the repository?
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn has_blob(&self, repo: &RepoName, digest: &Digest) -> Result<bool, RequestError> {
        Ok(self.stat_blob(repo, digest).await?.is_some())
    }

    /// The length of a blob, if it is in the repository.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn stat_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Option<u64>, RequestError> {
        self.engine.stat_blob(repo, digest, Scope::pull(repo)).await
    }

    /// Pushes a blob, unless the repository has it. `size` is its exact length.
    ///
    /// # Errors
    /// It cannot be read, the registry refuses it, or nobody acknowledges it.
    pub async fn push_blob(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: u64,
        source: impl BlobSource + 'static,
    ) -> Result<Pushed, PushError> {
        self.push(repo, digest, size, Arc::new(source)).await
    }

    /// As [`Self::push_blob`], and tells how much has gone.
    ///
    /// # Errors
    /// As [`Self::push_blob`].
    pub async fn push_blob_with_progress(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: u64,
        source: impl BlobSource + 'static,
        progress: Progress,
    ) -> Result<Pushed, PushError> {
        let watched = Watched { inner: Arc::new(source), progress };
        self.push(repo, digest, size, Arc::new(watched)).await
    }

    async fn push(
        &self,
        repo: &RepoName,
        digest: &Digest,
        size: u64,
        source: Arc<dyn BlobSource>,
    ) -> Result<Pushed, PushError> {
        let job = PushJob { repo: repo.clone(), digest: *digest, size, source };
        self.engine.send_blob(&job).await
    }

    /// Makes a blob of the repository `from` one of `repo` too, without sending it. `false` when the
    /// registry would rather have it sent.
    ///
    /// # Errors
    /// The registry refuses, or nobody answers.
    pub async fn mount(
        &self,
        repo: &RepoName,
        digest: &Digest,
        from: &RepoName,
    ) -> Result<bool, RequestError> {
        let path = format!("/v2/{repo}/blobs/uploads/?mount={digest}&from={from}");
        let what = format!("mounting `{digest}` from `{from}` in `{repo}`");
        let scope = Scope::mount(repo, from);
        let sending = Sending::of(Method::POST, path);
        let answer =
            self.engine.perform(&Ask::new(what, Aim::Write(*digest), scope, sending)).await;
        let answer = asked(answer)?;
        Ok(answer.status == http::StatusCode::CREATED)
    }

    /// Pushes a manifest by tag or digest. Answers its digest.
    ///
    /// # Errors
    /// The registry refuses it, or nobody acknowledges it.
    pub async fn push_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, PushError> {
        self.engine.put_manifest(repo, reference, media_type, bytes).await
    }

    /// Deletes a manifest and every tag that names it.
    ///
    /// # Errors
    /// It does not exist, the registry refuses, or nobody answers.
    pub async fn delete_manifest(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<(), RequestError> {
        self.engine.delete_manifest(repo, &Reference::Digest(*digest)).await
    }

    /// Deletes a tag; the manifest stays.
    ///
    /// # Errors
    /// As [`Self::delete_manifest`].
    pub async fn delete_tag(&self, repo: &RepoName, tag: &Tag) -> Result<(), RequestError> {
        self.engine.delete_manifest(repo, &Reference::Tag(tag.clone())).await
    }

    /// Takes a blob out of a repository.
    ///
    /// # Errors
    /// As [`Self::delete_manifest`].
    pub async fn delete_blob(&self, repo: &RepoName, digest: &Digest) -> Result<(), RequestError> {
        let what = format!("deleting `{repo}@{digest}`");
        self.engine.delete(repo, format!("/v2/{repo}/blobs/{digest}"), what).await
    }

    /// All tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// The repository does not exist, or nobody answers.
    pub async fn tags(&self, repo: &RepoName) -> Result<Vec<Tag>, RequestError> {
        self.engine.tags(repo).await
    }

    /// All repositories.
    ///
    /// # Errors
    /// The registry does not list them, or nobody answers.
    pub async fn catalog(&self) -> Result<Vec<RepoName>, RequestError> {
        self.engine.catalog().await
    }

    /// What refers to a manifest: signatures, bills of materials; all, or those of one type.
    ///
    /// # Errors
    /// The registry does not list them, or nobody answers.
    pub async fn referrers(
        &self,
        repo: &RepoName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, RequestError> {
        self.engine.referrers(repo, digest, artifact_type).await
    }
}

fn node(view: &View, id: NodeId) -> Option<Node> {
    let member = view.members.get(&id)?;
    Some(Node {
        id,
        name: member.name.clone(),
        address: member.http.clone(),
        zone: member.zone.clone(),
        state: member.state,
    })
}

/// Nothing of these requests is read from here, so only the request itself can fail.
fn asked<T>(outcome: Result<T, AskError>) -> Result<T, RequestError> {
    outcome.map_err(|error| match push_error(error) {
        PushError::Request(error) => error,
        PushError::Source(failure) => RequestError::Strange(Box::new(crate::StrangeAnswer {
            what: failure.doing.clone(),
            node: "this machine".to_owned(),
            received: failure.cause.to_string(),
            expected: "no body to read".to_owned(),
        })),
    })
}
