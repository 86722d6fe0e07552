//! Random histories: the machine and the model give the same answers, and end in the same rows.

use proptest::{collection::vec, prelude::*, sample};

use super::{model::Model, *};
use crate::metadata::query::{Page, ReferrersPage};

/// Names that are prefixes of each other, where a careless key would mix them up.
const REPOS: [&str; 3] = ["a", "a-b", "a/b"];
const BLOBS: [&str; 4] = ["b0", "b1", "b2", "b3"];
const MANIFESTS: [&str; 4] = ["m0", "m1", "m2", "m3"];
const TAGS: [&str; 4] = ["latest", "v1", "v1.0", "v2"];

/// The group's epoch at the moment the command is sent.
const NOW: GcEpoch = GcEpoch(u64::MAX);
/// The epoch before that.
const BEFORE: GcEpoch = GcEpoch(u64::MAX - 1);

fn epoch() -> impl Strategy<Value = GcEpoch> {
    prop_oneof![8 => Just(NOW), 1 => Just(BEFORE), 1 => Just(GcEpoch(0))]
}

#[derive(Clone, Debug)]
enum Step {
    New(Box<Command>),
    /// Sends an earlier request again.
    Retry(sample::Index),
}

fn content(of: &'static [&'static str]) -> impl Strategy<Value = Digest> {
    sample::select(of).prop_map(digest)
}

fn repo() -> impl Strategy<Value = RepoName> {
    sample::select(&REPOS[..]).prop_map(name)
}

fn tag() -> impl Strategy<Value = Tag> {
    sample::select(&TAGS[..]).prop_map(tag_of)
}

fn precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        6 => Just(Precondition::Always),
        1 => Just(Precondition::Exists),
        1 => Just(Precondition::Absent),
        1 => vec(content(&MANIFESTS), 0..3).prop_map(Precondition::PointsTo),
    ]
}

fn protection() -> impl Strategy<Value = TagProtection> {
    prop_oneof![4 => Just(TagProtection::None), 1 => Just(protect("v1*"))]
}

/// The content of a manifest follows from its digest, but for its media type.
fn document(which: &str, repo: &str, opaque: bool) -> PutManifest {
    let some = |names: &[&str]| names.iter().map(|name| digest(name)).collect::<Vec<_>>();
    let (blobs, foreign, children, subject) = match which {
        "m0" => (some(&["b0", "b1"]), vec![], vec![], None),
        "m1" => (some(&["b1", "b2"]), some(&["b3"]), vec![], Some("m0")),
        "m2" => (vec![], vec![], some(&["m0", "m1", "m9"]), Some("m8")),
        _ => (some(&["b0"]), vec![], vec![], Some("m0")),
    };
    let plain = push(repo, which, &[], &[]);
    if opaque {
        return PutManifest { media_type: "a/b".into(), ..plain };
    }
    PutManifest {
        blobs,
        foreign_blobs: foreign,
        children,
        subject: subject.map(digest),
        artifact_type: (which == "m3").then(|| "application/vnd.sbom".to_owned()),
        annotations: [("of".to_owned(), which.to_owned())].into(),
        ..plain
    }
}

prop_compose! {
    fn manifest_push()(
        which in sample::select(&MANIFESTS[..]),
        repo in sample::select(&REPOS[..]),
        opaque in prop::bool::weighted(0.1),
        tags in vec(tag(), 0..4),
        precondition in precondition(),
        protected in protection(),
        vg in epoch(),
    ) -> Command {
        let document = document(which, repo, opaque);
        Command::PutManifest(PutManifest { tags, precondition, protected, vg, ..document })
    }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        5 => (repo(), content(&BLOBS), 0..3_u64, epoch())
            .prop_map(|(repo, digest, size, vg)| Command::LinkBlob { repo, digest, size, vg }),
        1 => (repo(), content(&BLOBS))
            .prop_map(|(repo, digest)| Command::UnlinkBlob { repo, digest }),
        5 => manifest_push(),
        2 => (repo(), content(&MANIFESTS), protection()).prop_map(|(repo, digest, protected)| {
            Command::DeleteManifest { repo, digest, protected }
        }),
        1 => (repo(), tag(), precondition(), protection()).prop_map(
            |(repo, tag, precondition, protected)| {
                Command::DeleteTag { repo, tag, precondition, protected }
            }
        ),
        1 => (epoch(), garbage()).prop_map(|(e, digests)| Command::Condemn { e, digests }),
        1 => (epoch(), garbage()).prop_map(|(e, digests)| Command::CondemnAbort { e, digests }),
        1 => (epoch(), garbage()).prop_map(|(e, digests)| Command::CondemnFinish { e, digests }),
    ]
}

fn garbage() -> impl Strategy<Value = Vec<Digest>> {
    vec(prop_oneof![content(&BLOBS), content(&MANIFESTS)], 0..6)
}

/// Puts the real epoch where a command says [`NOW`] or [`BEFORE`].
fn at_epoch(mut command: Command, now: GcEpoch) -> Command {
    let before = GcEpoch(now.0.saturating_sub(1));
    let real = |asked: &mut GcEpoch, now: GcEpoch| match *asked {
        NOW => *asked = now,
        BEFORE => *asked = before,
        _ => {}
    };
    match &mut command {
        Command::PutManifest(push) => real(&mut push.vg, now),
        Command::LinkBlob { vg, .. } => real(vg, now),
        Command::Condemn { e, .. } => real(e, now.next()),
        Command::CondemnAbort { e, .. } | Command::CondemnFinish { e, .. } => real(e, now),
        _ => {}
    }
    command
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => command().prop_map(|command| Step::New(Box::new(command))),
        1 => any::<sample::Index>().prop_map(Step::Retry),
    ];
    vec(step, 1..80)
}

/// Both sides of a run.
#[derive(Default)]
struct Run {
    kv: MemoryKv,
    model: Model,
    index: u64,
    sent: Vec<Request>,
}

impl Run {
    fn step(&mut self, step: Step) {
        let request = match step {
            Step::Retry(which) if !self.sent.is_empty() => which.get(&self.sent).clone(),
            Step::Retry(_) => return,
            Step::New(command) => self.request(*command),
        };
        self.send(&request);
    }

    fn request(&mut self, command: Command) -> Request {
        let command = at_epoch(command, self.model.epoch);
        let sequence = self.sent.len() as u64 / 2;
        let id = RequestId { client: self.sent.len() as u128 % 2, sequence };
        self.sent.push(Request { id, command });
        self.sent[self.sent.len() - 1].clone()
    }

    fn send(&mut self, request: &Request) {
        self.index += 1;
        let expected = self.model.apply(self.index, request);
        assert_eq!(apply(&mut self.kv, self.index, request).unwrap(), expected, "{request:?}");
        assert_eq!(self.rows(), self.model.rows(), "after {request:?}");
    }

    fn rows(&self) -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let remembers = |key: &[u8]| matches!(key[0], b'D' | b'A' | b'C' | b'N');
        let rows = self.kv.0.iter().filter(|(key, _)| !remembers(key));
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn delete_everything(&mut self) {
        let epochs: std::collections::BTreeSet<_> =
            self.model.condemned.values().copied().collect();
        for e in epochs {
            let digests = self.model.condemned.keys().copied().collect();
            self.step(Step::New(Box::new(Command::CondemnAbort { e, digests })));
        }
        for (repo, content) in self.model.clone().repos {
            for digest in content.manifests.into_keys() {
                let (repo, protected) = (repo.clone(), TagProtection::None);
                self.step(Step::New(Box::new(Command::DeleteManifest { repo, digest, protected })));
            }
            for digest in content.links.into_keys() {
                let repo = repo.clone();
                self.step(Step::New(Box::new(Command::UnlinkBlob { repo, digest })));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_history_ends_in_the_rows_of_the_model(history in history()) {
        let mut run = Run::default();
        history.into_iter().for_each(|step| run.step(step));
        run.delete_everything();
        let mut rows = run.rows();
        rows.remove(&keys::gc());
        prop_assert_eq!(rows, Default::default());
        let requests = run.sent.len();
        let gc = usize::from(run.model.epoch > GcEpoch(0));
        let place = usize::from(requests > 0);
        let rows = 2 * requests + gc + place;
        prop_assert_eq!(run.kv.0.len(), rows, "one answer and one age each");
    }

    #[test]
    fn every_question_is_answered_as_the_model_would(
        history in history(), after in "[a-z/-]{0,3}|v1|v1\\.", limit in 0..5_usize,
    ) {
        let mut run = Run::default();
        history.into_iter().for_each(|step| run.step(step));
        ask_everything(&run.kv, &run.model, &after, limit);
    }
}

fn ask_everything(kv: &MemoryKv, model: &Model, after: &str, limit: usize) {
    let names: Vec<_> = model.repos.keys().cloned().collect();
    let page = query::repos_page(kv, Some(after), limit).unwrap();
    assert_eq!(page, page_of(&names, RepoName::as_str, Some(after), limit));
    for content in BLOBS.iter().chain(&MANIFESTS) {
        let digest = digest(content);
        let holders = model.holders(&digest);
        let anywhere = query::linked_anywhere(kv, &digest).unwrap();
        assert_eq!(anywhere.is_some(), !holders.is_empty());
        let page = query::linking_repos_page(kv, &digest, None, limit).unwrap();
        assert_eq!(page, page_of(&holders, RepoName::as_str, None, limit));
        assert_eq!(query::refcount(kv, &digest).unwrap(), model.refcount(&digest));
        assert_eq!(query::referenced(kv, &digest).unwrap(), model.refcount(&digest) > 0);
        let condemned = model.condemned.get(&digest).copied();
        assert_eq!(query::condemned(kv, &digest).unwrap(), condemned);
        assert!(condemned.is_none() || model.refcount(&digest) == 0, "condemned and needed");
    }
    let marks = query::marks(kv).unwrap();
    assert_eq!((marks.epoch, &marks.condemned), (model.epoch, &model.condemned));
    assert_eq!(query::gc_epoch(kv).unwrap(), model.epoch);
    assert_eq!(all_unreferenced(kv, limit.max(1)), unreferenced(model));
    for repo in REPOS.map(name) {
        assert_eq!(query::repo_exists(kv, &repo).unwrap(), model.repos.contains_key(&repo));
        let content = model.repos.get(&repo).cloned().unwrap_or_default();
        ask_repo(kv, model, &repo, &content, after, limit);
    }
}

fn unreferenced(model: &Model) -> Vec<Digest> {
    let linked: std::collections::BTreeSet<_> =
        model.repos.values().flat_map(|repo| repo.links.keys().copied()).collect();
    let garbage =
        |digest: &Digest| model.refcount(digest) == 0 && !model.condemned.contains_key(digest);
    linked.into_iter().filter(garbage).collect()
}

fn all_unreferenced(kv: &MemoryKv, limit: usize) -> Vec<Digest> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = query::unreferenced(kv, after.as_ref(), limit).unwrap();
        assert!(page.blobs.len() <= limit);
        found.extend(page.blobs.into_iter().map(|(digest, _)| digest));
        after = page.cursor;
        if after.is_none() {
            return found;
        }
    }
}

fn ask_repo(
    kv: &MemoryKv,
    model: &Model,
    repo: &RepoName,
    content: &model::Repo,
    after: &str,
    limit: usize,
) {
    for blob in BLOBS.map(digest) {
        let link = query::link(kv, repo, &blob).unwrap().map(|link| link.size);
        let visible = !model.condemned.contains_key(&blob);
        assert_eq!(link.as_ref(), content.links.get(&blob).filter(|_| visible));
    }
    for tag in TAGS.map(tag_of) {
        assert_eq!(query::tag(kv, repo, &tag).unwrap().as_ref(), content.tags.get(&tag));
    }
    let tags: Vec<_> = content.tags.keys().cloned().collect();
    for after in [None, Some(after), Some("")] {
        let page = query::tags_page(kv, repo, after, limit).unwrap();
        assert_eq!(page, page_of(&tags, Tag::as_str, after, limit));
    }
    for manifest in MANIFESTS.map(digest) {
        let found = query::manifest(kv, repo, &manifest).unwrap();
        assert_eq!(found.as_ref(), content.manifests.get(&manifest));
        for artifact_type in [None, Some("application/vnd.sbom"), Some("no")] {
            let expected: Vec<_> = content
                .manifests
                .iter()
                .filter(|(_, record)| record.subject == Some(manifest))
                .filter(|(_, record)| {
                    artifact_type.is_none() || record.artifact_type.as_deref() == artifact_type
                })
                .map(|(digest, record)| (*digest, record.annotations.clone()))
                .collect();
            assert_eq!(all_referrers(kv, repo, &manifest, artifact_type), expected);
        }
    }
}

/// Page by page, one at a time.
fn all_referrers(
    kv: &MemoryKv,
    repo: &RepoName,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Vec<(Digest, std::collections::BTreeMap<String, String>)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = query::referrers_page(kv, repo, subject, artifact_type, after.as_ref(), 1);
        let ReferrersPage { items, more, cursor } = page.unwrap();
        found.extend(items.into_iter().map(|item| (item.digest, item.annotations)));
        assert_eq!(more, cursor.is_some());
        if !more {
            return found;
        }
        after = cursor;
    }
}

fn page_of<T: Clone>(
    all: &[T],
    text: impl Fn(&T) -> &str,
    after: Option<&str>,
    limit: usize,
) -> Page<T> {
    let rest: Vec<_> =
        all.iter().filter(|item| after.is_none_or(|after| text(item) > after)).cloned().collect();
    let items: Vec<_> = rest.iter().take(limit).cloned().collect();
    Page { more: limit > 0 && rest.len() > items.len(), items }
}
