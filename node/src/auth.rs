//! Who may do what.
//!
//! A registry without accounts is open: whoever reaches the listener may read and write, which is
//! why the listener is on loopback unless the operator says otherwise. What an operator can close
//! is writing as a whole. Handlers ask this one type, so that accounts and tokens later change what
//! is answered here and nothing in the handlers.

use atoll_core::RepoName;
use http::Method;

/// The access policy of a registry.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Is every change refused?
    pub read_only: bool,
}

/// A request may not be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// The registry takes no changes.
    #[error(
        "this registry is read-only (`registry.read_only`): pulls go on, pushes and deletes are refused"
    )]
    ReadOnly,
}

impl Policy {
    /// May this request be served at all? Asked before anything of its body is read.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, method: &Method) -> Result<(), AccessDenied> {
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if self.read_only && changes { Err(AccessDenied::ReadOnly) } else { Ok(()) }
    }

    /// May the caller read this repository?
    pub fn may_read(&self, _repo: &RepoName) -> bool {
        true
    }

    /// May the caller read every repository?
    pub fn may_read_all(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_registry_serves_pulls_and_refuses_changes() {
        let policy = Policy { read_only: true };
        assert_eq!(policy.check(&Method::GET), Ok(()));
        assert_eq!(policy.check(&Method::HEAD), Ok(()));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(policy.check(&method), Err(AccessDenied::ReadOnly));
        }
    }
}
