//! Numbers for people, digit for digit as Prometheus' template functions write them.

use chrono::{DateTime, SecondsFormat, Utc};

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// With a metric prefix: `1.235k`, `12.3m`.
pub(super) fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return four_digits(v);
    }
    let (v, prefix) = if v.abs() >= 1.0 { scaled_down(v, 1000.0, &LARGE) } else { scaled_up(v) };
    format!("{}{prefix}", four_digits(v))
}

/// Like [`humanize`] with 1024 as the base: `1.5Mi`.
pub(super) fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return four_digits(v);
    }
    let (v, prefix) = scaled_down(v, 1024.0, &LARGE_1024);
    format!("{}{prefix}", four_digits(v))
}

/// Of seconds: `1d 2h 3m 4s`, `31.5ms`.
pub(super) fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return four_digits(v);
    }
    if v == 0.0 {
        return "0s".to_owned();
    }
    if v.abs() < 1.0 {
        let (v, prefix) = scaled_up(v);
        return format!("{}{prefix}s", four_digits(v));
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let v = v.abs();
    let whole = v as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    if days != 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours != 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes != 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", four_digits(v))
    }
}

/// Of a share: `12.35%`.
pub(super) fn humanize_percentage(v: f64) -> String {
    format!("{}%", four_digits(v * 100.0))
}

/// Of seconds since the Unix epoch: `2015-06-23 13:19:44.128 +0000 UTC`, to the millisecond.
pub(super) fn humanize_timestamp(v: f64) -> Result<String, String> {
    if !v.is_finite() {
        return Ok(four_digits(v));
    }
    let ns = v * 1e9;
    if ns.abs() >= i64::MAX as f64 {
        return Err(format!("{} is no time: nanoseconds since 1970 overflow", four_digits(v)));
    }
    let time: DateTime<Utc> = DateTime::from_timestamp_nanos(ns as i64);
    let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (date, clock) = text.trim_end_matches('Z').split_once('T').unwrap_or_default();
    let clock = clock.trim_end_matches('0').trim_end_matches('.');
    // `13:19:40.000` lost zeros of its seconds.
    let clock = if clock.len() < 8 { format!("{clock:0<8}") } else { clock.to_owned() };
    Ok(format!("{date} {clock} +0000 UTC"))
}

/// Go's `%v` of a float: the fewest digits that read back the same number, with an exponent from a million upwards and
/// below a ten-thousandth.
pub(super) fn as_go(v: f64) -> String {
    if !v.is_finite() {
        return four_digits(v);
    }
    let scientific = format!("{v:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{v}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Go's `%.4g`.
pub(super) fn four_digits(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{v:.3e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..4).contains(&exponent) {
        let decimals = usize::try_from(3 - exponent).unwrap_or(0);
        return without_zeros(&format!("{v:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs())
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn scaled_down(mut v: f64, base: f64, prefixes: &[&'static str; 8]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if v.abs() < base {
            break;
        }
        prefix = next;
        v /= base;
    }
    (v, prefix)
}

fn scaled_up(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    (v, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (f64, &'static str);

    fn check(function: fn(f64) -> String, cases: &[Case]) {
        for (value, expected) in cases {
            assert_eq!(function(*value), *expected, "{value}");
        }
    }

    #[test]
    fn four_digits_are_enough() {
        check(
            four_digits,
            &[
                (0.0, "0"),
                (-0.5, "-0.5"),
                (1234.0, "1234"),
                (12345.0, "1.234e+04"),
                (0.000_123_456, "0.0001235"),
                (0.000_012_345_6, "1.235e-05"),
                (9999.6, "1e+04"),
                (1e100, "1e+100"),
                (f64::NAN, "NaN"),
                (f64::INFINITY, "+Inf"),
                (f64::NEG_INFINITY, "-Inf"),
            ],
        );
    }

    #[test]
    fn prefixes_of_a_thousand() {
        check(
            humanize,
            &[
                (0.0, "0"),
                (1.0, "1"),
                (1_234_567.0, "1.235M"),
                (1_048_576.0, "1.049M"),
                (-999.0, "-999"),
                (-1_500.0, "-1.5k"),
                (0.12, "120m"),
                (0.000_001, "1u"),
                (1e27, "1000Y"),
                (f64::NAN, "NaN"),
                (f64::NEG_INFINITY, "-Inf"),
            ],
        );
    }

    #[test]
    fn prefixes_of_1024() {
        check(
            humanize_1024,
            &[
                (0.0, "0"),
                (1.0, "1"),
                (1_048_576.0, "1Mi"),
                (0.12, "0.12"),
                (1536.0, "1.5ki"),
                (1023.0, "1023"),
                (-2048.0, "-2ki"),
            ],
        );
    }

    #[test]
    fn durations_in_words() {
        check(
            humanize_duration,
            &[
                (0.0, "0s"),
                (1.0, "1s"),
                (60.0, "1m 0s"),
                (3600.0, "1h 0m 0s"),
                (86_400.0, "1d 0h 0m 0s"),
                (86_400.0 + 3600.0, "1d 1h 0m 0s"),
                (-(86_400.0 * 2.0 + 3600.0 * 3.0 + 60.0 * 4.0 + 5.0), "-2d 3h 4m 5s"),
                (899.99, "14m 59s"),
                (0.1, "100ms"),
                (0.0001, "100us"),
                (0.12345, "123.5ms"),
                (1.2345, "1.234s"),
                (-1.2345, "-1.234s"),
                (f64::NAN, "NaN"),
                (f64::INFINITY, "+Inf"),
            ],
        );
    }

    #[test]
    fn shares_and_times() {
        check(
            humanize_percentage,
            &[(-0.22222, "-22.22%"), (0.0, "0%"), (0.1234567, "12.35%"), (1.23456, "123.5%"), (1.0, "100%")],
        );
        let time = |v| humanize_timestamp(v).expect("a time");
        assert_eq!(time(0.0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(time(1_435_065_584.128), "2015-06-23 13:19:44.128 +0000 UTC");
        assert_eq!(time(1_435_065_600.0), "2015-06-23 13:20:00 +0000 UTC");
        assert_eq!(time(1_435_065_600.5), "2015-06-23 13:20:00.5 +0000 UTC");
        assert_eq!(time(f64::NAN), "NaN");
        assert!(humanize_timestamp(1e20).is_err());
    }
}
