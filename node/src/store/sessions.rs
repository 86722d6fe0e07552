//! The table of open upload sessions.
//!
//! It pairs each session's state machine with the upload it is about, and hands the upload out to
//! one request at a time. Whether a session is over is decided by its absence: an entry is removed
//! in the same step in which it ends. No disk is touched here, so the lock is held for moments.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use atoll_core::{
    Algorithm, RepoName,
    route::UploadId,
    upload::{SessionUnavailable, UploadBudget, UploadBudgetLimits, UploadLimits, UploadSession},
};

use crate::io::Clock;

use super::{
    error::{UploadCancelled, UploadError, UploadUnknown},
    ingest::Ingest,
};

/// All sessions of a store.
#[derive(Debug)]
pub(crate) struct Sessions {
    clock: Arc<dyn Clock>,
    limits: UploadLimits,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    open: BTreeMap<UploadId, Session>,
    budget: UploadBudget,
    /// Files that idle sessions keep open.
    idle_files: usize,
}

#[derive(Debug)]
struct Session {
    repo: RepoName,
    machine: UploadSession,
    /// The upload, while no request holds it. Made with the first lease: most of what a session
    /// costs is in here, and many sessions are opened and never used.
    parked: Option<Box<Ingest>>,
}

/// The use of one session by one request. It goes back when dropped, from whatever thread.
#[derive(Debug)]
pub(crate) struct Lease {
    sessions: Arc<Sessions>,
    id: UploadId,
    repo: RepoName,
    /// Taken out only by those who end the lease.
    ingest: Option<Box<Ingest>>,
}

impl Sessions {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        limits: UploadLimits,
        budget: UploadBudgetLimits,
    ) -> Sessions {
        let budget = UploadBudget::new(budget);
        let table = Mutex::new(Table { open: BTreeMap::new(), budget, idle_files: 0 });
        Sessions { clock, limits, table }
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Opens a session. Answers false when the id is taken.
    pub(crate) fn create(
        &self,
        id: UploadId,
        repo: RepoName,
        algorithm: Algorithm,
    ) -> Result<bool, UploadError> {
        let machine = UploadSession::new(algorithm, self.limits, self.now());
        let mut table = self.locked();
        let Table { open, budget, .. } = &mut *table;
        let Entry::Vacant(vacant) = open.entry(id) else { return Ok(false) };
        budget.reserve_session()?;
        vacant.insert(Session { repo, machine, parked: None });
        Ok(true)
    }

    /// Takes in a session that a restart found.
    pub(crate) fn restore(
        &self,
        id: UploadId,
        repo: RepoName,
        algorithm: Algorithm,
        ingest: Ingest,
    ) {
        let offset = ingest.offset();
        let machine = UploadSession::restored(algorithm, self.limits, offset, self.now());
        let mut table = self.locked();
        table.budget.restore_session(offset);
        table.open.insert(id, Session { repo, machine, parked: Some(Box::new(ingest)) });
    }

    /// Bytes written to the session so far.
    pub(crate) fn offset(&self, repo: &RepoName, id: UploadId) -> Result<u64, UploadUnknown> {
        Ok(self.locked().get(repo, id)?.machine.offset())
    }

    /// Gives the session to a request.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        repo: &RepoName,
        id: UploadId,
    ) -> Result<Lease, UploadError> {
        let now = self.now();
        let mut table = self.locked();
        let session = table.get(repo, id)?;
        session
            .machine
            .handle_acquire(now)
            .map_err(|why: SessionUnavailable| UploadError::unavailable(id, why))?;
        let algorithm = session.machine.algorithm();
        let parked = session.parked.take();
        table.idle_files -= usize::from(parked.as_ref().is_some_and(|it| it.has_open_file()));
        drop(table);
        let ingest = parked.unwrap_or_else(|| Box::new(Ingest::new(id, algorithm)));
        let sessions = Arc::clone(self);
        Ok(Lease { sessions, id, repo: repo.clone(), ingest: Some(ingest) })
    }

    /// Every open session.
    pub(crate) fn list(&self) -> Vec<(RepoName, UploadId)> {
        self.locked().open.iter().map(|(id, session)| (session.repo.clone(), *id)).collect()
    }

    /// The client gives up. False when there is nothing to give up, or a commit is under way.
    pub(crate) fn cancel(&self, repo: &RepoName, id: UploadId) -> Result<(), UploadUnknown> {
        let mut table = self.locked();
        let cancelled = table.get(repo, id)?.machine.handle_cancel();
        cancelled.map_err(|_| UploadUnknown { id })?;
        table.remove(id);
        Ok(())
    }

    /// Ends the sessions nobody came back to; answers which.
    pub(crate) fn expire(&self) -> Vec<UploadId> {
        let now = self.now();
        let mut table = self.locked();
        let is_over = |(id, session): (&UploadId, &mut Session)| {
            session.machine.handle_timeout(now).then_some(*id)
        };
        let over: Vec<UploadId> = table.open.iter_mut().filter_map(is_over).collect();
        over.iter().for_each(|id| table.remove(*id));
        over
    }

    /// Open sessions, and the bytes they hold.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let table = self.locked();
        (table.budget.sessions(), table.budget.bytes())
    }

    /// Is there such a session?
    pub(crate) fn contains(&self, id: UploadId) -> bool {
        self.locked().open.contains_key(&id)
    }

    /// Files that idle sessions keep open.
    pub(crate) fn idle_files(&self) -> usize {
        self.locked().idle_files
    }
}

impl Table {
    /// The session, when it is one of `repo`. One of another repository does not exist.
    fn get(&mut self, repo: &RepoName, id: UploadId) -> Result<&mut Session, UploadUnknown> {
        let session = self.open.get_mut(&id).filter(|session| session.repo == *repo);
        session.ok_or(UploadUnknown { id })
    }

    fn remove(&mut self, id: UploadId) {
        let Some(session) = self.open.remove(&id) else { return };
        self.budget.release_session(session.machine.received());
        let parked_file = session.parked.is_some_and(|ingest| ingest.has_open_file());
        self.idle_files -= usize::from(parked_file);
    }
}

impl Lease {
    pub(crate) fn id(&self) -> UploadId {
        self.id
    }

    pub(crate) fn repo(&self) -> &RepoName {
        &self.repo
    }

    pub(crate) fn ingest(&mut self) -> &mut Ingest {
        self.ingest.as_mut().expect("only the end of a lease takes the upload out")
    }

    /// What the writer needs to know while the lease itself is at the disk.
    pub(crate) fn meter(&self) -> Meter {
        Meter { sessions: Arc::clone(&self.sessions), id: self.id }
    }

    /// `bytes` of what was received are in the file now. False when the session ended meanwhile.
    pub(crate) fn written(&self, bytes: u64) -> bool {
        let now = self.sessions.now();
        let mut table = self.sessions.locked();
        let session = table.open.get_mut(&self.id);
        session.map(|session| session.machine.handle_written(bytes, now)).is_some()
    }

    /// The digest was named: nothing can come in between any more.
    pub(crate) fn begin_commit(&self) -> Result<(), UploadUnknown> {
        let unknown = UploadUnknown { id: self.id };
        let mut table = self.sessions.locked();
        let session = table.open.get_mut(&self.id).ok_or(unknown)?;
        session.machine.handle_commit().map_err(|_| unknown)
    }

    /// Is the session still there?
    pub(crate) fn is_open(&self) -> bool {
        self.sessions.locked().open.contains_key(&self.id)
    }

    /// Ends the session after a commit, good or bad.
    pub(crate) fn end_commit(self) {
        let mut table = self.sessions.locked();
        if let Some(session) = table.open.get_mut(&self.id) {
            session.machine.handle_commit_end();
        }
        table.remove(self.id);
    }

    /// Ends the session because its file is given up.
    pub(crate) fn fail(&self) {
        self.sessions.locked().remove(self.id);
    }

    /// Takes the upload out for the commit.
    pub(crate) fn take_ingest(&mut self) -> Ingest {
        *self.ingest.take().expect("a lease commits once")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let now = self.sessions.now();
        let mut table = self.sessions.locked();
        let Table { open, budget, idle_files } = &mut *table;
        let Some(session) = open.get_mut(&self.id) else { return };
        budget.release_bytes(session.machine.handle_release(now));
        session.parked = self.ingest.take();
        *idle_files += usize::from(session.parked.as_ref().is_some_and(|it| it.has_open_file()));
    }
}

/// Counts what a request receives, against the session and against all sessions together.
#[derive(Debug)]
pub(crate) struct Meter {
    sessions: Arc<Sessions>,
    id: UploadId,
}

impl Meter {
    /// `bytes` more came in. After an error they do not count.
    pub(crate) fn receive(&self, bytes: u64) -> Result<(), UploadError> {
        let now = self.sessions.now();
        let mut table = self.sessions.locked();
        let Table { open, budget, .. } = &mut *table;
        let cancelled = UploadCancelled { id: self.id };
        let session = open.get_mut(&self.id).ok_or(cancelled)?;
        budget.reserve_bytes(bytes)?;
        let received = session.machine.handle_received(bytes, now);
        received
            .inspect_err(|_| budget.release_bytes(bytes))
            .map_err(|why| UploadError::refused(self.id, why))
    }

    pub(crate) fn id(&self) -> UploadId {
        self.id
    }

    /// Where the client says its bytes start.
    pub(crate) fn chunk(&self, start: u64) -> Result<(), UploadError> {
        let now = self.sessions.now();
        let mut table = self.sessions.locked();
        let session = table.open.get_mut(&self.id).ok_or(UploadCancelled { id: self.id })?;
        Ok(session.machine.handle_chunk(start, now)?)
    }

    /// Bytes accepted so far.
    pub(crate) fn received(&self) -> u64 {
        self.sessions.locked().open.get(&self.id).map_or(0, |it| it.machine.received())
    }
}
