//! Pages at their edges. That they list the right things is tested with the commands.

use std::{cell::Cell, collections::BTreeMap, convert::Infallible, ops::Bound};

use super::*;
use crate::{
    Algorithm,
    metadata::{Kv, MemoryKv, record::ReferrerRecord},
};

fn digest(number: usize) -> Digest {
    Digest::of(Algorithm::Sha256, &number.to_be_bytes())
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

/// Counts what is read of it.
struct Counting {
    kv: MemoryKv,
    reads: Cell<usize>,
}

impl KvRead for Counting {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        self.reads.set(self.reads.get() + 1);
        self.kv.get(key)
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Infallible> {
        self.kv.scan(from, to, &mut |key, value| {
            self.reads.set(self.reads.get() + 1);
            visit(key, value)
        })
    }
}

impl Counting {
    fn cost<T>(&self, ask: impl FnOnce(&Self) -> T) -> (T, usize) {
        self.reads.set(0);
        let answer = ask(self);
        (answer, self.reads.get())
    }
}

fn with_tags(count: usize) -> Counting {
    let mut kv = MemoryKv::default();
    for repo in ["a", "a-b", "a/b"] {
        for number in 0..count {
            let tag: Tag = format!("t{number:06}").parse().unwrap();
            let record = TagRecord { digest: digest(number), version: 1 };
            kv.put(&keys::tag(&name(repo), &tag), &record.encode()).unwrap();
        }
    }
    Counting { kv, reads: Cell::new(0) }
}

#[test]
fn a_page_costs_what_it_holds() {
    let kv = with_tags(5_000);
    let repo = name("a");
    let (page, reads) = kv.cost(|kv| tags_page(kv, &repo, Some("t002500"), 10).unwrap());
    assert_eq!((page.items.len(), page.more), (10, true));
    assert_eq!(page.items[0].as_str(), "t002501");
    assert!(reads <= 11, "{reads}");
    let (page, reads) = kv.cost(|kv| tags_page(kv, &repo, Some("t004989"), 10).unwrap());
    assert_eq!((page.items.len(), page.more), (10, false));
    assert!(reads <= 11, "{reads}");
}

#[test]
fn a_page_may_start_after_anything() {
    let kv = with_tags(3);
    let count = |after: &str| {
        let page = tags_page(&kv, &name("a"), Some(after), 10).unwrap();
        assert!(!page.more);
        page.items.len()
    };
    let long = "t".repeat(10_000);
    for (after, expected) in [
        ("", 3),
        ("\0", 3),
        ("t", 3),
        ("t000000", 2),
        ("t000000\0", 2),
        ("t0000009", 2),
        ("t000002", 0),
        ("\u{10ffff}", 0),
        (long.as_str(), 0),
    ] {
        assert_eq!(count(after), expected, "{after:?}");
    }
    assert_eq!(
        tags_page(&kv, &name("a"), None, 0).unwrap(),
        Page { items: Vec::new(), more: false }
    );
    assert_eq!(tags_page(&kv, &name("a"), None, usize::MAX).unwrap().items.len(), 3);
}

fn with_referrers(types: impl IntoIterator<Item = (Option<&'static str>, usize)>) -> Counting {
    let mut kv = MemoryKv::default();
    let (repo, subject) = (name("a"), digest(usize::MAX));
    let mut digests: Vec<_> = Vec::new();
    for (number, (artifact_type, note_bytes)) in types.into_iter().enumerate() {
        // Digests in the order of their numbers.
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let digest = Digest::from_bytes(Algorithm::Sha256, &hash).unwrap();
        digests.push(digest);
        let artifact_type = artifact_type.map(str::to_owned);
        let record = ManifestRecord {
            media_type: "a/b".to_owned(),
            size: number as u64,
            blobs: Vec::new(),
            foreign_blobs: Vec::new(),
            children: Vec::new(),
            subject: Some(subject),
            artifact_type: artifact_type.clone(),
            annotations: BTreeMap::from([("note".to_owned(), "x".repeat(note_bytes))]),
        };
        kv.put(&keys::manifest(&repo, &digest), &record.encode()).unwrap();
        let row = ReferrerRecord { artifact_type };
        kv.put(&keys::referrer(&repo, &subject, &digest), &row.encode()).unwrap();
    }
    Counting { kv, reads: Cell::new(0) }
}

fn referrers(
    kv: &Counting,
    artifact_type: Option<&str>,
    after: Option<&Digest>,
    limit: usize,
) -> ReferrersPage {
    referrers_page(kv, &name("a"), &digest(usize::MAX), artifact_type, after, limit).unwrap()
}

/// One signature among more other referrers than a page looks at.
#[test]
fn a_rare_type_in_a_long_listing_costs_bounded_pages() {
    let mut types = vec![(Some("common/x"), 0); REFERRERS_SCANNED_MAX + 5];
    types.push((Some("rare/x"), 0));
    let kv = with_referrers(types);
    let (page, reads) = kv.cost(|kv| referrers(kv, Some("rare/x"), None, 10));
    assert_eq!((page.items.len(), page.more), (0, true));
    assert!(reads <= REFERRERS_SCANNED_MAX + 1, "{reads}");
    let (page, reads) = kv.cost(|kv| referrers(kv, Some("rare/x"), page.cursor.as_ref(), 10));
    assert_eq!((page.items.len(), page.more, page.cursor), (1, false, None));
    assert_eq!(page.items[0].artifact_type.as_deref(), Some("rare/x"));
    assert!(reads <= 10, "{reads}");
}

#[test]
fn a_page_of_referrers_ends_at_its_limit() {
    let kv = with_referrers(vec![(None, 0); 5]);
    let page = referrers(&kv, None, None, 2);
    assert_eq!((page.items.len(), page.more), (2, true));
    assert_eq!(page.cursor, Some(page.items[1].digest));
    let page = referrers(&kv, None, page.cursor.as_ref(), 3);
    assert_eq!((page.items.len(), page.more, page.cursor), (3, false, None));
    assert_eq!(page.items[2].size, 4);
    let page = referrers(&kv, None, None, 0);
    assert_eq!((page.items.len(), page.more), (0, false));
}

#[test]
fn a_page_of_referrers_ends_when_it_is_long() {
    let kv = with_referrers(vec![(None, REFERRERS_PAGE_BYTES_MAX / 2); 5]);
    let mut after = None;
    let mut sizes = Vec::new();
    loop {
        let page = referrers(&kv, None, after.as_ref(), 100);
        sizes.extend(page.items.iter().map(|item| item.size));
        assert!(page.items.len() <= 2);
        after = page.cursor;
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes, [0, 1, 2, 3, 4]);
    // A referrer longer than a page is a page of its own.
    let kv = with_referrers(vec![(None, 2 * REFERRERS_PAGE_BYTES_MAX); 2]);
    assert_eq!(referrers(&kv, None, None, 100).items.len(), 1);
}

#[test]
fn a_row_that_points_to_nothing_is_corrupt() {
    let mut kv = with_referrers(vec![(None, 0)]);
    let key = kv.kv.0.keys().find(|key| key[0] == b'M').unwrap().clone();
    kv.kv.delete(&key).unwrap();
    let answer = referrers_page(&kv, &name("a"), &digest(usize::MAX), None, None, 1);
    let missing = CorruptRecord { kind: ManifestRecord::KIND, reason: CorruptReason::Missing };
    assert_eq!(answer, Err(QueryError::Corrupt(missing)));
}

#[test]
fn a_key_that_is_no_name_is_corrupt() {
    let mut kv = MemoryKv::default();
    kv.put(&[keys::tags_of(&name("a")), b"no tag!".to_vec()].concat(), &[]).unwrap();
    assert_eq!(tags_page(&kv, &name("a"), None, 1), Err(corrupt_key("tag").into()));
}
