//! What the blobs of an arc add up to.
//!
//! Two owners of an arc compare two numbers: how many blobs they hold there, and the XOR of a keyed
//! hash of each. Equal sums mean equal sets. A sum follows a change at once: a blob that comes and one
//! that goes are the same XOR. Keyed, so that nobody can choose blobs whose hashes cancel out.
//!
//! The sums are in memory only; at a start they are made anew from the rows, part by part. Until that
//! is through they are not told: a sum of half the rows would look like missing blobs.

use atoll_core::{Digest, ring::Position};
use sha2::{Digest as _, Sha256};

/// Number of arcs: the points of the largest ring. A ring with fewer points has arcs that are whole
/// runs of these.
pub const ARCS: usize = 1 << 16;

/// What tells two clusters' sums apart.
pub type SumKey = [u8; 16];

/// The blobs of an arc, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArcSum {
    /// How many there are.
    pub count: u64,
    /// The XOR of their hashes.
    pub xor: u128,
}

impl ArcSum {
    /// The sum of both, which must have no blob in common.
    pub fn with(self, other: ArcSum) -> ArcSum {
        ArcSum { count: self.count.wrapping_add(other.count), xor: self.xor ^ other.xor }
    }
}

/// The arc of a position: arc `i` ends at point `i` of [`ARCS`], which belongs to it.
pub fn arc_of(position: &Position) -> usize {
    let head = usize::from(u16::from_be_bytes([position[0], position[1]]));
    let is_point = position[2..].iter().all(|&byte| byte == 0);
    if is_point { head } else { (head + 1) % ARCS }
}

/// The hash of one blob.
pub(super) fn hash(key: &SumKey, digest: &Digest) -> u128 {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(digest.algorithm().name());
    hash.update(digest.as_bytes());
    hash.finalize().iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

/// A blob that comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub digest: Digest,
    pub comes: bool,
}

/// All sums, and how far they have come.
#[derive(Debug)]
pub(super) struct Sums {
    key: SumKey,
    arcs: Vec<ArcSum>,
    seen: Seen,
}

/// Which rows are in the sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// None.
    None,
    /// Those up to this key.
    UpTo(Vec<u8>),
    /// All.
    All,
}

impl Sums {
    pub fn new(key: SumKey) -> Sums {
        Sums { key, arcs: vec![ArcSum::default(); ARCS], seen: Seen::None }
    }

    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Takes changes of rows in; those of rows that will yet be seen are left to that.
    pub fn change(&mut self, changes: &[Change]) {
        for change in changes {
            let is_seen = match &self.seen {
                Seen::None => false,
                Seen::UpTo(last) => super::row::key(&change.digest) <= *last,
                Seen::All => true,
            };
            if is_seen {
                self.add(change);
            }
        }
    }

    /// Takes the next rows in, up to the key `last`, or all that are left.
    pub fn see(&mut self, rows: &[Digest], last: Option<Vec<u8>>) {
        rows.iter().for_each(|digest| self.add(&Change { digest: *digest, comes: true }));
        self.seen = last.map_or(Seen::All, Seen::UpTo);
    }

    fn add(&mut self, change: &Change) {
        let arc = &mut self.arcs[arc_of(&atoll_core::ring::position(&change.digest))];
        arc.xor ^= hash(&self.key, &change.digest);
        let one = if change.comes { 1 } else { u64::MAX };
        arc.count = arc.count.wrapping_add(one);
    }

    /// The sums of arcs; none until all rows were seen.
    pub fn of(&self, arcs: impl Iterator<Item = usize>) -> Option<Vec<ArcSum>> {
        (self.seen == Seen::All).then(|| arcs.map(|arc| self.arcs[arc % ARCS]).collect())
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::{
        Algorithm,
        ring::{NodeId, Points, Ring},
    };

    use super::*;

    #[test]
    fn an_arc_is_what_the_ring_says() {
        let zones = [(NodeId(1), String::new())].into();
        let ring = Ring::new(Points::Assigned { owners: vec![NodeId(1); ARCS] }, zones);
        for content in 0..1_000_u32 {
            let digest = Digest::of(Algorithm::Sha256, &content.to_le_bytes());
            let position = atoll_core::ring::position(&digest);
            assert_eq!(arc_of(&position), ring.point_at(&position));
        }
        let mut point = [0; 32];
        point[1] = 7;
        assert_eq!(arc_of(&point), 7);
        point[31] = 1;
        assert_eq!(arc_of(&point), 8);
        assert_eq!(arc_of(&[u8::MAX; 32]), 0);
        assert_eq!(arc_of(&[0; 32]), 0);
    }

    #[test]
    fn sums_know_sets_and_not_orders() {
        let blobs: Vec<Digest> =
            (0..50_u8).map(|number| Digest::of(Algorithm::Sha256, &[number])).collect();
        let arcs = || 0..ARCS;
        let mut one = Sums::new([1; 16]);
        one.see(&blobs, None);
        let mut other = Sums::new([1; 16]);
        other.see(&[], None);
        let came = |digest: &Digest| Change { digest: *digest, comes: true };
        let went = |digest: &Digest| Change { digest: *digest, comes: false };
        let changes: Vec<Change> = blobs.iter().rev().map(came).collect();
        other.change(&changes);
        assert_eq!(one.of(arcs()), other.of(arcs()));
        other.change(&[went(&blobs[7])]);
        assert_ne!(one.of(arcs()), other.of(arcs()));
        one.change(&blobs.iter().map(went).collect::<Vec<_>>());
        assert_eq!(one.of(arcs()), Some(vec![ArcSum::default(); ARCS]));
        assert_ne!(hash(&[1; 16], &blobs[0]), hash(&[2; 16], &blobs[0]));
    }

    #[test]
    fn nothing_is_told_before_all_was_seen() {
        let mut blobs: Vec<Digest> =
            (0..4_u8).map(|number| Digest::of(Algorithm::Sha256, &[number])).collect();
        blobs.sort_by_key(super::super::row::key);
        let mut sums = Sums::new([0; 16]);
        sums.see(&blobs[..2], Some(super::super::row::key(&blobs[1])));
        assert_eq!(sums.of(0..1), None);
        // One that was seen goes, one that will be seen goes: the rows will not have it.
        let went = |digest: &Digest| Change { digest: *digest, comes: false };
        sums.change(&[went(&blobs[0]), went(&blobs[3])]);
        sums.see(&blobs[2..3], None);
        let total = sums.of(0..ARCS).unwrap().into_iter().fold(ArcSum::default(), ArcSum::with);
        let xor = hash(&[0; 16], &blobs[1]) ^ hash(&[0; 16], &blobs[2]);
        assert_eq!(total, ArcSum { count: 2, xor });
    }
}
