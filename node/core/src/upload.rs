//! Uploads: what a session may do next, decided without a disk or a clock.
//!
//! A client opens a session, sends the bytes of a blob in as many requests as it likes, and closes
//! it by naming the digest. Connections break in between, requests of one session may race, and
//! nobody promises to come back. The rules that keep this sane live here, where they can be tested
//! in microseconds: [`UploadSession`] is the life of one session, [`UploadBudget`] is what all
//! sessions of a node may use together. The shell (`atoll-node`'s `store`) owns the bytes.
//!
//! A session is addressed by its present length and nothing else: there is no list of received
//! ranges to fill in any order. The distribution-spec wants chunks in order, no client does
//! otherwise, and one number survives a crash more easily than a set of ranges.

mod budget;
mod session;

pub use budget::{BudgetExhausted, TooManySessions, UploadBudget, UploadBudgetLimits};
pub use session::{
    BlobTooLarge, OutOfOrder, SessionBusy, SessionClosed, SessionUnavailable, UploadLimits,
    UploadSession, UploadState, WriteRefused,
};
