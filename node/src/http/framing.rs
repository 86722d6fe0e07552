//! Spotting a message whose length is told in two ways.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how requests are smuggled past a
//! proxy that believes one while the server believes the other (RFC 9112, section 6.1 and 6.3).
//! hyper takes the one the RFC prefers and closes the connection, but does not say that it did; a
//! registry should refuse such a request instead. So the stream looks at header lines as they pass,
//! without keeping them: a line counts by its name alone.

/// Watches the header of one request after another.
#[derive(Debug, Default)]
pub struct Framing {
    line: Line,
    content_length: bool,
    transfer_encoding: bool,
}

/// The line being read: how much of its start there was, and which names it can still be.
#[derive(Debug)]
struct Line {
    read: usize,
    content_length: bool,
    transfer_encoding: bool,
    done: bool,
}

impl Default for Line {
    fn default() -> Self {
        Line { read: 0, content_length: true, transfer_encoding: true, done: false }
    }
}

const CONTENT_LENGTH: &[u8] = b"content-length:";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

impl Framing {
    /// Forgets the request; the next one begins.
    pub fn reset(&mut self) {
        *self = Framing::default();
    }

    /// Does the header read so far tell the length in two ways?
    pub fn is_ambiguous(&self) -> bool {
        self.content_length && self.transfer_encoding
    }

    /// Looks at the next bytes of the request. What comes behind the header is not looked at.
    pub fn look(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.line.done && !rest.is_empty() {
            rest = self.look_at_line(rest);
        }
    }

    /// Looks at the rest of the present line; answers what is behind it.
    fn look_at_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                self.end_line();
                return &bytes[at + 1..];
            }
            let undecided = self.line.content_length || self.line.transfer_encoding;
            if !undecided && self.line.read > 0 {
                // Only its end matters any more.
                return self.skip_to_end(&bytes[at..]);
            }
            self.step(byte.to_ascii_lowercase());
        }
        &[]
    }

    fn skip_to_end<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match bytes.iter().position(|byte| *byte == b'\n') {
            None => &[],
            Some(end) => {
                self.end_line();
                &bytes[end + 1..]
            }
        }
    }

    fn step(&mut self, byte: u8) {
        let line = &mut self.line;
        let fits = |name: &[u8]| name.get(line.read).is_none_or(|expected| *expected == byte);
        line.content_length &= fits(CONTENT_LENGTH);
        line.transfer_encoding &= fits(TRANSFER_ENCODING);
        // A lone carriage return may be an empty line: it must not count as text.
        line.read += usize::from(byte != b'\r' || line.read > 0);
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.line.done = line.read == 0;
        self.content_length |= line.content_length && line.read >= CONTENT_LENGTH.len();
        self.transfer_encoding |= line.transfer_encoding && line.read >= TRANSFER_ENCODING.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ambiguous(pieces: &[&[u8]]) -> bool {
        let mut framing = Framing::default();
        for piece in pieces {
            framing.look(piece);
        }
        framing.is_ambiguous()
    }

    #[test]
    fn two_lengths_are_seen_in_either_order_and_case() {
        for header in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTRANSFER-ENCODING:chunked\r\nHost: a\r\ncontent-length:5\r\n\r\n",
            "POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
        ] {
            assert!(ambiguous(&[header.as_bytes()]), "{header}");
        }
    }

    #[test]
    fn one_length_is_fine_and_so_is_a_body_that_looks_like_a_header() {
        for request in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nTransfer-Encoding: chunked\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nX: Transfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encodings: chunked\r\n\r\n",
        ] {
            assert!(!ambiguous(&[request.as_bytes()]), "{request}");
        }
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_changes_nothing(cut in 0_usize..80) {
            let header = b"PUT / HTTP/1.1\r\nContent-Length: 5\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (first, second) = header.split_at(cut.min(header.len()));
            prop_assert!(ambiguous(&[first, second]));
        }

        #[test]
        fn no_bytes_panic(pieces: Vec<Vec<u8>>) {
            let mut framing = Framing::default();
            for piece in &pieces {
                framing.look(piece);
            }
        }
    }
}
