//! Commands as stories; the model in `model.rs` checks every row they may write.

use super::*;
use crate::{
    Algorithm, Tag,
    gc::GcEpoch,
    metadata::{MemoryKv, Precondition, PutManifest, RequestId, command::TagProtection},
};

mod collection;
mod dedupe;
mod model;
mod properties;

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn tag_of(text: &str) -> Tag {
    text.parse().unwrap()
}

fn link(repo: &str, content: &str) -> Command {
    link_at(repo, content, 0)
}

fn link_at(repo: &str, content: &str, vg: u64) -> Command {
    let size = content.len() as u64;
    Command::LinkBlob { repo: name(repo), digest: digest(content), size, vg: GcEpoch(vg) }
}

fn push(repo: &str, content: &str, blobs: &[&str], tags: &[&str]) -> PutManifest {
    PutManifest {
        repo: name(repo),
        digest: digest(content),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: content.len() as u64,
        blobs: blobs.iter().map(|blob| digest(blob)).collect(),
        foreign_blobs: Vec::new(),
        children: Vec::new(),
        subject: None,
        artifact_type: None,
        annotations: Default::default(),
        tags: tags.iter().map(|tag| tag_of(tag)).collect(),
        precondition: Precondition::Always,
        protected: TagProtection::None,
        vg: GcEpoch(0),
    }
}

fn protect(pattern: &str) -> TagProtection {
    TagProtection::Patterns(vec![pattern.to_owned()])
}

/// A state machine fed by one client.
#[derive(Default)]
struct Machine {
    kv: MemoryKv,
    index: u64,
}

impl Machine {
    fn run(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let id = RequestId { client: 7, sequence: self.index };
        apply(&mut self.kv, self.index, &Request { id, command }).unwrap()
    }

    fn put(&mut self, push: PutManifest) -> Outcome {
        self.run(Command::PutManifest(push))
    }

    fn delete(&mut self, repo: &str, content: &str, protected: TagProtection) -> Outcome {
        let (repo, digest) = (name(repo), digest(content));
        self.run(Command::DeleteManifest { repo, digest, protected })
    }

    /// Version and content of a tag.
    fn tag(&self, repo: &str, tag: &str) -> Option<(u64, Digest)> {
        let record = query::tag(&self.kv, &name(repo), &tag_of(tag)).unwrap();
        record.map(|record| (record.version, record.digest))
    }
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        Outcome::Done | Outcome::Coordinated(_) => panic!("expected a refusal"),
    }
}

#[test]
fn a_blob_elsewhere_does_not_count() {
    let mut machine = Machine::default();
    machine.run(link("a", "blob"));
    let missing = vec![digest("blob")];
    assert_eq!(
        refused(machine.put(push("b", "m", &["blob"], &["t"]))),
        Refusal::ManifestBlobUnknown { repo: name("b"), missing }
    );
    assert!(!query::repo_exists(&machine.kv, &name("b")).unwrap());
    assert_eq!(machine.put(push("a", "m", &["blob"], &["t"])), Outcome::Done);
    assert_eq!(machine.tag("a", "t"), Some((3, digest("m"))));
}

#[test]
fn a_refusal_names_so_many_missing_blobs() {
    let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let blobs: Vec<_> = names.iter().map(String::as_str).collect();
    let refusal = refused(Machine::default().put(push("a", "m", &blobs, &[])));
    let Refusal::ManifestBlobUnknown { missing, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(missing.len(), crate::metadata::command::MISSING_BLOBS_LISTED_MAX);
}

#[test]
fn many_tags_move_together_or_not_at_all() {
    let mut machine = Machine::default();
    machine.put(push("a", "old", &[], &["free", "v1"]));
    let all = ["new", "free", "v1"];
    let guarded = PutManifest { protected: protect("v*"), ..push("a", "m", &[], &all) };
    assert_eq!(refused(machine.put(guarded.clone())), Refusal::TagProtected { tag: tag_of("v1") });
    let absent = PutManifest { precondition: Precondition::Absent, ..push("a", "m", &[], &all) };
    assert_eq!(
        refused(machine.put(absent)),
        Refusal::PreconditionFailed { tag: tag_of("free"), found: Some(digest("old")) }
    );
    assert_eq!(machine.tag("a", "new"), None);
    assert_eq!(machine.tag("a", "free"), Some((1, digest("old"))));
    assert_eq!(query::manifest(&machine.kv, &name("a"), &digest("m")).unwrap(), None);
    // The same content again is no move.
    let again = PutManifest { digest: digest("old"), ..guarded };
    assert_eq!(machine.put(again), Outcome::Done);
    assert_eq!(machine.tag("a", "v1"), Some((4, digest("old"))));
}

#[test]
fn if_match_is_a_compare_and_swap() {
    let mut machine = Machine::default();
    let swap = |from: &[&str], to: &str| PutManifest {
        precondition: Precondition::PointsTo(from.iter().map(|one| digest(one)).collect()),
        ..push("a", to, &[], &["t"])
    };
    assert!(matches!(
        refused(machine.put(swap(&["one"], "two"))),
        Refusal::PreconditionFailed { found: None, .. }
    ));
    machine.put(push("a", "one", &[], &["t"]));
    assert_eq!(machine.put(swap(&["x", "one"], "two")), Outcome::Done);
    assert!(matches!(
        refused(machine.put(swap(&["x", "one"], "three"))),
        Refusal::PreconditionFailed { found: Some(_), .. }
    ));
    assert_eq!(machine.tag("a", "t"), Some((3, digest("two"))));
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_no_others() {
    let mut machine = Machine::default();
    machine.put(push("a", "m", &[], &["t1", "v1"]));
    machine.put(push("a", "other", &[], &["t2"]));
    machine.put(push("a-b", "m", &[], &["t1"]));
    assert_eq!(
        refused(machine.delete("a", "m", protect("v*"))),
        Refusal::TagProtected { tag: tag_of("v1") }
    );
    assert_eq!(machine.tag("a", "t1"), Some((1, digest("m"))));
    assert_eq!(machine.delete("a", "m", protect("x*")), Outcome::Done);
    assert_eq!((machine.tag("a", "t1"), machine.tag("a", "v1")), (None, None));
    assert!(machine.tag("a", "t2").is_some() && machine.tag("a-b", "t1").is_some());
}

#[test]
fn what_is_not_there_is_unknown() {
    let mut machine = Machine::default();
    let (repo, digest) = (name("a"), digest("x"));
    let unlink = || Command::UnlinkBlob { repo: name("a"), digest };
    let untag = || Command::DeleteTag {
        repo: name("a"),
        tag: tag_of("t"),
        precondition: Precondition::Always,
        protected: TagProtection::None,
    };
    let no_repo = Outcome::Refused(Refusal::RepoUnknown { repo: repo.clone() });
    assert_eq!(machine.run(unlink()), no_repo);
    assert_eq!(machine.run(untag()), no_repo);
    assert_eq!(machine.delete("a", "x", TagProtection::None), no_repo);
    machine.run(link("a", "blob"));
    let refusal = refused(machine.run(unlink()));
    assert_eq!(refusal, Refusal::BlobUnknown { repo: repo.clone(), digest });
    let refusal = refused(machine.delete("a", "x", TagProtection::None));
    assert_eq!(refusal, Refusal::ManifestUnknown { repo: repo.clone(), digest });
    assert_eq!(refused(machine.run(untag())), Refusal::TagUnknown { repo, tag: tag_of("t") });
}

#[test]
fn the_same_bytes_under_another_type_replace_the_record() {
    let mut machine = Machine::default();
    machine.run(link("a", "blob"));
    let opaque = PutManifest { media_type: "a/b".into(), ..push("a", "m", &[], &["v1"]) };
    machine.put(opaque.clone());
    let image = push("a", "m", &["blob"], &[]);
    let guarded = PutManifest { protected: protect("v*"), ..image.clone() };
    assert_eq!(refused(machine.put(guarded)), Refusal::TagProtected { tag: tag_of("v1") });
    assert!(!query::referenced(&machine.kv, &digest("blob")).unwrap());
    // From now on collection must keep the blob, since this push was acknowledged.
    assert_eq!(machine.put(image), Outcome::Done);
    assert!(query::referenced(&machine.kv, &digest("blob")).unwrap());
    assert_eq!(machine.put(opaque), Outcome::Done);
    assert!(!query::referenced(&machine.kv, &digest("blob")).unwrap());
}

#[test]
fn an_unlinked_blob_stays_needed_by_its_manifest() {
    let mut machine = Machine::default();
    machine.run(link("a", "blob"));
    machine.put(push("a", "m", &["blob"], &[]));
    machine.run(Command::UnlinkBlob { repo: name("a"), digest: digest("blob") });
    assert_eq!(query::link(&machine.kv, &name("a"), &digest("blob")).unwrap(), None);
    assert_eq!(query::linked_anywhere(&machine.kv, &digest("blob")).unwrap(), None);
    assert!(query::referenced(&machine.kv, &digest("blob")).unwrap());
    let again = refused(machine.put(push("a", "m", &["blob"], &["t"])));
    assert!(matches!(again, Refusal::ManifestBlobUnknown { .. }));
}

#[test]
fn a_corrupt_row_is_an_error_and_not_a_guess() {
    let mut machine = Machine::default();
    machine.put(push("a", "m", &[], &["t"]));
    machine.kv.0.insert(keys::tag(&name("a"), &tag_of("t")), vec![9, 9]);
    let id = RequestId { client: 8, sequence: 1 };
    let request = Request { id, command: Command::PutManifest(push("a", "n", &[], &["t"])) };
    let error = apply(&mut machine.kv, 9, &request).unwrap_err();
    assert!(matches!(error, ApplyError::Corrupt(_)), "{error}");
}
