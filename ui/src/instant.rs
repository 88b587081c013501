//! Instants as i64 nanoseconds since the Unix epoch, in UTC: RFC 3339 in and out, and the shorter forms that axes and
//! tables show. Never a float and never a millisecond `Date`.

/// Nanoseconds in the units that a person types.
pub const MICROSECOND: i64 = 1_000;
pub const MILLISECOND: i64 = 1_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A moment taken apart, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanos: u32,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Days since the epoch to year, month, day (Howard Hinnant's `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Year, month, day to days since the epoch.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub fn civil(ns: i64) -> Civil {
    let days = ns.div_euclid(DAY);
    let rest = ns.rem_euclid(DAY);
    let (year, month, day) = civil_from_days(days);
    Civil {
        year,
        month,
        day,
        hour: (rest / HOUR) as u32,
        minute: (rest % HOUR / MINUTE) as u32,
        second: (rest % MINUTE / SECOND) as u32,
        nanos: (rest % SECOND) as u32,
    }
}

/// `2023-01-29T08:42:01.123456789Z`, always nine digits, as the API writes it.
pub fn rfc3339(ns: i64) -> String {
    let c = civil(ns);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", c.year, c.month, c.day, c.hour, c.minute, c.second, c.nanos)
}

/// Reads RFC 3339 and its shorter forms: a space for the `T`, no seconds, no fraction, no zone (UTC), a date alone
/// (midnight). `None` for anything else, and beyond what 64 bits of nanoseconds hold.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let year: i64 = digits(parts.next()?, 4, 4)?;
    let month = digits(parts.next()?, 1, 2)? as u32;
    let day = digits(parts.next()?, 1, 2)? as u32;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, offset) = split_zone(rest.trim())?;
    let of_day = if clock.is_empty() { 0 } else { parse_clock(clock)? };
    days_from_civil(year, month, day).checked_mul(DAY)?.checked_add(of_day)?.checked_sub(offset)
}

/// `08:42`, `08:42:01` or `08:42:01.5` as nanoseconds of the day.
pub fn parse_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 1, 2)?;
    let minute = digits(parts.next()?, 2, 2)?;
    let seconds = parts.next().unwrap_or("0");
    if parts.next().is_some() {
        return None;
    }
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let second = digits(whole, 1, 2)?;
    if hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { digits(fraction, 1, 9)? * 10_i64.pow(9 - fraction.len() as u32) };
    Some(hour * HOUR + minute * MINUTE + second * SECOND + nanos)
}

fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    match text.rfind(['+', '-']) {
        Some(at) => {
            let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
            let (hours, minutes) = text[at + 1..].split_once(':')?;
            let offset = digits(hours, 2, 2)? * HOUR + digits(minutes, 2, 2)? * MINUTE;
            Some((&text[..at], sign * offset))
        }
        None => Some((text, 0)),
    }
}

fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// `29 Jan 08:42:01`.
pub fn short(ns: i64) -> String {
    let c = civil(ns);
    format!("{} {} {:02}:{:02}:{:02}", c.day, MONTHS[c.month as usize - 1], c.hour, c.minute, c.second)
}

/// `29 Jan 08:42:01.123`, for lists in which records lie close together.
pub fn short_millis(ns: i64) -> String {
    format!("{}.{:03}", short(ns), civil(ns).nanos / 1_000_000)
}

/// `2023-01-29`.
pub fn date_text(ns: i64) -> String {
    let c = civil(ns);
    format!("{:04}-{:02}-{:02}", c.year, c.month, c.day)
}

/// `2023-01-29 08:42`, for the ends of a picked window.
pub fn minute_text(ns: i64) -> String {
    let c = civil(ns);
    let head = format!("{:04}-{:02}-{:02} {:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute);
    if c.second == 0 && c.nanos == 0 { head } else { format!("{head}:{:02}", c.second) }
}

/// The label of an axis tick, as coarse as the step between ticks allows.
pub fn tick_label(ns: i64, step_ns: i64) -> String {
    let c = civil(ns);
    let date = format!("{} {}", c.day, MONTHS[c.month as usize - 1]);
    if step_ns >= DAY {
        date
    } else if c.hour == 0 && c.minute == 0 && c.second == 0 && step_ns >= MINUTE {
        // The first tick of a day names the day, so that a window of several can be read.
        date
    } else if step_ns >= MINUTE {
        format!("{:02}:{:02}", c.hour, c.minute)
    } else if step_ns >= SECOND {
        format!("{:02}:{:02}:{:02}", c.hour, c.minute, c.second)
    } else {
        format!("{:02}.{:03}", c.second, c.nanos / 1_000_000)
    }
}

/// Ticks at round times in a window, at most `most` of them, with the step between them.
pub fn ticks(start: i64, end: i64, most: usize) -> (Vec<i64>, i64) {
    const STEPS: [i64; 26] = [
        MILLISECOND,
        5 * MILLISECOND,
        10 * MILLISECOND,
        50 * MILLISECOND,
        100 * MILLISECOND,
        500 * MILLISECOND,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        15 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
    ];
    let span = end.saturating_sub(start).max(1);
    let most = most.max(1) as i64;
    let step = STEPS.into_iter().find(|s| span / s <= most).unwrap_or_else(|| span / most / DAY * DAY + DAY);
    let first = start.div_euclid(step) * step;
    let mut at = if first < start { first + step } else { first };
    let mut found = Vec::new();
    while at <= end {
        found.push(at);
        at += step;
    }
    (found, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_survives_the_round_trip_and_short_forms_are_read() {
        for (text, full) in [
            ("2023-01-29T08:42:01.123456789Z", "2023-01-29T08:42:01.123456789Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000000000Z"),
            ("2023-01-29 08:42", "2023-01-29T08:42:00.000000000Z"),
            ("2023-01-29 08:42:01.5", "2023-01-29T08:42:01.500000000Z"),
            ("2023-01-29T10:42:00+02:00", "2023-01-29T08:42:00.000000000Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(parse(text).map(rfc3339).as_deref(), Some(full), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "soon",
            "2023-13-01",
            "2023-1-1T25:00",
            "2023-01-29T8",
            "99999-01-01",
            "2023-01-29T08:42:01.1234567890Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let start = parse("2023-01-29T08:42:00Z").unwrap();
        let (at, step) = ticks(start, start + 7 * HOUR, 8);
        assert_eq!(step, HOUR);
        assert_eq!(at.len(), 7);
        assert_eq!(tick_label(at[0], step), "09:00");
        let (many, _) = ticks(0, 4000 * DAY, 10);
        assert!(many.len() <= 11, "{}", many.len());
    }
}
