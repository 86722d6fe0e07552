//! Sizes in bytes, written with their unit.

use std::fmt;

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// Units, the largest first. Powers of 1024 only: `MB` means two different sizes to two readers.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of `bytes`.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        if number == 0 && unit.is_empty() {
            return Some(Self(0));
        }
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
        number.checked_mul(*factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact =
            UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = exact.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str =
        "a whole size with its unit (B, KiB, MiB, GiB or TiB), such as \"64KiB\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        Self::parse(raw.text()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^([0-9]+ *(B|KiB|MiB|GiB|TiB)|0)$" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<u64> {
        ByteSize::parse(text).map(ByteSize::bytes)
    }

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("1B"), Some(1));
        assert_eq!(parse("64KiB"), Some(65_536));
        assert_eq!(parse("3 MiB"), Some(3 << 20));
        assert_eq!(parse("100GiB"), Some(100 << 30));
        assert_eq!(parse("16777215TiB"), Some(16_777_215 << 40));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for text in ["", "5", "KiB", "1MB", "1kb", "1.5GiB", "-1B", "1KiB ", "16777216TiB", "１B"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_back(bytes: u64) {
            let size = ByteSize::new(bytes);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Some(size));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = ByteSize::parse(&text);
        }
    }
}
