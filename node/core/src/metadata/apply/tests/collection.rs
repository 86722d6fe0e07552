//! Collection, command by command.

use super::*;

fn condemn(e: u64, blobs: &[&str]) -> Command {
    Command::Condemn { e: GcEpoch(e), digests: blobs.iter().map(|blob| digest(blob)).collect() }
}

fn abort(e: u64, blob: &str) -> Command {
    Command::CondemnAbort { e: GcEpoch(e), digests: vec![digest(blob)] }
}

fn finish(e: u64, blob: &str) -> Command {
    Command::CondemnFinish { e: GcEpoch(e), digests: vec![digest(blob)] }
}

fn push_at(blobs: &[&str], vg: u64) -> PutManifest {
    PutManifest { vg: GcEpoch(vg), ..push("a", "m", blobs, &["t"]) }
}

impl Machine {
    fn mark(&self, blob: &str) -> Option<u64> {
        query::condemned(&self.kv, &digest(blob)).unwrap().map(|epoch| epoch.0)
    }

    fn sees(&self, repo: &str, blob: &str) -> bool {
        query::link(&self.kv, &name(repo), &digest(blob)).unwrap().is_some()
    }
}

#[test]
fn only_what_nobody_needs_is_condemned() {
    let mut machine = Machine::default();
    machine.run(link("a", "layer"));
    machine.run(link("a", "waste"));
    machine.put(push("a", "m", &["layer"], &["t"]));
    assert_eq!(machine.run(condemn(1, &["layer", "waste", "m", "orphan"])), Outcome::Done);
    let marks = ["layer", "waste", "m", "orphan"].map(|blob| machine.mark(blob));
    assert_eq!(marks, [None, Some(1), None, Some(1)]);
    assert_eq!(query::gc_epoch(&machine.kv).unwrap(), GcEpoch(1));
}

#[test]
fn an_epoch_is_accepted_once() {
    let mut machine = Machine::default();
    assert_eq!(machine.run(condemn(3, &[])), Outcome::Done);
    for e in [0, 2, 3] {
        let passed = Refusal::GcEpochPassed { epoch: GcEpoch(3) };
        assert_eq!(refused(machine.run(condemn(e, &["x"]))), passed);
    }
    assert_eq!(machine.mark("x"), None);
}

#[test]
fn whoever_prepared_before_the_collection_verifies_again() {
    let mut machine = Machine::default();
    machine.run(link("a", "layer"));
    machine.run(condemn(1, &["other"]));
    assert_eq!(refused(machine.put(push_at(&["layer"], 0))), Refusal::Reverify);
    assert_eq!(refused(machine.run(link_at("a", "more", 0))), Refusal::Reverify);
    assert_eq!(machine.put(push_at(&["layer"], 1)), Outcome::Done);
    assert_eq!(machine.run(link_at("a", "more", 1)), Outcome::Done);
}

#[test]
fn nothing_comes_to_rely_on_a_condemned_blob() {
    let mut machine = Machine::default();
    machine.run(link("a", "layer"));
    machine.run(condemn(1, &["layer", "m", "child", "foreign"]));
    assert_eq!(refused(machine.run(link_at("b", "layer", 1))), Refusal::Reverify);
    let plain = push("a", "other", &[], &[]);
    let all = [
        push_at(&["layer"], 1),
        push_at(&[], 1),
        PutManifest { children: vec![digest("child")], vg: GcEpoch(1), ..plain.clone() },
        PutManifest { foreign_blobs: vec![digest("foreign")], vg: GcEpoch(1), ..plain.clone() },
    ];
    for put in all {
        assert_eq!(refused(machine.put(put)), Refusal::Reverify);
    }
    // A subject is not relied on.
    let talk = PutManifest { subject: Some(digest("m")), vg: GcEpoch(1), ..plain };
    assert_eq!(machine.put(talk), Outcome::Done);
}

#[test]
fn a_condemned_blob_is_invisible_and_comes_back_when_it_is_spared() {
    let mut machine = Machine::default();
    machine.run(link("a", "layer"));
    machine.run(condemn(1, &["layer"]));
    assert!(!machine.sees("a", "layer"));
    assert_eq!(query::linked_anywhere(&machine.kv, &digest("layer")).unwrap(), None);
    let unlink = Command::UnlinkBlob { repo: name("a"), digest: digest("layer") };
    assert!(matches!(refused(machine.run(unlink)), Refusal::BlobUnknown { .. }));
    machine.run(abort(2, "layer"));
    assert!(!machine.sees("a", "layer"), "that was another round");
    machine.run(abort(1, "layer"));
    assert!(machine.sees("a", "layer"));
}

#[test]
fn finishing_takes_the_links_and_the_repository_that_had_nothing_else() {
    let mut machine = Machine::default();
    for repo in ["a", "b"] {
        machine.run(link(repo, "layer"));
    }
    machine.run(link("b", "kept"));
    machine.run(condemn(1, &["layer"]));
    machine.run(finish(2, "layer"));
    assert_eq!(machine.mark("layer"), Some(1), "that was another round");
    machine.run(finish(1, "layer"));
    assert_eq!(machine.mark("layer"), None);
    assert!(!machine.sees("a", "layer") && !machine.sees("b", "layer"));
    assert!(!query::repo_exists(&machine.kv, &name("a")).unwrap());
    assert!(machine.sees("b", "kept"));
    // The end of the round comes again, after the blob was pushed anew.
    machine.run(link_at("a", "layer", 1));
    machine.run(finish(1, "layer"));
    assert!(machine.sees("a", "layer"));
}

#[test]
fn a_mark_stays_with_the_round_that_set_it() {
    let mut machine = Machine::default();
    machine.run(condemn(1, &["x"]));
    machine.run(condemn(2, &["x", "y"]));
    assert_eq!((machine.mark("x"), machine.mark("y")), (Some(1), Some(2)));
    machine.run(finish(2, "x"));
    assert_eq!(machine.mark("x"), Some(1));
}
