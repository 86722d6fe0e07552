//! Who sends the call that is being answered.
//!
//! The listener knows it from the connection's certificate and says it twice: as an extension of the
//! request ([`Peer`]), and to everything the handler calls ([`check_sender`]), so that no service
//! can forget to compare the sender that a message claims with the one that was proven.

use std::future::Future;

use atoll_core::view::NodeId;
use tonic::Status;

use super::tls::PeerIdentity;

tokio::task_local! {
    static PEER: Peer;
}

/// The sender of a request, as far as its connection proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The connection is plaintext: whoever it says it is.
    Unproven,
    /// The connection is TLS, and the caller showed no certificate.
    Stranger,
    /// A member, by its certificate.
    Member(PeerIdentity),
}

/// Runs a handler so that [`check_sender`] knows whose request it answers.
pub(super) fn answering<F: Future>(peer: Peer, handler: F) -> impl Future<Output = F::Output> {
    PEER.scope(peer, handler)
}

/// The sender of the request that this task is answering; `None` outside of a handler, and in tasks
/// that a handler spawned.
pub fn current() -> Option<Peer> {
    PEER.try_with(Clone::clone).ok()
}

/// Compares the sender that a message claims with the one that its connection proves.
///
/// Call it within the handler: a task that was spawned from it, and a test without a listener, has
/// nothing to compare with and passes.
///
/// # Errors
/// `PERMISSION_DENIED` when they differ.
pub fn check_sender(claimed: NodeId) -> Result<(), Status> {
    match current() {
        None | Some(Peer::Unproven) => Ok(()),
        Some(Peer::Member(proven)) if proven.node == claimed => Ok(()),
        Some(Peer::Member(proven)) => Err(Status::permission_denied(format!(
            "the message says that node {claimed} sent it, the certificate that node {} did",
            proven.node
        ))),
        Some(Peer::Stranger) => Err(Status::unauthenticated("only a member may send this")),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn the_claim_must_be_what_the_certificate_says() {
        let member = PeerIdentity { cluster_id: "c".to_owned(), node: NodeId(2) };
        let check = |peer: Peer, claimed: u16| {
            answering(
                peer,
                async move { check_sender(NodeId(claimed)).map_err(|status| status.code()) },
            )
        };
        assert_eq!(check(Peer::Member(member.clone()), 2).await, Ok(()));
        assert_eq!(check(Peer::Member(member), 3).await, Err(Code::PermissionDenied));
        assert_eq!(check(Peer::Stranger, 2).await, Err(Code::Unauthenticated));
        assert_eq!(check(Peer::Unproven, 2).await, Ok(()));
        assert_eq!(current(), None);
    }
}
