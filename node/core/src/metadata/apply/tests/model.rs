//! The reference: repositories as plain maps, and the rows they must be stored as.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::metadata::record::{
    CondemnedRecord, GcRecord, ManifestRecord, ReferrerRecord, RepoRecord, TagRecord,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub epoch: GcEpoch,
    pub condemned: BTreeMap<Digest, GcEpoch>,
    pub repos: BTreeMap<RepoName, Repo>,
    answers: BTreeMap<RequestId, Outcome>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Repo {
    since: u64,
    pub links: BTreeMap<Digest, u64>,
    pub manifests: BTreeMap<Digest, ManifestRecord>,
    pub tags: BTreeMap<Tag, TagRecord>,
}

impl Model {
    pub fn apply(&mut self, index: u64, request: &Request) -> Outcome {
        if let Some(answer) = self.answers.get(&request.id) {
            return answer.clone();
        }
        let mut next = self.clone();
        let outcome = match next.change(index, &request.command) {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Refused(refusal),
        };
        if outcome == Outcome::Done {
            next.repos.retain(|_, repo| !repo.links.is_empty() || !repo.manifests.is_empty());
            (self.epoch, self.condemned, self.repos) = (next.epoch, next.condemned, next.repos);
        }
        self.answers.insert(request.id, outcome.clone());
        outcome
    }

    fn change(&mut self, index: u64, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::LinkBlob { repo, digest, size, vg } => {
                self.verify(*vg, &[*digest].into())?;
                self.create(index, repo).links.insert(*digest, *size);
            }
            Command::UnlinkBlob { repo, digest } => {
                let unknown = Refusal::BlobUnknown { repo: repo.clone(), digest: *digest };
                let is_condemned = self.condemned.contains_key(digest);
                let found = self.known(repo)?;
                if is_condemned {
                    return Err(unknown);
                }
                found.links.remove(digest).ok_or(unknown)?;
            }
            Command::PutManifest(push) => self.put(index, push)?,
            Command::DeleteManifest { repo, digest, protected } => {
                let unknown = Refusal::ManifestUnknown { repo: repo.clone(), digest: *digest };
                let found = self.known(repo)?;
                found.manifests.remove(digest).ok_or(unknown)?;
                found.refuse_protected(digest, protected)?;
                found.tags.retain(|_, record| record.digest != *digest);
            }
            Command::DeleteTag { repo, tag, precondition, protected } => {
                let unknown = Refusal::TagUnknown { repo: repo.clone(), tag: tag.clone() };
                let found = self.known(repo)?;
                let record = found.tags.remove(tag).ok_or(unknown)?;
                check(tag, Some(record.digest), precondition)?;
                if protected.covers(tag) {
                    return Err(Refusal::TagProtected { tag: tag.clone() });
                }
            }
            Command::Condemn { e, digests } => {
                if *e <= self.epoch {
                    return Err(Refusal::GcEpochPassed { epoch: self.epoch });
                }
                self.epoch = *e;
                for digest in digests {
                    if self.refcount(digest) == 0 {
                        self.condemned.entry(*digest).or_insert(*e);
                    }
                }
            }
            Command::CondemnAbort { e, digests } => {
                self.condemned.retain(|digest, mark| mark != e || !digests.contains(digest));
            }
            // Another state machine's.
            Command::Coordinate(_) => {}
            Command::CondemnFinish { e, digests } => {
                for digest in digests.iter().filter(|one| self.condemned.get(one) == Some(e)) {
                    for repo in self.repos.values_mut() {
                        repo.links.remove(digest);
                    }
                }
                self.condemned.retain(|digest, mark| mark != e || !digests.contains(digest));
            }
        }
        Ok(())
    }

    fn verify(&self, vg: GcEpoch, needs: &BTreeSet<Digest>) -> Result<(), Refusal> {
        let is_condemned = needs.iter().any(|digest| self.condemned.contains_key(digest));
        if vg < self.epoch || is_condemned { Err(Refusal::Reverify) } else { Ok(()) }
    }

    /// Where the blob is visible.
    pub fn holders(&self, digest: &Digest) -> Vec<RepoName> {
        let linked = |(name, repo): (&RepoName, &Repo)| {
            repo.links.contains_key(digest).then(|| name.clone())
        };
        let visible = !self.condemned.contains_key(digest);
        self.repos.iter().filter_map(linked).filter(|_| visible).collect()
    }

    fn put(&mut self, index: u64, push: &PutManifest) -> Result<(), Refusal> {
        self.verify(push.vg, &needs(&push.digest, &record(push)))?;
        let repo = self.create(index, &push.repo);
        let missing: Vec<_> =
            push.blobs.iter().filter(|blob| !repo.links.contains_key(blob)).copied().collect();
        if !missing.is_empty() {
            return Err(Refusal::ManifestBlobUnknown { repo: push.repo.clone(), missing });
        }
        for tag in &push.tags {
            let found = repo.tags.get(tag).map(|record| record.digest);
            check(tag, found, &push.precondition)?;
            if found.is_some_and(|found| found != push.digest) && push.protected.covers(tag) {
                return Err(Refusal::TagProtected { tag: tag.clone() });
            }
        }
        let old = repo.manifests.get(&push.digest);
        if old.is_some_and(|old| old.media_type != push.media_type) {
            repo.refuse_protected(&push.digest, &push.protected)?;
        }
        repo.manifests.insert(push.digest, record(push));
        for tag in &push.tags {
            repo.tags.insert(tag.clone(), TagRecord { digest: push.digest, version: index });
        }
        Ok(())
    }

    fn create(&mut self, index: u64, repo: &RepoName) -> &mut Repo {
        self.repos.entry(repo.clone()).or_insert_with(|| Repo { since: index, ..Repo::default() })
    }

    fn known(&mut self, repo: &RepoName) -> Result<&mut Repo, Refusal> {
        self.repos.get_mut(repo).ok_or_else(|| Refusal::RepoUnknown { repo: repo.clone() })
    }

    /// How many manifests need this content.
    pub fn refcount(&self, content: &Digest) -> u64 {
        let manifests = self.repos.values().flat_map(|repo| &repo.manifests);
        manifests.filter(|(digest, record)| needs(digest, record).contains(content)).count() as u64
    }

    /// Every row but the ones that remember requests.
    pub fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows: BTreeMap<_, _> =
            self.repos.iter().flat_map(|(name, repo)| repo.rows(name)).collect();
        if self.epoch > GcEpoch(0) {
            rows.insert(keys::gc(), GcRecord { epoch: self.epoch }.encode());
        }
        for (digest, epoch) in &self.condemned {
            let record = CondemnedRecord { epoch: *epoch };
            rows.insert(keys::condemned(digest), record.encode());
        }
        rows
    }
}

impl Repo {
    fn refuse_protected(&self, digest: &Digest, protected: &TagProtection) -> Result<(), Refusal> {
        let mut pointing = self.tags.iter().filter(|(_, record)| record.digest == *digest);
        match pointing.find(|(tag, _)| protected.covers(tag)) {
            Some((tag, _)) => Err(Refusal::TagProtected { tag: tag.clone() }),
            None => Ok(()),
        }
    }

    fn rows(&self, repo: &RepoName) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = vec![(keys::repo(repo), RepoRecord { since: self.since }.encode())];
        for (digest, size) in &self.links {
            let record = LinkRecord { size: *size }.encode();
            rows.push((keys::link(repo, digest), record.clone()));
            rows.push((keys::holder(digest, repo), record));
        }
        for (tag, record) in &self.tags {
            assert!(self.manifests.contains_key(&record.digest), "{tag} points to nothing");
            rows.push((keys::tag(repo, tag), record.encode()));
            rows.push((keys::pointer(repo, &record.digest, tag), Vec::new()));
        }
        for (digest, record) in &self.manifests {
            rows.push((keys::manifest(repo, digest), record.encode()));
            for content in needs(digest, record) {
                rows.push((keys::reference(&content, repo, digest), Vec::new()));
            }
            if let Some(subject) = &record.subject {
                let row = ReferrerRecord { artifact_type: record.artifact_type.clone() };
                rows.push((keys::referrer(repo, subject, digest), row.encode()));
            }
        }
        rows
    }
}

fn record(push: &PutManifest) -> ManifestRecord {
    let push = push.clone();
    ManifestRecord {
        media_type: push.media_type,
        size: push.size,
        blobs: push.blobs,
        foreign_blobs: push.foreign_blobs,
        children: push.children,
        subject: push.subject,
        artifact_type: push.artifact_type,
        annotations: push.annotations,
    }
}

fn needs(digest: &Digest, record: &ManifestRecord) -> BTreeSet<Digest> {
    let mut needs = BTreeSet::from([*digest]);
    needs.extend(&record.blobs);
    needs.extend(&record.foreign_blobs);
    needs.extend(&record.children);
    needs
}

fn check(tag: &Tag, found: Option<Digest>, precondition: &Precondition) -> Result<(), Refusal> {
    let holds = match (precondition, found) {
        (Precondition::Always, _)
        | (Precondition::Exists, Some(_))
        | (Precondition::Absent, None) => true,
        (Precondition::PointsTo(digests), Some(found)) => digests.contains(&found),
        _ => false,
    };
    let failed = || Refusal::PreconditionFailed { tag: tag.clone(), found };
    if holds { Ok(()) } else { Err(failed()) }
}
