//! Times as the payloads write them. Never reads a clock.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// RFC 3339 in UTC with as many digits of a second as are needed, which is how Go writes it.
pub fn rfc3339(ns: i64) -> String {
    let text = api_time(ns);
    let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

/// RFC 3339 in UTC with nine digits of a second, as everywhere in the API.
pub fn api_time(ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(ns).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// For people: whole seconds, UTC.
pub fn readable(ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(ns).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Nanoseconds, the largest number where it does not fit.
pub fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_250_000_000), "2023-11-14T22:13:20.25Z");
        assert_eq!(rfc3339(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(rfc3339(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(api_time(1_700_000_000_250_000_000), "2023-11-14T22:13:20.250000000Z");
        assert_eq!(readable(1_700_000_000_250_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(ns(Duration::MAX), i64::MAX);
    }
}
