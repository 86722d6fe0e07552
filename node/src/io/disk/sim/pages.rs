//! Bytes in pages: what was never written takes no room, and copies share what they have in common.

use std::sync::Arc;

const PAGE: usize = 4096;

/// A file's bytes. A clone costs a pointer for each page.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    len: usize,
    /// As many as the length needs; none where there are only zeros. What lies behind the length is zero.
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Pages {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies what lies at `offset` and answers how much that was.
    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let read = self.len.saturating_sub(offset).min(buffer.len());
        for (page, within, part) in parts(offset, read) {
            let buffer = &mut buffer[part];
            match &self.pages[page] {
                Some(page) => buffer.copy_from_slice(&page[within..within + buffer.len()]),
                None => buffer.fill(0),
            }
        }
        read
    }

    /// Replaces what lies at `offset`, behind which the file grows.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.resize(self.len.max(offset + bytes.len()));
        for (page, within, part) in parts(offset, bytes.len()) {
            let bytes = &bytes[part];
            self.page(page)[within..within + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Cuts the file, or lets it grow by zeros.
    pub(super) fn resize(&mut self, len: usize) {
        self.pages.resize(len.div_ceil(PAGE), None);
        let tail = len % PAGE;
        if len < self.len && tail > 0 && self.pages.last().is_some_and(Option::is_some) {
            self.page(len / PAGE)[tail..].fill(0);
        }
        self.len = len;
    }

    /// Flips the bits of `mask` in one byte, if the file has it.
    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        if at < self.len {
            self.page(at / PAGE)[at % PAGE] ^= mask;
        }
    }

    /// A page to write to, which is this file's alone from now on.
    fn page(&mut self, number: usize) -> &mut [u8; PAGE] {
        let page = self.pages[number].get_or_insert_with(|| Arc::new([0; PAGE]));
        Arc::make_mut(page)
    }
}

/// Cuts a range of a file at page borders: (page, where in the page, which part of the range).
fn parts(
    offset: usize,
    len: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let end = offset + len;
    let pages = if len == 0 { 0..0 } else { offset / PAGE..end.div_ceil(PAGE) };
    pages.map(move |page| {
        let from = (page * PAGE).max(offset);
        let to = ((page + 1) * PAGE).min(end);
        (page, from - page * PAGE, from - offset..to - offset)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Resize(usize),
        Flip(usize, u8),
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = 0..3 * PAGE;
        prop_oneof![
            4 => (at.clone(), proptest::collection::vec(1_u8.., 0..2 * PAGE))
                .prop_map(|(at, bytes)| Step::Write(at, bytes)),
            2 => (0..4 * PAGE).prop_map(Step::Resize),
            1 => (at, 1_u8..).prop_map(|(at, mask)| Step::Flip(at, mask)),
            1 => Just(Step::Clone),
        ]
    }

    fn whole(pages: &Pages) -> Vec<u8> {
        let mut buffer = vec![0xAA; pages.len()];
        assert_eq!(pages.read(&mut buffer, 0), pages.len());
        buffer
    }

    proptest! {
        /// Pages are what a vector of bytes is, and what happens to one leaves its copies alone.
        #[test]
        fn pages_are_bytes(steps in proptest::collection::vec(step(), 1..20), at in 0..4 * PAGE) {
            let (mut pages, mut bytes) = (Pages::default(), Vec::new());
            let mut copies: Vec<(Pages, Vec<u8>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(at, new) => {
                        pages.write(at, &new);
                        bytes.resize(bytes.len().max(at + new.len()), 0);
                        bytes[at..at + new.len()].copy_from_slice(&new);
                    }
                    Step::Resize(len) => {
                        pages.resize(len);
                        bytes.resize(len, 0);
                    }
                    Step::Flip(at, mask) => {
                        pages.flip(at, mask);
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte ^= mask;
                        }
                    }
                    Step::Clone => copies.push((pages.clone(), bytes.clone())),
                }
                prop_assert_eq!(&whole(&pages), &bytes);
            }
            for (pages, bytes) in &copies {
                prop_assert_eq!(&whole(pages), bytes);
            }
            let mut some = [0xAA; 5000];
            let read = pages.read(&mut some, at);
            let expected = bytes.get(at..).unwrap_or_default();
            prop_assert_eq!(&some[..read], &expected[..expected.len().min(5000)]);
        }
    }
}
