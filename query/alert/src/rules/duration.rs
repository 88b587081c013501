//! Durations as Prometheus writes them: `90s`, `1h30m`, `1d`, `500ms`, `0`. A year is 365 days, a day 24 hours.

use std::fmt::Write as _;
use std::time::Duration;

/// Longest first, the order in which they have to stand.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// As in Prometheus 292 years, what nanoseconds in 64 bits hold.
const MAX_MS: u64 = i64::MAX as u64 / 1_000_000;

/// The duration, or what is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "is no duration: write 30s, 5m, 1h30m, 1d or 500ms";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("{text:?} {EXPECTED}");
    let mut total: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        if digits == 0 || letters == 0 {
            return Err(wrong());
        }
        // Each unit once, longer ones first.
        let (_, ms) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*ms))
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_MS)
            .ok_or_else(|| format!("{text:?} is longer than a duration can be"))?;
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// The inverse, in the fewest units; whole milliseconds.
pub fn print(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        // Only whole years and weeks: 8d reads better than 1w1d.
        if ms >= size && (size <= UNITS[2].1 || ms % size == 0) {
            let _ = write!(text, "{}{unit}", ms / size);
            ms %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_prometheus_own() {
        let cases = [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("324ms", 324, "324ms"),
            ("3s", 3_000, "3s"),
            ("5m", 300_000, "5m"),
            ("1h", 3_600_000, "1h"),
            ("4d", 345_600_000, "4d"),
            ("4d1h", 349_200_000, "4d1h"),
            ("14d", 1_209_600_000, "2w"),
            ("3w", 1_814_400_000, "3w"),
            ("3w2d1h", 1_990_800_000, "23d1h"),
            ("10y", 315_360_000_000, "10y"),
            ("1h30m5s250ms", 5_405_250, "1h30m5s250ms"),
            ("90s", 90_000, "1m30s"),
        ];
        for (text, ms, printed) in cases {
            let duration = parse(text).expect(text);
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
            assert_eq!(print(duration), printed, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "-5m",
            "5 m",
            "1m5",
            "1s1m",
            "5m5m",
            "1.5h",
            "1hour",
            "5M",
            "๕m",
            "99999999999999999999s",
            "300y",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
