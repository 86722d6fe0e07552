//! What a request needs, what a token grants, and whether the one covers the other.
//!
//! Access is a set of scopes as the token protocol of the distribution project writes them:
//! `repository:<name>:pull,push` or `registry:catalog:*`. A client asks for a set, a policy cuts it
//! down to what the user may do, and each request is checked against what is left. Cutting down
//! never fails: who asks for more than they may gets less, not an error.
//!
//! Which access a route needs is one table ([`required`]), and that table has no gaps: what it does
//! not name needs the strongest access it could need.

mod action;
mod scope;

use std::{collections::BTreeMap, fmt};

pub use self::{
    action::{Action, Actions},
    scope::{InvalidScope, InvalidScopeReason, Resource, SCOPE_BYTES_MAX, Scope},
};
use crate::route::Route;

/// The most scopes in one request. docker asks for the target and at most 4 mount sources.
pub const SCOPES_MAX: usize = 64;

/// A set of actions on each of some resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access(BTreeMap<Resource, Actions>);

impl Access {
    /// Reads scopes: each text is one `scope` parameter, which may hold several, separated by
    /// spaces. Scopes of one resource are put together.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Access, InvalidAccess> {
        let mut access = Access::default();
        let scopes = texts.into_iter().flat_map(|text| text.split(' '));
        for (index, text) in scopes.filter(|text| !text.is_empty()).enumerate() {
            if index == SCOPES_MAX {
                return Err(TooManyScopes.into());
            }
            access.insert(text.parse()?);
        }
        Ok(access)
    }

    /// Adds a scope.
    pub fn insert(&mut self, scope: Scope) {
        let actions = self.0.entry(scope.resource).or_default();
        *actions = actions.union(scope.actions);
    }

    /// May `action` be done to `resource`?
    pub fn allows(&self, resource: &Resource, action: Action) -> bool {
        self.actions(resource).contains(action)
    }

    /// Does it hold everything in `scope`? What a request is checked with.
    pub fn covers(&self, scope: &Scope) -> bool {
        let held = self.actions(&scope.resource);
        scope.actions.iter().all(|action| held.contains(action))
    }

    /// What may be done to `resource`.
    pub fn actions(&self, resource: &Resource) -> Actions {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// What is left of this access when a policy grants no more than `granted` says of each
    /// resource. Resources of which nothing is left are dropped.
    pub fn limit(&self, granted: impl Fn(&Resource) -> Actions) -> Access {
        let left = self
            .0
            .iter()
            .map(|(resource, actions)| (resource.clone(), actions.intersection(granted(resource))));
        Access(left.filter(|(_, actions)| !actions.is_empty()).collect())
    }

    /// What both allow.
    pub fn intersection(&self, other: &Access) -> Access {
        self.limit(|resource| other.actions(resource))
    }

    /// Does it allow nothing?
    pub fn is_empty(&self) -> bool {
        self.0.values().all(|actions| actions.is_empty())
    }

    /// The scopes, one per resource, in order.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().map(|(resource, &actions)| Scope { resource: resource.clone(), actions })
    }
}

impl fmt::Display for Access {
    /// The scopes separated by spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.scopes().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

/// The methods of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 6] =
        [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];

    /// The name on the request line.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// The method of that name, which is case-sensitive. `None`: no route has it, answer 405.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What a request must be allowed to do; `None` when it touches no repository and no listing, so
/// that being let in at all is enough.
///
/// As in distribution, pushing needs `pull` too. An upload session is only ever about pushing, so
/// every method on it needs the same, cancelling included: podman cancels without `delete`.
/// The source of a mount is not in the path; whoever mounts also asks for `pull` there.
pub fn required(route: &Route, method: Method) -> Option<Scope> {
    let push = Actions::from_iter([Action::Pull, Action::Push]);
    let (resource, actions) = match route {
        Route::Base | Route::Registries | Route::View | Route::Extensions => return None,
        Route::Catalog => (Resource::Catalog, Action::All.into()),
        Route::Uploads { repo } | Route::Upload { repo, .. } => {
            (Resource::Repository(repo.clone()), push)
        }
        Route::Tags { repo }
        | Route::Referrers { repo, .. }
        | Route::Manifest { repo, .. }
        | Route::Blob { repo, .. } => {
            let actions = match method {
                Method::Get | Method::Head => Action::Pull.into(),
                Method::Post | Method::Put | Method::Patch => push,
                Method::Delete => Action::Delete.into(),
            };
            (Resource::Repository(repo.clone()), actions)
        }
    };
    Some(Scope { resource, actions })
}

/// The texts are not scopes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccess {
    /// One of them is malformed.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// There are too many.
    #[error(transparent)]
    TooMany(#[from] TooManyScopes),
}

/// More scopes than one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {SCOPES_MAX} scopes in one request")]
pub struct TooManyScopes;

#[cfg(test)]
mod tests;
