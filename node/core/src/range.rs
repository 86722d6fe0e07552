//! Byte ranges of a download: the `Range` header (RFC 9110, section 14).
//!
//! A client asks for pieces of a blob; the answer is the pieces (206), everything (200) or the news
//! that there is no such piece (416). A header that is not understood counts as absent, as the RFC
//! wants it, so an odd client gets the whole blob rather than an error.
//!
//! Ranges are never merged and never sorted, although the RFC allows both: podman matches the parts
//! of an answer to its ranges by counting them. Requests that could be used to multiply the work
//! (very many ranges, ranges over the same bytes) get the whole blob instead.

mod multipart;

use std::fmt;

pub use self::multipart::{Boundary, Multipart};

/// The most ranges of one request; a header with more is ignored. Each range costs a read and a
/// part header. podman asks for at most 1,024 ranges of a layer and lives with the whole of it.
pub const RANGES_MAX: usize = 256;

/// How many ranges may overlap an earlier one; a header with more is ignored (RFC 9110, section
/// 14.2, names two as the point from which a client is broken or hostile).
pub const OVERLAPS_MAX: usize = 2;

/// One element of a range set, not yet applied to a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `first-last`: both inclusive.
    FromTo {
        /// The first byte.
        first: u64,
        /// The last byte, never before the first.
        last: u64,
    },
    /// `first-`: everything from a byte on.
    From {
        /// The first byte.
        first: u64,
    },
    /// `-length`: the last so many bytes.
    Suffix {
        /// How many.
        length: u64,
    },
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeHeader {
    /// Another unit, or not in the grammar, or too many: as if there were no header.
    Ignore,
    /// A range that ends before it starts (`5-3`). The RFC leaves the choice between 200 and 416;
    /// 416 tells the client of its mistake.
    Inverted,
    /// One to [`RANGES_MAX`] ranges.
    Specs(Vec<RangeSpec>),
}

/// A range within a blob: not empty, and inside the length it was resolved against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 200 and the whole blob.
    Full,
    /// 206 and this range.
    Single(ByteRange),
    /// 206 `multipart/byteranges` with these ranges, two or more, in the order asked.
    Multi(Vec<ByteRange>),
    /// 416, with [`unsatisfiable`] as its `Content-Range`.
    Unsatisfiable,
}

/// Reads the value of a `Range` header. A request with several `Range` lines has none that counts.
pub fn parse(header: &str) -> RangeHeader {
    let Some((unit, set)) = header.split_once('=') else { return RangeHeader::Ignore };
    if !unit.eq_ignore_ascii_case("bytes") {
        return RangeHeader::Ignore;
    }
    let mut specs = Vec::new();
    let mut inverted = false;
    // The list grammar (section 5.6.1.2) lets empty elements be.
    for element in set.split(',').map(trim).filter(|element| !element.is_empty()) {
        let Some(spec) = spec(element) else { return RangeHeader::Ignore };
        if specs.len() == RANGES_MAX {
            return RangeHeader::Ignore;
        }
        inverted |= matches!(spec, RangeSpec::FromTo { first, last } if last < first);
        specs.push(spec);
    }
    match specs.is_empty() {
        true => RangeHeader::Ignore,
        false if inverted => RangeHeader::Inverted,
        false => RangeHeader::Specs(specs),
    }
}

/// Strips the white space that may stand around list elements.
fn trim(element: &str) -> &str {
    element.trim_matches([' ', '\t'])
}

fn spec(element: &str) -> Option<RangeSpec> {
    let (first, last) = element.split_once('-')?;
    Some(match (first, last) {
        ("", length) => RangeSpec::Suffix { length: number(length)? },
        (first, "") => RangeSpec::From { first: number(first)? },
        (first, last) => RangeSpec::FromTo { first: number(first)?, last: number(last)? },
    })
}

/// Reads digits. A number too large for a `u64` lies behind the end of every blob, as `u64::MAX`
/// does, so it becomes that.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

impl RangeHeader {
    /// Applies the ranges to a blob of `len` bytes.
    ///
    /// Ranges reaching over the end are cut there, those behind it are dropped. An empty blob is
    /// sent whole whatever was asked: it has no range to offer, and some clients put `bytes=0-` on
    /// every request.
    pub fn resolve(&self, len: u64) -> Resolution {
        let specs = match self {
            RangeHeader::Ignore => return Resolution::Full,
            _ if len == 0 => return Resolution::Full,
            RangeHeader::Inverted => return Resolution::Unsatisfiable,
            RangeHeader::Specs(specs) => specs,
        };
        let ranges: Vec<ByteRange> = specs.iter().filter_map(|spec| spec.resolve(len)).collect();
        match ranges[..] {
            [] => Resolution::Unsatisfiable,
            [range] => Resolution::Single(range),
            _ if is_wasteful(&ranges, len) => Resolution::Full,
            _ => Resolution::Multi(ranges),
        }
    }
}

impl RangeSpec {
    /// The bytes it means within `len`; `None` when there are none.
    fn resolve(self, len: u64) -> Option<ByteRange> {
        let end_max = len.checked_sub(1)?;
        let (start, end) = match self {
            RangeSpec::FromTo { first, last } => (first, last.min(end_max)),
            RangeSpec::From { first } => (first, end_max),
            // A length of 0 starts behind the end: nothing.
            RangeSpec::Suffix { length } => (len.saturating_sub(length), end_max),
        };
        (start <= end).then_some(ByteRange { start, end })
    }
}

/// Would the parts be more work than the whole: more bytes than it has, or too many overlaps?
fn is_wasteful(ranges: &[ByteRange], len: u64) -> bool {
    let total = ranges.iter().try_fold(0_u64, |total, range| total.checked_add(range.len()));
    if total.is_none_or(|total| total > len) {
        return true;
    }
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut reached: Option<u64> = None;
    let mut overlaps = 0;
    for range in sorted {
        overlaps += usize::from(reached.is_some_and(|reached| range.start <= reached));
        reached = reached.max(Some(range.end));
    }
    overlaps > OVERLAPS_MAX
}

impl ByteRange {
    /// The first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The last byte, which belongs to the range.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many bytes: at least one. The `Content-Length` of an answer with this range alone.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        // No overflow: `end` is less than the length of a blob, which is a u64.
        self.end - self.start + 1
    }

    /// The value of `Content-Range` for this range of a blob of `len` bytes.
    pub fn content_range(self, len: u64) -> String {
        format!("bytes {self}/{len}")
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// The value of `Content-Range` in a 416 about a blob of `len` bytes.
pub fn unsatisfiable(len: u64) -> String {
    format!("bytes */{len}")
}

#[cfg(test)]
mod tests;
