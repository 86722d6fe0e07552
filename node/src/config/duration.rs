//! Durations, written with their units: `"30s"`, `"1h30m"`.

use std::time::Duration;

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// Units in milliseconds, the largest first; a text names each at most once, in this order.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration, to the millisecond.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after;
    }
    Some(Duration::from_millis(total))
}

/// Writes a duration in the largest unit that divides it, so that [`parse`] reads it back, to the
/// millisecond. One day reads better as `24h`.
pub fn write(duration: Duration) -> String {
    let total = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(unit, factor): &&(&str, u64)| {
        total >= *factor && total.is_multiple_of(*factor) && (*unit != "d" || total > *factor)
    };
    let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("s", 1_000));
    format!("{}{unit}", total / factor)
}

impl Value for Duration {
    const EXPECTED: &'static str =
        "a duration with its unit (ms, s, m, h or d), such as \"30s\" or \"1h30m\"";

    fn from_raw(raw: &Raw) -> Option<Self> {
        parse(raw.text()?)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&write(*self)))
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "string",
            "pattern": "^(0|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("7d"), Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for text in
            ["", "5", "s", "1.5s", "-1s", "1m1h", "1s1s", "1 s", "1S", "1y", "99999999999999d"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn writing_takes_the_units_people_say() {
        assert_eq!(write(Duration::from_secs(86_400)), "24h");
        assert_eq!(write(Duration::from_secs(75)), "75s");
        assert_eq!(write(Duration::from_secs(5400)), "90m");
        assert_eq!(write(Duration::ZERO), "0s");
        assert_eq!(write(Duration::from_secs(7 * 86_400)), "7d");
    }

    proptest! {
        #[test]
        fn written_and_read_back(milliseconds: u64) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&write(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
