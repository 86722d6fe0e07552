//! P6 kept: collecting takes what no manifest needs, and nothing else.
//!
//! Where blobs are collected, a blob that nobody refers to may be gone at any time. So its absence says
//! nothing, and is left out of its register's history, unless a manifest that is there needs it: one
//! whose push was acknowledged before somebody asked, and whose deletion nobody ever asked for.

use atoll_core::Digest;

use crate::{
    history::{History, Key, Kind},
    linear::{Event, Guard, Op, Outcome, Seen},
};

/// The history of a blob's register, as far as it must be explained.
pub fn without_collected(history: &History, key: &Key) -> Vec<Event<Digest>> {
    let events = history.events(key);
    if key.kind != Kind::Blob {
        return events.to_vec();
    }
    let needed_from = needed_from(history, key);
    let is_absence = |event: &Event<Digest>| {
        let is_nothing = matches!(event.op, Op::See(Seen::Nothing));
        // A delete that found nothing to delete.
        is_nothing
            || matches!(event.op, Op::Set { to: None, .. }) && event.outcome == Outcome::Refused
    };
    let is_told = |event: &&Event<Digest>| !is_absence(event) || needed_from < event.called;
    let mut told: Vec<Event<Digest>> = events.iter().filter(is_told).copied().collect();
    for event in &mut told {
        // A delete may come after the collection, and is right to find nothing then.
        if let Op::Set { guard: Guard::Present, to: None } = event.op
            && event.outcome == Outcome::Unknown
        {
            event.op = Op::Set { guard: Guard::Any, to: None };
        }
    }
    told
}

/// From when on a manifest needs the blob; `u64::MAX` when none does for sure.
fn needed_from(history: &History, blob: &Key) -> u64 {
    let needs = history
        .manifests
        .values()
        .filter(|manifest| manifest.blobs.iter().any(|needed| needed.to_string() == blob.name));
    let since = needs.filter_map(|manifest| {
        let key = Key::manifest(&blob.repo, &manifest.digest);
        if history.was_ever_cleared(&key) {
            return None;
        }
        let pushed = history
            .events(&key)
            .iter()
            .filter(|event| matches!(event.op, Op::Set { .. }) && event.outcome == Outcome::Done);
        pushed.map(|event| event.returned).min()
    });
    since.min().unwrap_or(u64::MAX)
}
