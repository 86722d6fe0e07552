//! One row of the inventory.
//!
//! The key is the blob's place on the ring, then its algorithm, then what is left of a longer hash:
//! rows are in the order of the ring, so a part of it is a range. The value is one version byte, the size
//! and the stamp, both little-endian.

use atoll_core::{
    Algorithm, Digest,
    gc::GcEpoch,
    ring::{Position, position},
};

/// Length of a position in bytes.
const POSITION_BYTES: usize = size_of::<Position>();
/// The version of the value.
const VERSION: u8 = 1;
/// Length of the value in bytes.
const VALUE_BYTES: usize = 17;

/// A blob that is on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Which.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The newest collection epoch that somebody who relied on this copy had seen; the highest number
    /// there is while that is not known.
    pub stamp: GcEpoch,
}

/// The key of a blob.
pub(super) fn key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(POSITION_BYTES + 1 + digest.as_bytes().len());
    key.extend_from_slice(&position(digest));
    key.push(code(digest.algorithm()));
    key.extend_from_slice(&digest.as_bytes()[POSITION_BYTES..]);
    key
}

/// The blob of a key; none when no code of ours wrote it.
pub(super) fn digest(key: &[u8]) -> Option<Digest> {
    let (position, rest) = key.split_at_checked(POSITION_BYTES)?;
    let (&found, rest) = rest.split_first()?;
    let algorithm = Algorithm::ALL.into_iter().find(|&one| code(one) == found)?;
    Digest::from_bytes(algorithm, &[position, rest].concat())
}

/// The first key behind all that are at `position`; none behind the last.
pub(super) fn behind(position: &Position) -> Option<Vec<u8>> {
    let last = position.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut key = position[..=last].to_vec();
    key[last] += 1;
    key.resize(POSITION_BYTES, 0);
    Some(key)
}

pub(super) fn encode(size: u64, stamp: GcEpoch) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[0] = VERSION;
    value[1..9].copy_from_slice(&size.to_le_bytes());
    value[9..].copy_from_slice(&stamp.0.to_le_bytes());
    value
}

/// Size and stamp; none when the value is not one.
pub(super) fn decode(value: &[u8]) -> Option<(u64, GcEpoch)> {
    let value: &[u8; VALUE_BYTES] = value.try_into().ok()?;
    let number =
        |at: usize| value[at..].first_chunk().copied().map(u64::from_le_bytes).unwrap_or_default();
    (value[0] == VERSION).then(|| (number(1), GcEpoch(number(9))))
}

fn code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_digest() -> impl Strategy<Value = Digest> {
        (any::<bool>(), any::<[u8; 64]>()).prop_map(|(long, bytes)| {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            Digest::from_bytes(algorithm, &bytes[..algorithm.len_bytes()]).unwrap()
        })
    }

    proptest! {
        #[test]
        fn rows_come_back(blob in any_digest(), size: u64, stamp: u64) {
            prop_assert_eq!(digest(&key(&blob)), Some(blob));
            prop_assert_eq!(decode(&encode(size, GcEpoch(stamp))), Some((size, GcEpoch(stamp))));
        }

        #[test]
        fn rows_are_in_the_order_of_the_ring(one in any_digest(), other in any_digest()) {
            let by_place = position(&one).cmp(&position(&other));
            prop_assert!(by_place.is_eq() || by_place == key(&one).cmp(&key(&other)));
            if let Some(behind) = behind(&position(&one)) {
                prop_assert!(key(&one) < behind);
                prop_assert_eq!(position(&other) <= position(&one), key(&other) < behind);
            }
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = (digest(&bytes), decode(&bytes));
        }
    }

    #[test]
    fn there_is_nothing_behind_the_end() {
        assert_eq!(behind(&[u8::MAX; 32]), None);
    }
}
