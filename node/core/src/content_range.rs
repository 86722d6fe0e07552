//! The `Content-Range` of an uploaded chunk: which bytes of the blob the request carries.
//!
//! The distribution-spec writes `start-end`, both inclusive and without a unit
//! (`^[0-9]+-[0-9]+$`), unlike RFC 9110. Old clients send the RFC's `bytes start-end/total`; it can
//! mean only one thing, so it is taken too. Chunks come in order: one that starts anywhere but at
//! the end of what is there is refused with 416, and the client asks where to go on.

use std::{fmt, str::FromStr};

use crate::digest::echo;

/// The bytes a chunk carries: from `start` to `end`, both inclusive, so never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    start: u64,
    /// Less than `u64::MAX`, so that the length fits.
    end: u64,
}

impl ContentRange {
    /// The offset of the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The offset of the last byte.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many bytes: at least one.
    #[expect(clippy::len_without_is_empty, reason = "a chunk with a range is never empty")]
    pub const fn len(self) -> u64 {
        self.end - self.start + 1
    }

    /// May this chunk follow `offset` bytes, in a body of `content_length` bytes?
    ///
    /// A body whose length is not declared is checked when it has ended: call again with the same
    /// `offset` and the bytes received.
    pub fn check(self, offset: u64, content_length: Option<u64>) -> Result<(), ContentRangeError> {
        if self.start != offset {
            return Err(OutOfOrder { start: self.start, offset }.into());
        }
        match content_length {
            Some(found) if found != self.len() => Err(LengthMismatch { range: self, found }.into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(text: &str) -> Result<Self, InvalidContentRange> {
        parse(text)
    }
}

/// Reads the value of the header.
pub fn parse(text: &str) -> Result<ContentRange, InvalidContentRange> {
    read(text).map_err(|reason| InvalidContentRange { received: echo(text), reason })
}

fn read(text: &str) -> Result<ContentRange, InvalidContentRangeReason> {
    let (range, total) = match strip_unit(text) {
        None => (text, None),
        Some(text) => {
            let (range, total) = text.split_once('/').ok_or(InvalidContentRangeReason::Total)?;
            (range, Some(total))
        }
    };
    let (start, end) = range.split_once('-').ok_or(InvalidContentRangeReason::Dash)?;
    let (start, end) = (number(start)?, number(end)?);
    if end < start {
        return Err(InvalidContentRangeReason::Inverted);
    }
    if end == u64::MAX {
        return Err(InvalidContentRangeReason::Overflow);
    }
    match total {
        None | Some("*") => {}
        Some(total) if number(total)? > end => {}
        Some(_) => return Err(InvalidContentRangeReason::Total),
    }
    Ok(ContentRange { start, end })
}

/// The text after `bytes `, if it starts so.
fn strip_unit(text: &str) -> Option<&str> {
    let (unit, range) = text.split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then_some(range)
}

fn number(digits: &str) -> Result<u64, InvalidContentRangeReason> {
    // `u64::from_str` alone would take a leading `+`.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidContentRangeReason::Number);
    }
    digits.parse().map_err(|_| InvalidContentRangeReason::Overflow)
}

/// The chunk does not fit where it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentRangeError {
    /// It is not the next chunk: 416.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Range and body disagree: 400 `SIZE_INVALID`.
    #[error(transparent)]
    LengthMismatch(#[from] LengthMismatch),
}

/// The chunk does not start where the upload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunk starts at byte {start}, but the next byte of this upload is {offset}")]
pub struct OutOfOrder {
    /// Where the chunk starts.
    pub start: u64,
    /// Where it should start.
    pub offset: u64,
}

/// The body is longer or shorter than its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`Content-Range: {range}` is {} bytes, but the body has {found}", range.len())]
pub struct LengthMismatch {
    /// What the header said.
    pub range: ContentRange,
    /// The length of the body in bytes.
    pub found: u64,
}

/// The header is not the range of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not the range of a chunk: {reason}")]
pub struct InvalidContentRange {
    /// What was received, shortened.
    pub received: String,
    /// What is wrong with it.
    pub reason: InvalidContentRangeReason,
}

/// What is wrong with the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContentRangeReason {
    /// There is no dash.
    #[error("expected `start-end`, such as `0-1023`")]
    Dash,
    /// Something other than digits.
    #[error("start and end must be decimal numbers, as in `0-1023`")]
    Number,
    /// A number, or the length, does not fit into 64 bits.
    #[error("numbers must be less than {}", u64::MAX)]
    Overflow,
    /// The last byte comes before the first.
    #[error("the end is inclusive and must not come before the start")]
    Inverted,
    /// With a unit, the total must follow, and lie behind the end.
    #[error("after `bytes start-end` expected `/*`, or `/total` with a total larger than the end")]
    Total,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> ContentRange {
        ContentRange { start, end }
    }

    #[test]
    fn takes_the_form_of_the_specification_and_the_old_one() {
        for text in [
            "10-19",
            "010-0019",
            "bytes 10-19/20",
            "bytes 10-19/99",
            "bytes 10-19/*",
            "Bytes 10-19/*",
        ] {
            assert_eq!(text.parse(), Ok(range(10, 19)), "{text}");
        }
        assert_eq!("0-0".parse::<ContentRange>().unwrap().len(), 1);
        let last = u64::MAX - 1;
        assert_eq!(format!("0-{last}").parse::<ContentRange>().unwrap().len(), u64::MAX);
    }

    #[test]
    fn refuses_everything_else() {
        use InvalidContentRangeReason::*;
        for (text, reason) in [
            ("", Dash),
            ("5", Dash),
            ("bytes", Dash),
            ("-", Number),
            ("5-", Number),
            ("-5", Number),
            ("-5-10", Number),
            ("+5-10", Number),
            ("0--1", Number),
            ("0-1-2", Number),
            (" 0-1", Number),
            ("0 - 1", Number),
            ("0-1/2", Number),
            ("0-1/*", Number),
            ("a-b", Number),
            ("0x0-0x1", Number),
            ("0-٣", Number),
            ("bytes=0-1", Number),
            ("lines 0-1/2", Number),
            ("5-3", Inverted),
            ("0-18446744073709551615", Overflow),
            ("0-18446744073709551616", Overflow),
            ("18446744073709551615-18446744073709551615", Overflow),
            ("bytes 0-1", Total),
            ("bytes 0-1/1", Total),
            ("bytes 0-1/", Number),
            ("bytes */2", Dash),
            ("bytes  0-1/2", Number),
        ] {
            assert_eq!(text.parse::<ContentRange>().unwrap_err().reason, reason, "{text}");
        }
    }

    #[test]
    fn order_comes_before_length() {
        let chunk = range(10, 19);
        assert_eq!(chunk.check(10, Some(10)), Ok(()));
        assert_eq!(chunk.check(10, None), Ok(()));
        let order = |offset| Err(OutOfOrder { start: 10, offset }.into());
        assert_eq!(chunk.check(9, Some(10)), order(9));
        assert_eq!(chunk.check(11, None), order(11));
        assert_eq!(chunk.check(0, Some(3)), order(0));
        for found in [0, 9, 11] {
            let mismatch = Err(LengthMismatch { range: chunk, found }.into());
            assert_eq!(chunk.check(10, Some(found)), mismatch);
        }
    }

    proptest! {
        #[test]
        fn ranges_round_trip(a in 0..u64::MAX, b in 0..u64::MAX) {
            let range = range(a.min(b), a.max(b));
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert_eq!(format!("bytes {range}/*").parse(), Ok(range));
            prop_assert_eq!(format!("bytes {range}/{}", range.end() + 1).parse(), Ok(range));
            prop_assert_eq!(range.check(range.start(), Some(range.len())), Ok(()));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|(bytes )?[0-9]{0,25}-?[0-9]{0,25}/?[0-9*]{0,3}", offset: u64) {
            if let Ok(range) = text.parse::<ContentRange>() {
                let _ = range.check(offset, Some(offset));
            }
        }
    }
}
