//! The routes of the public API: which repository and which thing in it a request path means.
//!
//! A repository name may have any number of components, and a component may be called `blobs`,
//! `manifests` or `tags`. So the path is read from its right end: the last two or three segments
//! say what is asked for, and everything before them is the name. That reading is never ambiguous,
//! because a valid tail has a fixed number of segments.
//!
//! The path is read raw, as it stood on the request line. Nothing is percent-decoded, so no second
//! spelling of a name exists that an access rule could miss; the one exception is the colon of a
//! digest (`%3A`), which some clients escape. A table of patterns in a router would need one entry
//! per depth, and would decode the path first.

mod upload_id;

use std::{borrow::Cow, fmt};

pub use self::upload_id::{InvalidUploadId, UploadId};
use crate::{
    digest::{Digest, InvalidDigest, echo},
    name::{InvalidReference, InvalidRepoName, InvalidTag, Reference, RepoName},
};

/// What a request path means. `Display` writes the canonical path, which parses back to the same
/// route and is what a `Location` or a `Link` carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/` or `/v2`: does a registry live here, and how does one log in? (end-1)
    Base,
    /// `/v2/_catalog`: the repositories.
    Catalog,
    /// `/v2/registries`: the addresses of the live members.
    Registries,
    /// `/v2/_atoll/view`: the cluster view.
    View,
    /// `/v2/_oci/ext/discover`: the extensions on offer (distribution-spec, "Extensions").
    Extensions,
    /// `/v2/<name>/tags/list` (end-8)
    Tags {
        /// The repository.
        repo: RepoName,
    },
    /// `/v2/<name>/referrers/<digest>` (end-12)
    Referrers {
        /// The repository.
        repo: RepoName,
        /// The subject.
        digest: Digest,
    },
    /// `/v2/<name>/manifests/<tag or digest>` (end-3, end-7, end-9)
    Manifest {
        /// The repository.
        repo: RepoName,
        /// Which manifest.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10)
    Blob {
        /// The repository.
        repo: RepoName,
        /// Which blob.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/`, with or without the last slash (end-4, end-11)
    Uploads {
        /// The repository.
        repo: RepoName,
    },
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14)
    Upload {
        /// The repository.
        repo: RepoName,
        /// Which upload session.
        id: UploadId,
    },
}

impl Route {
    /// The repository the path is about; `None` for the routes of the whole registry.
    pub fn repo(&self) -> Option<&RepoName> {
        match self {
            Route::Base | Route::Catalog | Route::Registries | Route::View | Route::Extensions => {
                None
            }
            Route::Tags { repo }
            | Route::Referrers { repo, .. }
            | Route::Manifest { repo, .. }
            | Route::Blob { repo, .. }
            | Route::Uploads { repo }
            | Route::Upload { repo, .. } => Some(repo),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Base => f.write_str("/v2/"),
            Route::Catalog => f.write_str("/v2/_catalog"),
            Route::Registries => f.write_str("/v2/registries"),
            Route::View => f.write_str("/v2/_atoll/view"),
            Route::Extensions => f.write_str("/v2/_oci/ext/discover"),
            Route::Tags { repo } => write!(f, "/v2/{repo}/tags/list"),
            Route::Referrers { repo, digest } => write!(f, "/v2/{repo}/referrers/{digest}"),
            Route::Manifest { repo, reference } => write!(f, "/v2/{repo}/manifests/{reference}"),
            Route::Blob { repo, digest } => write!(f, "/v2/{repo}/blobs/{digest}"),
            Route::Uploads { repo } => write!(f, "/v2/{repo}/blobs/uploads/"),
            Route::Upload { repo, id } => write!(f, "/v2/{repo}/blobs/uploads/{id}"),
        }
    }
}

/// Reads the raw path of a request, without its query string.
pub fn parse(path: &str) -> Result<Route, RouteError> {
    match path {
        "/v2" | "/v2/" => return Ok(Route::Base),
        "/v2/_catalog" => return Ok(Route::Catalog),
        "/v2/registries" => return Ok(Route::Registries),
        "/v2/_atoll/view" => return Ok(Route::View),
        "/v2/_oci/ext/discover" => return Ok(Route::Extensions),
        _ => {}
    }
    let tail = if path.starts_with("/v2/") { Tail::find(&path["/v2".len()..]) } else { None };
    let Some(tail) = tail else {
        return Err(UnknownRoute { received: echo(path) }.into());
    };
    let repo = tail.name.parse()?;
    Ok(match tail.kind {
        Kind::Tags => Route::Tags { repo },
        Kind::Referrers => Route::Referrers { repo, digest: decode_colon(tail.item).parse()? },
        Kind::Manifest => {
            Route::Manifest { repo, reference: decode_colon(tail.item).parse::<Reference>()? }
        }
        Kind::Blob => Route::Blob { repo, digest: decode_colon(tail.item).parse()? },
        Kind::Upload if tail.item.is_empty() => Route::Uploads { repo },
        Kind::Upload => Route::Upload { repo, id: tail.item.parse()? },
    })
}

/// What the segments after the repository name ask for.
#[derive(Clone, Copy)]
enum Kind {
    Tags,
    Referrers,
    Manifest,
    Blob,
    Upload,
}

/// A path cut in two: the name, and which item of which kind. Neither is checked yet.
struct Tail<'a> {
    name: &'a str,
    kind: Kind,
    item: &'a str,
}

impl<'a> Tail<'a> {
    /// `name` still has the slash that follows `/v2`, or is empty.
    fn new(name: &'a str, kind: Kind, item: &'a str) -> Self {
        Tail { name: name.strip_prefix('/').unwrap_or(name), kind, item }
    }

    /// Cuts a path that starts with the slash after `/v2`.
    fn find(path: &'a str) -> Option<Self> {
        Tail::cut(path).or_else(|| Tail::cut_broken(path))
    }

    /// Cuts a path whose tail has the right number of segments.
    fn cut(path: &'a str) -> Option<Self> {
        let (before, item) = path.rsplit_once('/')?;
        let (name, keyword) = before.rsplit_once('/')?;
        let tail = |name, kind, item| Some(Tail::new(name, kind, item));
        match (keyword, item) {
            ("blobs", "uploads") => tail(name, Kind::Upload, ""),
            ("tags", "list") => tail(name, Kind::Tags, item),
            ("referrers", _) => tail(name, Kind::Referrers, item),
            ("manifests", _) => tail(name, Kind::Manifest, item),
            ("blobs", _) => tail(name, Kind::Blob, item),
            ("uploads", _) => tail(name.strip_suffix("/blobs")?, Kind::Upload, item),
            _ => None,
        }
    }

    /// Cuts a path whose last part holds slashes it may not hold (`…/blobs/sha256:../x`), so that
    /// the answer can be about that part. The result never parses: no item may hold a slash.
    fn cut_broken(path: &'a str) -> Option<Self> {
        const KEYWORDS: [(&str, Kind); 4] = [
            ("/blobs/uploads/", Kind::Upload),
            ("/blobs/", Kind::Blob),
            ("/manifests/", Kind::Manifest),
            ("/referrers/", Kind::Referrers),
        ];
        KEYWORDS
            .into_iter()
            .filter_map(|(keyword, kind)| path.rfind(keyword).map(|at| (at, keyword, kind)))
            // The first of equals: an upload before a blob.
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(at, keyword, kind)| Tail::new(&path[..at], kind, &path[at + keyword.len()..]))
    }
}

/// Undoes the escaping of colons and of nothing else.
fn decode_colon(item: &str) -> Cow<'_, str> {
    if item.contains('%') {
        Cow::Owned(item.replace("%3A", ":").replace("%3a", ":"))
    } else {
        Cow::Borrowed(item)
    }
}

/// The path is not one this registry serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The part before the keyword is not a repository name.
    #[error(transparent)]
    Name(#[from] InvalidRepoName),
    /// The last segment should be a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The last segment should be a tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The last segment should be the id of an upload session.
    #[error(transparent)]
    UploadId(#[from] InvalidUploadId),
    /// No route looks like this.
    #[error(transparent)]
    UnknownRoute(#[from] UnknownRoute),
}

impl From<InvalidReference> for RouteError {
    fn from(error: InvalidReference) -> Self {
        match error {
            InvalidReference::Digest(error) => error.into(),
            InvalidReference::Tag(error) => error.into(),
        }
    }
}

/// No route looks like this path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{received}` is not a path of this registry: expected `/v2/<name>/` and then `manifests/<tag or digest>`, \
     `blobs/<digest>`, `blobs/uploads/`, `tags/list` or `referrers/<digest>`"
)]
pub struct UnknownRoute {
    /// What was received, shortened.
    pub received: String,
}

#[cfg(test)]
mod tests;
