//! The time window: what the presets, the typed input and the URL say, and what it comes to at a given now. Never reads
//! a clock itself.

use crate::instant::{self, DAY, HOUR, MICROSECOND, MILLISECOND, MINUTE, SECOND};

/// Both ends, in nanoseconds: the first included, the last not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

impl Window {
    pub fn length(&self) -> i64 {
        self.end.saturating_sub(self.start).max(1)
    }
}

/// A window as a person chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeRange {
    /// The last so many nanoseconds, up to now.
    Last(i64),
    /// From one instant to another.
    Between(i64, i64),
}

/// The last hour, as the API's own default.
pub const DEFAULT: TimeRange = TimeRange::Last(HOUR);

/// What the picker offers.
pub const PRESETS: [(&str, i64); 10] = [
    ("Last 5 minutes", 5 * MINUTE),
    ("Last 15 minutes", 15 * MINUTE),
    ("Last 30 minutes", 30 * MINUTE),
    ("Last 1 hour", HOUR),
    ("Last 3 hours", 3 * HOUR),
    ("Last 6 hours", 6 * HOUR),
    ("Last 12 hours", 12 * HOUR),
    ("Last 24 hours", DAY),
    ("Last 7 days", 7 * DAY),
    ("Last 30 days", 30 * DAY),
];

impl TimeRange {
    pub fn at(self, now: i64) -> Window {
        match self {
            TimeRange::Last(length) => Window { start: now.saturating_sub(length), end: now },
            TimeRange::Between(start, end) => Window { start, end },
        }
    }

    pub fn is_relative(self) -> bool {
        matches!(self, TimeRange::Last(_))
    }

    /// `start` and `end` of the URL and the API; a relative window has no end.
    pub fn to_params(self) -> (String, Option<String>) {
        match self {
            TimeRange::Last(length) => (format!("-{}", short_length(length)), None),
            TimeRange::Between(start, end) => (instant_param(start), Some(instant_param(end))),
        }
    }

    /// Reads `start` and `end` of a URL; `None` where they make no window.
    pub fn from_params(start: Option<&str>, end: Option<&str>) -> Option<TimeRange> {
        match (start, end) {
            (Some(start), None) => start.strip_prefix('-').and_then(parse_length).map(TimeRange::Last),
            (Some(start), Some(end)) => {
                let (start, end) = (parse_instant(start)?, parse_instant(end)?);
                (start < end).then_some(TimeRange::Between(start, end))
            }
            _ => None,
        }
    }

    /// What the top bar shows.
    pub fn label(self) -> String {
        match self {
            TimeRange::Last(length) => match PRESETS.iter().find(|(_, l)| *l == length) {
                Some((label, _)) => (*label).to_owned(),
                None => format!("Last {}", short_length(length)),
            },
            TimeRange::Between(start, end) => between(start, end),
        }
    }
}

/// Two ends, without what says nothing: whole days have no clock, the day and the year are said once where both ends
/// share them.
fn between(start: i64, end: i64) -> String {
    if start % DAY == 0 && end % DAY == 0 {
        let (first, last) = (instant::date_text(start), instant::date_text(end - DAY));
        return if first == last { first } else { format!("{first} – {last}") };
    }
    let (from, to) = (instant::minute_text(start), instant::minute_text(end));
    match (from.split_once(' '), to.split_once(' ')) {
        (Some((day, _)), Some((other, clock))) if day == other => format!("{from} – {clock}"),
        _ if from[..5] == to[..5] => format!("{from} – {}", &to[5..]),
        _ => format!("{from} – {to}"),
    }
}

/// Reads what a person types: `last 45m`, `45m`, `2h30m`, `today`, `yesterday`, `2023-01-29`, `2023-01-29 08:00 to
/// 16:00`, `08:00 - 09:30` (of today), two instants with `to`, `/` or ` - ` between. `now` settles the relative days.
pub fn parse_typed(text: &str, now: i64) -> Result<TimeRange, String> {
    let lower = text.trim().to_ascii_lowercase();
    let today = now.div_euclid(DAY) * DAY;
    match lower.as_str() {
        "" => return Err("type a window, such as last 45m".to_owned()),
        "today" => return Ok(TimeRange::Between(today, today + DAY)),
        "yesterday" => return Ok(TimeRange::Between(today - DAY, today)),
        _ => {}
    }
    let bare = lower.trim_start_matches("last").trim_start_matches("past").trim().trim_start_matches('-');
    let bare = bare.trim_start_matches("now-");
    if let Some(length) = parse_length(bare) {
        return Ok(TimeRange::Last(length));
    }
    if let Some((from, to)) = split_two(&lower) {
        let start = parse_end(from, today).ok_or_else(|| format!("`{from}` is no time: try 2023-01-29 08:00"))?;
        let day_of_start = start.div_euclid(DAY) * DAY;
        let end = if to == "now" { Some(now) } else { parse_end(to, day_of_start) };
        let end = end.ok_or_else(|| format!("`{to}` is no time: try 2023-01-29 16:00"))?;
        return if start < end {
            Ok(TimeRange::Between(start, end))
        } else {
            Err("the window ends before it starts".to_owned())
        };
    }
    match instant::parse(&lower) {
        Some(day) if !lower.contains(':') => Ok(TimeRange::Between(day, day + DAY)),
        Some(at) => Ok(TimeRange::Between(at, now.max(at + MINUTE))),
        None => Err("try last 45m, today, 2023-01-29, or 2023-01-29 08:00 to 16:00".to_owned()),
    }
}

fn split_two(text: &str) -> Option<(&str, &str)> {
    [" to ", "/", " – ", " - ", " .. ", ".."]
        .iter()
        .find_map(|mark| text.split_once(mark))
        .map(|(a, b)| (a.trim(), b.trim()))
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
}

fn parse_end(text: &str, day: i64) -> Option<i64> {
    parse_instant(text).or_else(|| instant::parse_clock(text).map(|of_day| day + of_day))
}

/// RFC 3339, its shorter forms, or integer nanoseconds.
pub fn parse_instant(text: &str) -> Option<i64> {
    if text.len() > 8 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { instant::parse(text) }
}

/// Reads `45m`, `1.5h`, `2h30m`, `10 minutes`, `3 days` as nanoseconds; more than zero.
pub fn parse_length(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut sum = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = rest[number_end..].trim_start();
        let unit_end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1,
            "us" | "µs" => MICROSECOND,
            "ms" => MILLISECOND,
            "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
            "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
            "h" | "hr" | "hrs" | "hour" | "hours" => HOUR,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => 7 * DAY,
            _ => return None,
        };
        sum += number * unit as f64;
        rest = rest[unit_end..].trim_start();
    }
    (sum >= 1.0 && sum < i64::MAX as f64).then_some(sum as i64)
}

/// `45m`, `90s`, `2h`: one unit, the largest that divides it.
fn short_length(ns: i64) -> String {
    [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (MILLISECOND, "ms")]
        .iter()
        .find(|(unit, _)| ns % unit == 0)
        .map_or_else(|| format!("{ns}ns"), |(unit, name)| format!("{}{name}", ns / unit))
}

/// RFC 3339 without the zeros of the fraction that say nothing.
fn instant_param(ns: i64) -> String {
    let full = instant::rfc3339(ns);
    format!("{}Z", full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_674_982_800_000_000_000; // 2023-01-29T09:00:00Z

    #[test]
    fn typed_windows_are_understood() {
        let at = |t: &str| instant::parse(t).unwrap();
        for (typed, range) in [
            ("last 45m", TimeRange::Last(45 * MINUTE)),
            ("45m", TimeRange::Last(45 * MINUTE)),
            ("-1h", TimeRange::Last(HOUR)),
            ("now-1h", TimeRange::Last(HOUR)),
            ("2h30m", TimeRange::Last(150 * MINUTE)),
            ("past 3 days", TimeRange::Last(3 * DAY)),
            ("Today", TimeRange::Between(at("2023-01-29"), at("2023-01-30"))),
            ("yesterday", TimeRange::Between(at("2023-01-28"), at("2023-01-29"))),
            ("2023-01-29", TimeRange::Between(at("2023-01-29"), at("2023-01-30"))),
            ("2023-01-29 08:00 to 16:00", TimeRange::Between(at("2023-01-29 08:00"), at("2023-01-29 16:00"))),
            ("08:00 - 08:30", TimeRange::Between(at("2023-01-29 08:00"), at("2023-01-29 08:30"))),
            ("2023-01-28T08:00:00Z/now", TimeRange::Between(at("2023-01-28 08:00"), NOW)),
        ] {
            assert_eq!(parse_typed(typed, NOW), Ok(range), "{typed}");
        }
        for typed in ["", "soon", "last", "16:00 to 08:00", "5 parsecs"] {
            assert!(parse_typed(typed, NOW).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_window_is_named_without_what_says_nothing() {
        for (typed, label) in [
            ("2023-01-29", "2023-01-29"),
            ("2023-01-29 to 2023-02-01", "2023-01-29 – 2023-01-31"),
            ("2023-01-29 08:00 to 16:00", "2023-01-29 08:00 – 16:00"),
            ("2023-01-29 08:00 to 2023-01-30 09:30", "2023-01-29 08:00 – 01-30 09:30"),
            ("2022-12-31 08:00 to 2023-01-01 08:00", "2022-12-31 08:00 – 2023-01-01 08:00"),
            ("last 1h", "Last 1 hour"),
            ("45m", "Last 45m"),
        ] {
            assert_eq!(parse_typed(typed, NOW).map(TimeRange::label).as_deref(), Ok(label), "{typed}");
        }
    }

    #[test]
    fn the_url_gives_back_the_same_window() {
        for range in [
            TimeRange::Last(45 * MINUTE),
            TimeRange::Last(90 * SECOND),
            TimeRange::Between(NOW, NOW + 1),
            TimeRange::Between(NOW - HOUR, NOW),
            TimeRange::Between(NOW - DAY - 500 * MILLISECOND, NOW),
        ] {
            let (start, end) = range.to_params();
            assert_eq!(TimeRange::from_params(Some(&start), end.as_deref()), Some(range), "{start} {end:?}");
        }
    }
}
