//! Where a blob is cut.

/// A part of a blob: from `offset` up to `end`, which is left out; to wherever the blob or the
/// first answer ends when it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) offset: u64,
    pub(crate) end: Option<u64>,
}

/// The parts from `offset` to `size`, each of `bytes` (at least 1) but for the last.
pub(crate) fn pieces(offset: u64, size: u64, bytes: u64) -> impl Iterator<Item = Cut> + Send {
    let mut next = offset;
    std::iter::from_fn(move || {
        let offset = next;
        next = size.min(offset.saturating_add(bytes));
        (offset < size).then_some(Cut { offset, end: Some(next) })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_cover_everything_once(offset in 0_u64..5000, rest in 0_u64..5000, bytes in 1_u64..700) {
            let size = offset + rest;
            let mut at = offset;
            for cut in pieces(offset, size, bytes) {
                let end = cut.end.expect("every piece has an end");
                prop_assert_eq!(cut.offset, at);
                prop_assert!(end > cut.offset && end - cut.offset <= bytes);
                prop_assert!(end == size || end - cut.offset == bytes);
                at = end;
            }
            prop_assert_eq!(at, size);
        }
    }
}
