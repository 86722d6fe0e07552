//! The parts of a node, answered from memory.

use std::sync::{Mutex, MutexGuard};

use atoll_core::{
    Digest, Reference, RepoName,
    admin::{Collected, Coordination, JoinToken, NodeReport, ObjectKind},
    view::{NodeId, View},
};
use futures_util::future::{BoxFuture, ready};

use super::super::{
    AdminError,
    pieces::{Ledger, Page, Part, Pieces, Write},
};

/// Content that every image of the fake consists of.
pub fn digest(text: &str) -> Digest {
    Digest::of(atoll_core::Algorithm::Sha256, text.as_bytes())
}

/// A node on its own.
#[derive(Debug, Default)]
pub struct FakePieces {
    /// How often repair was asked for.
    pub repairs: Mutex<u32>,
}

impl Pieces for FakePieces {
    fn coordination(&self) -> Coordination {
        Coordination { leader: Some(1), term: 3, voters: vec![1], learners: vec![2, 3] }
    }

    fn report(&self) -> BoxFuture<'_, NodeReport> {
        let report = NodeReport { epoch: 1, lease_valid: true, ..NodeReport::default() };
        Box::pin(ready(report))
    }

    fn repair(&self) {
        *self.repairs.lock().expect("no panic") += 1;
    }

    fn collector(&self) -> Option<NodeId> {
        Some(NodeId(1))
    }

    fn collect(&self, dry_run: bool) -> BoxFuture<'_, Result<Collected, AdminError>> {
        Box::pin(ready(Ok(Collected { started: !dry_run, blobs: 7, ..Collected::default() })))
    }

    fn image<'a>(
        &'a self,
        repo: &'a RepoName,
        _: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<Part>>, AdminError>> {
        let part = |kind, text: &str| Part { kind, digest: digest(text), size_bytes: Some(5) };
        let parts = vec![part(ObjectKind::Manifest, "here"), part(ObjectKind::Layer, "gone")];
        Box::pin(ready(Ok((repo.as_str() == "app").then_some(parts))))
    }

    fn have<'a>(&'a self, node: NodeId, digests: &'a [Digest]) -> BoxFuture<'a, Option<Vec<bool>>> {
        let held = digests.iter().map(|it| *it == digest("here")).collect();
        Box::pin(ready((node != NodeId(3)).then_some(held)))
    }

    fn mint(&self, ttl: std::time::Duration) -> BoxFuture<'_, Result<JoinToken, AdminError>> {
        let ttl_seconds = ttl.as_secs();
        Box::pin(ready(Ok(JoinToken { token: "secret".into(), ttl_seconds, join: "here".into() })))
    }
}

/// A ledger in memory, with the versions of the real one.
#[derive(Debug, Default)]
pub struct FakeLedger {
    page: Mutex<Page>,
    /// Is the coordination service out of reach?
    pub lost: Mutex<bool>,
}

impl FakeLedger {
    /// A ledger that knows the members of `view`.
    pub fn of(view: &View) -> FakeLedger {
        let ledger = FakeLedger::default();
        for (node, member) in &view.members {
            let record = atoll_core::view::MemberRecord {
                name: member.name.clone(),
                http: member.http.clone(),
                grpc: member.grpc.clone(),
                zone: member.zone.clone(),
                weight: member.weight,
                intent: atoll_core::view::Intent::In,
            };
            ledger.page().members.insert(*node, (record, 0));
        }
        ledger
    }

    /// What stands in it.
    pub fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("no panic")
    }

    fn answer<T>(&self, value: T) -> Result<T, AdminError> {
        let lost = *self.lost.lock().expect("no panic");
        if lost { Err(AdminError::NoCoordination("no session".into())) } else { Ok(value) }
    }
}

impl Ledger for FakeLedger {
    fn read(&self, _: bool) -> BoxFuture<'_, Result<Page, AdminError>> {
        Box::pin(ready(self.answer(self.page().clone())))
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<(), AdminError>> {
        let mut page = self.page().clone();
        for write in writes {
            let done = match write {
                Write::Member(node, record, version) => {
                    let slot = page.members.get_mut(&node).filter(|slot| slot.1 == version);
                    slot.map(|slot| *slot = (record, version + 1)).is_some()
                }
                Write::Stage(plan) => page.plan.is_none() && page.plan.insert((plan, 0)).1 == 0,
                Write::Unstage(version) => page.plan.take().is_some_and(|(_, at)| at == version),
                Write::NothingStaged => page.plan.is_none(),
            };
            if !done {
                return Box::pin(ready(Err(AdminError::Conflict)));
            }
        }
        *self.page() = page;
        Box::pin(ready(self.answer(())))
    }
}
