//! The life of one upload session.
//!
//! ```text
//!            acquire / chunk / received / written / release
//!                 ┌────┐
//! new, restored ─▶ Open ──commit──▶ Committing ──committed or failed──▶ Done
//!                   └──cancel, timeout──▶ Cancelled
//! ```
//!
//! The rule: one request at a time holds the session, what it *received* is a promise, what it has
//! *written* is the offset. Once a commit started nothing else can happen to the session, and
//! whatever its outcome the session is over. Why not let a failed commit be tried again: a wrong
//! digest means that the bytes are not what the client thinks they are, and after a failed fsync
//! nobody knows what they are.

use std::time::Duration;

use crate::digest::Algorithm;

/// What one session is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// The longest blob in bytes.
    pub blob_bytes_max: u64,
    /// How long a session may go without receiving anything.
    pub idle_max: Duration,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// It takes bytes.
    Open,
    /// Its digest was named; the blob is being verified and published.
    Committing,
    /// It ended with a commit, successful or not.
    Done,
    /// It was cancelled by its client, or nobody came back in time.
    Cancelled,
}

/// One upload session. Pure: events come in with `now` (monotonic time), answers go out.
///
/// Inputs are `handle_*`; [`poll_timeout`](Self::poll_timeout) names the moment at which
/// [`handle_timeout`](Self::handle_timeout) has something to do. The caller holds the bytes and the
/// shared [`UploadBudget`](super::UploadBudget): it reserves there what
/// [`handle_received`](Self::handle_received) accepted here, and gives back what
/// [`handle_release`](Self::handle_release) answers.
#[derive(Clone, Debug)]
pub struct UploadSession {
    algorithm: Algorithm,
    limits: UploadLimits,
    state: UploadState,
    is_held: bool,
    written: u64,
    received: u64,
    deadline: Duration,
}

impl UploadSession {
    /// A session without bytes.
    pub fn new(algorithm: Algorithm, limits: UploadLimits, now: Duration) -> Self {
        Self::restored(algorithm, limits, 0, now)
    }

    /// A session that a restart found with `offset` durable bytes. Its idle time starts anew: the
    /// client had no way to reach it while the node was down.
    pub fn restored(
        algorithm: Algorithm,
        limits: UploadLimits,
        offset: u64,
        now: Duration,
    ) -> Self {
        UploadSession {
            algorithm,
            limits,
            state: UploadState::Open,
            is_held: false,
            written: offset,
            received: offset,
            deadline: now.saturating_add(limits.idle_max),
        }
    }

    /// The hash that runs while bytes arrive.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where the session is in its life.
    pub fn state(&self) -> UploadState {
        self.state
    }

    /// Does a request hold the session?
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Bytes written so far: where the next chunk starts.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Bytes accepted so far, written or on their way: what the session counts for in the budget.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// A request wants to write or commit: it alone holds the session until
    /// [`handle_release`](Self::handle_release).
    pub fn handle_acquire(&mut self, now: Duration) -> Result<(), SessionUnavailable> {
        self.expect_open()?;
        if self.is_held {
            return Err(SessionBusy.into());
        }
        self.is_held = true;
        self.touch(now);
        Ok(())
    }

    /// The holder says that its bytes start at `start`. In order means: exactly where the last
    /// byte was written (distribution-spec, "Pushing a blob in chunks").
    pub fn handle_chunk(&mut self, start: u64, now: Duration) -> Result<(), OutOfOrder> {
        if start != self.received {
            return Err(OutOfOrder { expected: self.received, found: start });
        }
        self.touch(now);
        Ok(())
    }

    /// `len` more bytes came from the client.
    pub fn handle_received(&mut self, len: u64, now: Duration) -> Result<(), WriteRefused> {
        self.expect_open()?;
        let total = self.received.saturating_add(len);
        if total > self.limits.blob_bytes_max {
            return Err(BlobTooLarge { bytes_max: self.limits.blob_bytes_max }.into());
        }
        self.received = total;
        self.touch(now);
        Ok(())
    }

    /// `len` of the received bytes reached the file.
    pub fn handle_written(&mut self, len: u64, now: Duration) {
        debug_assert!(self.written + len <= self.received, "wrote bytes that were not received");
        self.written = self.written.saturating_add(len).min(self.received);
        self.touch(now);
    }

    /// The holder is done, or its connection broke. Answers how many received bytes were never
    /// written: they are gone, and the client sends them again.
    #[must_use = "these bytes go back to the budget"]
    pub fn handle_release(&mut self, now: Duration) -> u64 {
        let lost = self.received - self.written;
        self.received = self.written;
        self.is_held = false;
        self.touch(now);
        lost
    }

    /// The holder names the digest. From here on only the commit decides.
    pub fn handle_commit(&mut self) -> Result<(), SessionClosed> {
        self.expect_open()?;
        self.state = UploadState::Committing;
        Ok(())
    }

    /// The commit ended, well or not.
    pub fn handle_commit_end(&mut self) {
        debug_assert_eq!(self.state, UploadState::Committing);
        self.state = UploadState::Done;
    }

    /// The client gives up. A holder learns it with its next bytes.
    pub fn handle_cancel(&mut self) -> Result<(), SessionClosed> {
        self.expect_open()?;
        self.state = UploadState::Cancelled;
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) should be called; `None` when never.
    pub fn poll_timeout(&self) -> Option<Duration> {
        (self.state == UploadState::Open).then_some(self.deadline)
    }

    /// Time has passed. Answers true when the session was cancelled because of it.
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        let expired = self.poll_timeout().is_some_and(|deadline| deadline <= now);
        if expired {
            self.state = UploadState::Cancelled;
        }
        expired
    }

    fn touch(&mut self, now: Duration) {
        self.deadline = self.deadline.max(now.saturating_add(self.limits.idle_max));
    }

    fn expect_open(&self) -> Result<(), SessionClosed> {
        match self.state {
            UploadState::Open => Ok(()),
            UploadState::Committing | UploadState::Done | UploadState::Cancelled => {
                Err(SessionClosed { state: self.state })
            }
        }
    }
}

/// The chunk does not start where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk starts at byte {found}, the upload goes on at byte {expected}")]
pub struct OutOfOrder {
    /// Where the next chunk must start.
    pub expected: u64,
    /// Where this one starts.
    pub found: u64,
}

/// The blob is longer than blobs may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob may have {bytes_max} bytes at most")]
pub struct BlobTooLarge {
    /// The limit in bytes.
    pub bytes_max: u64,
}

/// The session takes no more events of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upload session is {}", match state {
    UploadState::Open => "open",
    UploadState::Committing => "being committed",
    UploadState::Done => "finished",
    UploadState::Cancelled => "cancelled",
})]
pub struct SessionClosed {
    /// Where it is in its life.
    pub state: UploadState,
}

/// Another request writes to the session at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another request is using the upload session")]
pub struct SessionBusy;

/// Why a request cannot have a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionUnavailable {
    /// Try again.
    #[error(transparent)]
    Busy(#[from] SessionBusy),
    /// It is over.
    #[error(transparent)]
    Closed(#[from] SessionClosed),
}

/// Why bytes are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// There are too many of them.
    #[error(transparent)]
    TooLarge(#[from] BlobTooLarge),
    /// The session is over.
    #[error(transparent)]
    Closed(#[from] SessionClosed),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: UploadLimits =
        UploadLimits { blob_bytes_max: 100, idle_max: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn session() -> UploadSession {
        UploadSession::new(Algorithm::Sha256, LIMITS, at(0))
    }

    #[test]
    fn one_request_at_a_time() {
        let mut session = session();
        assert_eq!(session.handle_acquire(at(1)), Ok(()));
        assert_eq!(session.handle_acquire(at(1)), Err(SessionBusy.into()));
        assert_eq!(session.handle_release(at(1)), 0);
        assert_eq!(session.handle_acquire(at(1)), Ok(()));
    }

    #[test]
    fn a_broken_connection_keeps_what_was_written() {
        let mut session = session();
        session.handle_acquire(at(1)).unwrap();
        session.handle_received(60, at(1)).unwrap();
        session.handle_written(40, at(1));
        assert_eq!(session.handle_release(at(2)), 20);
        assert_eq!((session.offset(), session.received()), (40, 40));
        assert_eq!(session.handle_chunk(60, at(3)), Err(OutOfOrder { expected: 40, found: 60 }));
        assert_eq!(session.handle_chunk(0, at(3)), Err(OutOfOrder { expected: 40, found: 0 }));
        assert_eq!(session.handle_chunk(40, at(3)), Ok(()));
    }

    #[test]
    fn the_size_limit_is_inclusive_and_refusal_keeps_the_session() {
        let mut session = session();
        session.handle_received(100, at(0)).unwrap();
        let too_large = WriteRefused::TooLarge(BlobTooLarge { bytes_max: 100 });
        assert_eq!(session.handle_received(1, at(0)), Err(too_large));
        assert_eq!(session.handle_received(u64::MAX, at(0)), Err(too_large));
        assert_eq!(session.state(), UploadState::Open);
    }

    #[test]
    fn a_writer_learns_that_it_was_cancelled() {
        let mut session = session();
        session.handle_acquire(at(0)).unwrap();
        session.handle_cancel().unwrap();
        let closed = SessionClosed { state: UploadState::Cancelled };
        assert_eq!(session.handle_received(1, at(0)), Err(closed.into()));
        assert_eq!(session.handle_commit(), Err(closed));
        assert_eq!(session.handle_cancel(), Err(closed));
    }

    #[test]
    fn nothing_interrupts_a_commit() {
        let mut session = session();
        session.handle_acquire(at(0)).unwrap();
        session.handle_commit().unwrap();
        let closed = SessionClosed { state: UploadState::Committing };
        assert_eq!(session.handle_commit(), Err(closed));
        assert_eq!(session.handle_cancel(), Err(closed));
        assert_eq!(session.handle_acquire(at(0)), Err(closed.into()));
        assert!(!session.handle_timeout(at(1_000)));
        session.handle_commit_end();
        assert_eq!(session.state(), UploadState::Done);
    }

    #[test]
    fn idle_time_counts_from_the_last_sign_of_life() {
        let mut session = session();
        assert_eq!(session.poll_timeout(), Some(at(10)));
        session.handle_received(1, at(9)).unwrap();
        assert!(!session.handle_timeout(at(18)));
        assert!(session.handle_timeout(at(19)));
        assert_eq!(session.state(), UploadState::Cancelled);
        assert_eq!(session.poll_timeout(), None);
        assert!(!session.handle_timeout(at(30)), "it expires once");
    }

    #[derive(Clone, Debug)]
    enum Event {
        Acquire,
        Chunk(u64),
        Receive(u64),
        Write(u64),
        Release,
        Commit,
        CommitEnd,
        Cancel,
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Acquire),
            2 => (0u64..120).prop_map(Event::Chunk),
            6 => (0u64..40).prop_map(Event::Receive),
            6 => (0u64..40).prop_map(Event::Write),
            3 => Just(Event::Release),
            1 => Just(Event::Commit),
            1 => Just(Event::CommitEnd),
            1 => Just(Event::Cancel),
            2 => (0u64..8).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// In any order of events: the offset never falls nor passes what was received or the
        /// limit, a session that is over stays over, only a closed session refuses bytes below
        /// the limit, and a second holder never gets in.
        #[test]
        fn any_order_of_events_is_sane(events in prop::collection::vec(event(), 0..80)) {
            let mut session = session();
            let mut now = at(0);
            let mut last_seen = at(0);
            for event in events {
                let before = session.clone();
                match event {
                    Event::Acquire => {
                        let got = session.handle_acquire(now).is_ok();
                        prop_assert_eq!(got, before.state == UploadState::Open && !before.is_held);
                        if got { last_seen = now }
                    }
                    Event::Chunk(start) => {
                        let got = session.handle_chunk(start, now).is_ok();
                        prop_assert_eq!(got, start == before.received);
                        if got { last_seen = now }
                    }
                    Event::Receive(len) => {
                        let got = session.handle_received(len, now).is_ok();
                        let fits = before.received + len <= LIMITS.blob_bytes_max;
                        prop_assert_eq!(got, before.state == UploadState::Open && fits);
                        if got { last_seen = now }
                    }
                    Event::Write(len) => {
                        session.handle_written(len.min(before.received - before.written), now);
                        last_seen = now;
                    }
                    Event::Release => {
                        let lost = session.handle_release(now);
                        prop_assert_eq!(lost, before.received - before.written);
                        last_seen = now;
                    }
                    Event::Commit => {
                        let got = session.handle_commit().is_ok();
                        prop_assert_eq!(got, before.state == UploadState::Open);
                    }
                    Event::CommitEnd if before.state == UploadState::Committing => {
                        session.handle_commit_end();
                    }
                    Event::CommitEnd => {}
                    Event::Cancel => {
                        let got = session.handle_cancel().is_ok();
                        prop_assert_eq!(got, before.state == UploadState::Open);
                    }
                    Event::Wait(seconds) => {
                        now += at(seconds);
                        let expired = session.handle_timeout(now);
                        let idle = now - last_seen >= LIMITS.idle_max;
                        prop_assert_eq!(expired, before.state == UploadState::Open && idle);
                    }
                }
                prop_assert!(session.written >= before.written);
                prop_assert!(session.written <= session.received);
                prop_assert!(session.received <= LIMITS.blob_bytes_max);
                if matches!(before.state, UploadState::Done | UploadState::Cancelled) {
                    prop_assert_eq!(session.state, before.state);
                }
            }
        }
    }
}
