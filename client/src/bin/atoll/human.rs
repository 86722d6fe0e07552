//! Numbers as people write and read them.

use std::time::Duration;

/// Units of time as they are written, with their milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `30s`, `1h30m`, `500ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time like 30s, 10m or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let unit = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit.1));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if total == 0 { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// `1.4 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // What would be printed as 1024.0 is 1.0 of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `65,536`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2m 5s`: the two largest units, without those that are zero at the end.
pub fn seconds(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    let two = |first: String, second: u64, unit: char| match second {
        0 => first,
        _ => format!("{first} {second}{unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => two(format!("{minutes}m"), seconds, 's'),
        (0, _, _) => two(format!("{hours}h"), minutes, 'm'),
        _ => two(format!("{days}d"), hours, 'h'),
    }
}

/// `37 %` of a whole, rounded down so that 100 means all; `100 %` of nothing.
pub fn part(done: u64, total: u64) -> String {
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(100);
    format!("{percent} %")
}

/// The first characters of a digest, enough to tell it from others.
pub fn digest(digest: &str) -> String {
    const SHOWN_CHARS: usize = "sha256:".len() + 12;
    digest.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0s", "5", "s", "5x", "-1s", "1s ", "99999999999999999999d", "ä"] {
            assert!(parse_duration(wrong).unwrap_err().contains("30s"), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [0, 1023, 1024, 1_048_575, 5 << 30].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "5.0 GiB"]
        );
        assert_eq!(
            [0, 999, 1000, 65_536, 1_234_567].map(count),
            ["0", "999", "1,000", "65,536", "1,234,567"]
        );
        assert_eq!(
            [9, 125, 3600, 7260, 90_000].map(seconds),
            ["9s", "2m 5s", "1h", "2h 1m", "1d 1h"]
        );
        assert_eq!(
            (part(1, 3), part(999, 1000), part(0, 0)),
            ("33 %".into(), "99 %".into(), "100 %".into())
        );
    }
}
