//! Logging in: the caller's credentials, the registry's challenge, and the tokens between them.
//!
//! The rules: a credential goes to the registry that it is for, and to the token server that this
//! registry names, over TLS wherever the registry itself is spoken to over TLS. It follows no
//! redirect to another host, and no text that this crate writes ever holds it.

mod challenge;
mod credential;
mod token;

pub(crate) use challenge::Challenge;
pub use credential::{Anonymous, Credential, Credentials, StaticCredential};
pub(crate) use token::{Authorizer, LoginFailed, endpoint_of};

use crate::RepoName;

/// What a request is allowed to do, as token servers write it: `repository:team/app:pull`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope(String);

impl Scope {
    /// The registry as a whole.
    pub(crate) fn base() -> Scope {
        Scope(String::new())
    }

    pub(crate) fn pull(repo: &RepoName) -> Scope {
        Scope(format!("repository:{repo}:pull"))
    }

    pub(crate) fn push(repo: &RepoName) -> Scope {
        Scope(format!("repository:{repo}:pull,push"))
    }

    /// Push to one repository, and read another to mount from it.
    pub(crate) fn mount(repo: &RepoName, from: &RepoName) -> Scope {
        Scope(format!("repository:{repo}:pull,push repository:{from}:pull"))
    }

    pub(crate) fn delete(repo: &RepoName) -> Scope {
        Scope(format!("repository:{repo}:pull,delete"))
    }

    pub(crate) fn catalog() -> Scope {
        Scope("registry:catalog:*".to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
