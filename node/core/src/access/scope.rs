//! One scope: a resource and the actions on it.
//!
//! `type[(class)]:name:action,action` (distribution, "Token Scope Documentation"). The name may
//! start with `host:port/`, so the text is cut at its first and its last colon.

use std::{fmt, str::FromStr};

use super::{Action, Actions};
use crate::{digest::echo, name::RepoName};

/// The longest scope in bytes: room for a repository name behind a host name, and some actions.
pub const SCOPE_BYTES_MAX: usize = 1_024;

/// What is acted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A repository of this registry.
    Repository(RepoName),
    /// The list of repositories: `registry:catalog`.
    Catalog,
    /// Something this registry does not have: another type, or a name that is none here. Asking
    /// for it is no error; no policy grants it and no route needs it.
    Foreign {
        /// The type, with its class if it has one.
        kind: String,
        /// The name.
        name: String,
    },
}

/// Actions on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// On what.
    pub resource: Resource,
    /// Which.
    pub actions: Actions,
}

impl Resource {
    fn new(kind: &str, name: &str) -> Resource {
        // docker writes `repository(plugin)`; the class says nothing about who may do what.
        let plain = kind.split_once('(').map_or(kind, |(plain, _)| plain);
        match (plain, name, name.parse()) {
            ("repository", _, Ok(repo)) => Resource::Repository(repo),
            ("registry", "catalog", _) => Resource::Catalog,
            _ => Resource::Foreign { kind: kind.to_owned(), name: name.to_owned() },
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Actions this registry does not know are left out: nobody can be granted them.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        parse(text).map_err(|reason| InvalidScope { received: echo(text), reason })
    }
}

fn parse(text: &str) -> Result<Scope, InvalidScopeReason> {
    if text.len() > SCOPE_BYTES_MAX {
        return Err(InvalidScopeReason::Long);
    }
    let (kind, rest) = text.split_once(':').ok_or(InvalidScopeReason::Parts)?;
    let (name, actions) = rest.rsplit_once(':').ok_or(InvalidScopeReason::Parts)?;
    if !is_kind(kind) {
        return Err(InvalidScopeReason::Kind);
    }
    if !is_name(name) {
        return Err(InvalidScopeReason::Name);
    }
    if !actions.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b',' || byte == b'*') {
        return Err(InvalidScopeReason::Actions);
    }
    let actions = actions.split(',').filter_map(Action::from_name).collect();
    Ok(Scope { resource: Resource::new(kind, name), actions })
}

/// `[a-z0-9]+(\([a-z0-9]+\))?`
fn is_kind(kind: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    match kind.split_once('(') {
        None => word(kind),
        Some((plain, class)) => word(plain) && class.strip_suffix(')').is_some_and(word),
    }
}

/// Visible characters, at most one of them a colon. Whether it names a repository is a later
/// question; quotes and backslashes are refused so that a name can stand in a header.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        && name.bytes().filter(|&byte| byte == b':').count() <= 1
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Repository(repo) => write!(f, "repository:{repo}"),
            Resource::Catalog => f.write_str("registry:catalog"),
            Resource::Foreign { kind, name } => write!(f, "{kind}:{name}"),
        }
    }
}

impl fmt::Display for Scope {
    /// As a challenge and a token request write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.actions)
    }
}

/// The text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not a scope: {reason}")]
pub struct InvalidScope {
    /// What was received, shortened.
    pub received: String,
    /// What is wrong with it.
    pub reason: InvalidScopeReason,
}

/// What is wrong with a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopeReason {
    /// It is too long.
    #[error("at most {SCOPE_BYTES_MAX} bytes are allowed")]
    Long,
    /// It has not three parts.
    #[error("expected `type:name:actions`, such as `repository:library/nginx:pull,push`")]
    Parts,
    /// The type is wrong.
    #[error("the type must be lower-case letters and digits, such as `repository`")]
    Kind,
    /// The name is wrong.
    #[error("the name must be visible ASCII characters with at most one `:`")]
    Name,
    /// The actions are wrong.
    #[error("the actions must be lower-case words separated by commas, or `*`")]
    Actions,
}
