//! The body of an answer with several ranges: `multipart/byteranges` (RFC 9110, section 14.6).
//!
//! A body is: for every part its header and its bytes, then the closing line. Everything but the
//! bytes is made here, and the total length is known before the first byte is read, so the answer
//! carries a `Content-Length` like any other.

use std::fmt;

use super::ByteRange;

/// A line that separates parts. Drawn at random, so that content cannot hold it but by a chance of
/// 1 in 2^128 per position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Makes a boundary out of random bytes. It is written in hexadecimal, which needs no quotes.
    pub fn from_bytes(bytes: [u8; 16]) -> Boundary {
        Boundary(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything about an answer with several ranges but their bytes.
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: Boundary,
    content_type: String,
    blob_len: u64,
    ranges: Vec<ByteRange>,
}

impl Multipart {
    /// An answer with `ranges` of a blob of `blob_len` bytes, whose own media type is
    /// `content_type`.
    pub fn new(
        boundary: Boundary,
        content_type: &str,
        blob_len: u64,
        ranges: Vec<ByteRange>,
    ) -> Multipart {
        Multipart { boundary, content_type: content_type.to_owned(), blob_len, ranges }
    }

    /// The ranges, in the order of the parts.
    pub fn ranges(&self) -> &[ByteRange] {
        &self.ranges
    }

    /// The `Content-Type` of the whole answer.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What goes before the bytes of part `index`.
    pub fn part_header(&self, index: usize, range: ByteRange) -> String {
        let line_end = if index == 0 { "" } else { "\r\n" };
        format!(
            "{line_end}--{}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
            self.boundary,
            self.content_type,
            range.content_range(self.blob_len)
        )
    }

    /// What goes after the bytes of the last part.
    pub fn closing(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The `Content-Length` of the whole answer: headers, bytes and closing line.
    ///
    /// Saturates, which needs a blob within a few kilobytes of 2^64 bytes.
    pub fn content_length(&self) -> u64 {
        let parts = self.ranges.iter().enumerate().map(|(index, &range)| {
            range.len().saturating_add(text_len(&self.part_header(index, range)))
        });
        parts.fold(text_len(&self.closing()), u64::saturating_add)
    }
}

fn text_len(text: &str) -> u64 {
    u64::try_from(text.len()).expect("a text in memory is shorter than 2^64 bytes")
}
