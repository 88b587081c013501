//! Windows of time as requests name them, and times as answers write them. Never reads a clock itself.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;

use crate::QueryError;

/// The window of a request that names none.
pub const DEFAULT_WINDOW_NS: i64 = 3_600_000_000_000;

/// From `start_ns` (inclusive) to `end_ns` (exclusive), nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start_ns: i64,
    pub end_ns: i64,
}

/// The `start` and `end` parameters as sent; to be flattened into a handler's parameters.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WindowParams {
    pub start: Option<String>,
    pub end: Option<String>,
}

impl WindowParams {
    /// RFC 3339, integer nanoseconds, `now`, or an offset from now (`-1h`, `-15m`, `+10s`). Without an end: now. Without
    /// a start: an hour before the end.
    pub fn resolve(&self, now_ns: i64) -> Result<Window, QueryError> {
        // A record may be stamped within the very nanosecond of "now", so an open end takes it in.
        let end_ns = match self.end.as_deref().filter(|s| !s.is_empty()) {
            Some(text) => parse_time(text, now_ns).map_err(|m| named("end", &m))?,
            None => now_ns.saturating_add(1),
        };
        let start_ns = match self.start.as_deref().filter(|s| !s.is_empty()) {
            Some(text) => parse_time(text, now_ns).map_err(|m| named("start", &m))?,
            None => end_ns.saturating_sub(DEFAULT_WINDOW_NS),
        };
        if start_ns > end_ns {
            return Err(QueryError::bad_request("the window's start lies after its end"));
        }
        Ok(Window { start_ns, end_ns })
    }
}

impl Window {
    /// The condition on a `TIMESTAMP_NS` column, as SQL.
    pub fn sql(&self, column: &str) -> String {
        format!("{column} >= {} AND {column} < {}", timestamp_sql(self.start_ns), timestamp_sql(self.end_ns))
    }

    pub const fn holds(&self, ns: i64) -> bool {
        self.start_ns <= ns && ns < self.end_ns
    }

    pub const fn width_ns(&self) -> i64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// A `TIMESTAMP_NS` as an SQL expression that folds to a literal.
pub fn timestamp_sql(ns: i64) -> String {
    format!("arrow_cast({ns}, 'Timestamp(Nanosecond, None)')")
}

/// RFC 3339 in UTC with nine digits of a second.
pub fn rfc3339(ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A time as [`WindowParams`] takes it.
pub fn parse_time(text: &str, now_ns: i64) -> Result<i64, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now_ns);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt().ok_or_else(|| format!("{text:?} is outside the years 1677 to 2262"));
    }
    if let Some(offset) = text.strip_prefix("now").unwrap_or(text).strip_prefix('-').and_then(parse_duration) {
        return Ok(now_ns.saturating_sub(offset));
    }
    if let Some(offset) = text.strip_prefix("now").unwrap_or(text).strip_prefix('+').and_then(parse_duration) {
        return Ok(now_ns.saturating_add(offset));
    }
    text.parse::<i64>().map_err(|_| {
        format!(
            "{:?} is neither RFC 3339, nor integer nanoseconds, nor an offset like -1h",
            text.chars().take(80).collect::<String>()
        )
    })
}

/// `90s`, `15m`, `1h30m`, `7d`, `2w`, `250ms`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[unit_len..];
    }
    Some(total)
}

fn named(parameter: &str, message: &str) -> QueryError {
    QueryError::bad_request(format!("{parameter}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_123_456_789;

    #[test]
    fn windows_are_read_in_every_form() {
        let window = |start: &str, end: &str| {
            WindowParams {
                start: (!start.is_empty()).then(|| start.into()),
                end: (!end.is_empty()).then(|| end.into()),
            }
            .resolve(NOW)
        };
        let cases = [
            ("", "", Some((NOW + 1 - DEFAULT_WINDOW_NS, NOW + 1))),
            ("-1h", "", Some((NOW - DEFAULT_WINDOW_NS, NOW + 1))),
            ("-1h30m", "-30m", Some((NOW - 5_400_000_000_000, NOW - 1_800_000_000_000))),
            ("5", "7", Some((5, 7))),
            ("2023-11-14T22:13:20.123456789Z", "now", Some((NOW, NOW))),
            ("2023-11-14T23:13:20.123456789+01:00", "now", Some((NOW, NOW))),
            ("7", "5", None),
            ("yesterday", "", None),
            ("-1x", "", None),
            ("-99999999999d", "", None),
            ("", "2500-01-01T00:00:00Z", None),
        ];
        for (start, end, expected) in cases {
            let found = window(start, end).ok().map(|w| (w.start_ns, w.end_ns));
            assert_eq!(found, expected, "start={start} end={end}");
        }
        assert_eq!(rfc3339(NOW), "2023-11-14T22:13:20.123456789Z");
    }
}
