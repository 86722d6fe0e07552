//! Block checksums: how a file proves, block by block, that it still holds what was written.
//!
//! Content is cut into blocks of 64 KiB, each with a CRC-32C. A digest can only be checked over the
//! whole blob; with these any block can be checked before it leaves the node. CRC-32C finds every
//! burst up to 32 bits and misses one random change in four billion; an attacker with access to
//! the disk is not its concern, the digest is what a client verifies. Why not a Merkle tree of
//! hashes: four times the room and ten times the time, for rot that a checksum finds as well.

use serde::{Deserialize, Serialize};

use super::{BLOCK_BYTES, BLOCK_LEN};
use crate::io::plant::Plant;

/// The checksums of content that grows at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockSums {
    whole: Vec<u32>,
    /// Checksum and length of the block that is not full yet.
    tail: u32,
    tail_bytes: u32,
}

impl BlockSums {
    /// Length of the content so far.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.whole.len() as u64 * BLOCK_BYTES + u64::from(self.tail_bytes)
    }

    fn tail_room(&self) -> usize {
        BLOCK_LEN - self.tail_bytes as usize
    }

    /// Could these sums have been made by [`update`](Self::update)? For those read from a disk.
    pub(crate) fn is_sane(&self) -> bool {
        (self.tail_bytes as usize) < BLOCK_LEN
    }

    /// Adds the next bytes of the content.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(self.tail_room()));
            self.tail = crc32c::crc32c_append(self.tail, head);
            self.tail_bytes += head.len() as u32;
            if self.tail_room() == 0 {
                self.whole.push(self.tail);
                (self.tail, self.tail_bytes) = (0, 0);
            }
            bytes = rest;
        }
    }

    /// The checksum of every block, the last one possibly short.
    pub(crate) fn list(&self) -> Vec<u32> {
        let mut list = self.whole.clone();
        if self.tail_bytes > 0 {
            list.push(self.tail);
        }
        list
    }
}

/// How many blocks `content_bytes` make.
pub(crate) fn blocks_of(content_bytes: u64) -> u64 {
    content_bytes.div_ceil(BLOCK_BYTES)
}

/// The first of `blocks` that does not match its checksum in `expected`.
///
/// `blocks` starts at a block boundary; its last block may be short. A block without an expected
/// checksum does not match.
pub(crate) fn first_mismatch(blocks: &[u8], expected: &[u32]) -> Option<usize> {
    if Plant::SkipBlockCheck.is_planted() {
        return None;
    }
    blocks
        .chunks(BLOCK_LEN)
        .enumerate()
        .find(|(at, block)| expected.get(*at) != Some(&crc32c::crc32c(block)))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The list does not depend on how the content was cut, and agrees with the check.
        #[test]
        fn sums_do_not_depend_on_the_cuts(
            len in 0usize..3 * BLOCK_LEN + 2,
            cuts in prop::collection::vec(1usize..BLOCK_LEN + 9, 1..9),
        ) {
            let content: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
            let mut sums = BlockSums::default();
            let mut rest = &content[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (head, tail) = rest.split_at(rest.len().min(*cut));
                sums.update(head);
                rest = tail;
            }
            let list = sums.list();
            prop_assert_eq!(list.len() as u64, blocks_of(len as u64));
            prop_assert_eq!(sums.content_bytes(), len as u64);
            let want: Vec<u32> = content.chunks(BLOCK_LEN).map(crc32c::crc32c).collect();
            prop_assert_eq!(&list, &want);
            prop_assert_eq!(first_mismatch(&content, &list), None);
        }
    }

    #[test]
    fn a_flipped_bit_is_found_in_its_block() {
        let mut content = vec![5u8; 2 * BLOCK_LEN + 10];
        let mut sums = BlockSums::default();
        sums.update(&content);
        for (byte, block) in [(0, 0), (BLOCK_LEN, 1), (2 * BLOCK_LEN + 9, 2)] {
            content[byte] ^= 0x10;
            assert_eq!(first_mismatch(&content, &sums.list()), Some(block));
            content[byte] ^= 0x10;
        }
        assert_eq!(first_mismatch(&content, &sums.list()[..2]), Some(2), "no sum, no match");
    }
}
