//! What the cache holds and what has to go: the least recently used first.
//!
//! Pure: it knows digests, sizes and an order, and answers which files to remove. Room is made
//! before a byte is written, and room that is being written into counts like content, so the files
//! of the cache never take more than the bound, not even for a moment.
//!
//! Why not a policy with frequencies: a host pulls an image once and starts it often; what was not
//! asked for the longest is the image that was replaced.

use std::collections::{BTreeMap, BTreeSet};

use atoll_core::Digest;

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u64,
    /// When it was used last, in uses of the whole index.
    used: u64,
    /// Were its bytes compared with the digest since the agent started?
    verified: bool,
}

/// Contents and room, in bytes.
#[derive(Debug)]
pub struct Index {
    bytes_max: u64,
    /// Of all entries.
    held: u64,
    /// Room taken for content that is being written.
    reserved: u64,
    uses: u64,
    entries: BTreeMap<Digest, Entry>,
    /// The entries by their last use.
    order: BTreeSet<(u64, Digest)>,
}

impl Index {
    /// An empty one that holds at most `bytes_max`.
    pub fn new(bytes_max: u64) -> Index {
        let (entries, order) = (BTreeMap::new(), BTreeSet::new());
        Index { bytes_max, held: 0, reserved: 0, uses: 0, entries, order }
    }

    /// Bytes of all content, and how many contents.
    pub fn held(&self) -> (u64, usize) {
        (self.held, self.entries.len())
    }

    /// The bound in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Makes room for content of `bytes` that is about to be written; answers what must be removed
    /// first. `None` when it cannot fit beside what is being written already.
    pub fn reserve(&mut self, bytes: u64) -> Option<Vec<Digest>> {
        let wanted = self.reserved.checked_add(bytes).filter(|wanted| *wanted <= self.bytes_max)?;
        self.reserved = wanted;
        Some(self.evict())
    }

    /// Gives room back that was reserved.
    pub fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Takes up content; answers what must be removed for it, perhaps itself. What it took the
    /// place of by the same name is the same content.
    pub fn insert(&mut self, digest: Digest, bytes: u64, verified: bool) -> Vec<Digest> {
        self.remove(&digest);
        self.uses += 1;
        self.entries.insert(digest, Entry { bytes, used: self.uses, verified });
        self.order.insert((self.uses, digest));
        self.held += bytes;
        self.evict()
    }

    /// Notes a use; answers the size and whether the content was verified.
    pub fn touch(&mut self, digest: &Digest) -> Option<(u64, bool)> {
        let entry = self.entries.get_mut(digest)?;
        self.uses += 1;
        self.order.remove(&(entry.used, *digest));
        entry.used = self.uses;
        self.order.insert((entry.used, *digest));
        Some((entry.bytes, entry.verified))
    }

    /// Notes that the content is what its name says.
    pub fn set_verified(&mut self, digest: &Digest) {
        if let Some(entry) = self.entries.get_mut(digest) {
            entry.verified = true;
        }
    }

    /// Forgets content; answers whether it was there.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        let Some(entry) = self.entries.remove(digest) else { return false };
        self.order.remove(&(entry.used, *digest));
        self.held -= entry.bytes;
        true
    }

    fn evict(&mut self) -> Vec<Digest> {
        let mut evicted = Vec::new();
        while self.held + self.reserved > self.bytes_max {
            let Some((_, oldest)) = self.order.first().copied() else { break };
            self.remove(&oldest);
            evicted.push(oldest);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use atoll_core::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[number])
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut index = Index::new(30);
        for number in 1..=3 {
            assert_eq!(index.insert(digest(number), 10, true), []);
        }
        assert_eq!(index.touch(&digest(1)), Some((10, true)));
        assert_eq!(index.insert(digest(4), 15, true), [digest(2), digest(3)]);
        assert_eq!(index.held(), (25, 2));
        assert_eq!(index.reserve(15), Some(vec![digest(1)]), "what is written counts");
        assert_eq!(index.reserve(16), None, "not beside what is being written");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u64),
        Touch(u8),
        Remove(u8),
        Reserve(u64),
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..20, 0_u64..60).prop_map(|(of, bytes)| Step::Insert(of, bytes)),
            (0_u8..20).prop_map(Step::Touch),
            (0_u8..20).prop_map(Step::Remove),
            (0_u64..120).prop_map(Step::Reserve),
            Just(Step::Release),
        ]
    }

    proptest! {
        /// Against the plainest model: a list in the order of use.
        #[test]
        fn behaves_as_a_list_in_the_order_of_use(steps in prop::collection::vec(step(), 0..80)) {
            let mut index = Index::new(100);
            let mut list: Vec<(Digest, u64)> = Vec::new();
            let mut rooms: Vec<u64> = Vec::new();
            for step in steps {
                let gone = match step {
                    Step::Insert(of, bytes) => {
                        list.retain(|(digest, _)| *digest != self::digest(of));
                        list.push((digest(of), bytes));
                        index.insert(digest(of), bytes, true)
                    }
                    Step::Touch(of) => {
                        let at = list.iter().position(|(each, _)| *each == digest(of));
                        let found = at.map(|at| list.remove(at));
                        list.extend(found);
                        prop_assert_eq!(index.touch(&digest(of)), found.map(|(_, bytes)| (bytes, true)));
                        Vec::new()
                    }
                    Step::Remove(of) => {
                        let before = list.len();
                        list.retain(|(each, _)| *each != digest(of));
                        prop_assert_eq!(index.remove(&digest(of)), list.len() < before);
                        Vec::new()
                    }
                    Step::Reserve(bytes) => {
                        let fits = rooms.iter().sum::<u64>() + bytes <= 100;
                        let gone = index.reserve(bytes);
                        prop_assert_eq!(gone.is_some(), fits);
                        rooms.extend(fits.then_some(bytes));
                        gone.unwrap_or_default()
                    }
                    Step::Release => {
                        index.release(rooms.pop().unwrap_or(0));
                        Vec::new()
                    }
                };
                let mut expected = Vec::new();
                let room: u64 = rooms.iter().sum();
                while list.iter().map(|(_, bytes)| bytes).sum::<u64>() + room > 100 {
                    expected.push(list.remove(0).0);
                }
                prop_assert_eq!(gone, expected);
                let bytes = list.iter().map(|(_, bytes)| bytes).sum::<u64>();
                prop_assert_eq!(index.held(), (bytes, list.len()));
            }
        }
    }
}
