//! Figures as people read them: durations, counts, bytes, rates, shares. Exact values belong into a title; these round.

const NBSP: char = '\u{a0}';

/// `812 ns`, `4.21 ms`, `1.24 s`, `2 m 05 s`; a minus where the end lies before the start.
pub fn duration(ns: i64) -> String {
    if ns < 0 {
        return format!("−{}", duration(ns.saturating_neg()));
    }
    let f = ns as f64;
    match ns {
        0..1_000 => format!("{ns}{NBSP}ns"),
        1_000..1_000_000 => with_unit(f / 1e3, "µs"),
        1_000_000..1_000_000_000 => with_unit(f / 1e6, "ms"),
        1_000_000_000..60_000_000_000 => with_unit(f / 1e9, "s"),
        60_000_000_000..3_600_000_000_000 => {
            let seconds = ns / 1_000_000_000;
            two(seconds / 60, "m", seconds % 60, "s")
        }
        3_600_000_000_000..86_400_000_000_000 => {
            let minutes = ns / 60_000_000_000;
            two(minutes / 60, "h", minutes % 60, "m")
        }
        _ => {
            let hours = ns / 3_600_000_000_000;
            two(hours / 24, "d", hours % 24, "h")
        }
    }
}

/// Two units, or the larger alone where the rest is nothing.
fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{NBSP}{large_unit}")
    } else {
        format!("{large}{NBSP}{large_unit}{NBSP}{small:02}{NBSP}{small_unit}")
    }
}

/// `1,234,567 ns`, for titles.
pub fn duration_exact(ns: i64) -> String {
    format!("{}{NBSP}ns", grouped(ns))
}

/// `1,234,567`.
pub fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < 0 {
        out.push('−');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `999`, `12.4 k`, `3.21 M`.
pub fn count(n: u64) -> String {
    if n < 10_000 { grouped(n as i64) } else { scaled(n as f64, "") }
}

/// `48.2 kB`: decimal units, as disks and networks count.
pub fn bytes(n: u64) -> String {
    if n < 1_000 { format!("{n}{NBSP}B") } else { scaled(n as f64, "B") }
}

/// Calls a second: `0.21/s`, `12.4/s`, `1.2 k/s`; by the minute where a second sees less than a tenth.
pub fn rate(count: u64, window_ns: i64) -> String {
    let per_second = count as f64 / (window_ns.max(1) as f64 / 1e9);
    if count == 0 {
        "0/s".to_owned()
    } else if per_second < 0.1 {
        format!("{}/min", significant(per_second * 60.0))
    } else {
        format!("{}/s", number(per_second))
    }
}

/// A measured number: `0.0021`, `12.4`, `1.2 k`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "NaN".to_owned();
    }
    let size = value.abs();
    if size >= 10_000.0 {
        scaled(value, "")
    } else if size >= 1_000.0 || value == value.trunc() {
        grouped(value.round() as i64)
    } else {
        significant(value)
    }
}

/// A share of 0 to 1 as `0 %`, `0.04 %`, `12.1 %`, `100 %`. What is not all is never shown as 100 %, nor what is not
/// nothing as 0 %.
pub fn share(part: f64) -> String {
    let percent = part * 100.0;
    if percent <= 0.0 {
        format!("0{NBSP}%")
    } else if percent >= 100.0 {
        format!("100{NBSP}%")
    } else if percent < 0.01 {
        format!("<{NBSP}0.01{NBSP}%")
    } else if percent > 99.99 {
        format!(">{NBSP}99.99{NBSP}%")
    } else {
        // Three figures, cut rather than rounded near the top.
        let places = if (1.0..99.0).contains(&percent) { 1 } else { 2 };
        let factor = 10_f64.powi(places);
        let cut = (percent * factor).floor() / factor;
        format!("{}{NBSP}%", trim(format!("{cut:.*}", places as usize)))
    }
}

/// Errors among calls.
pub fn error_share(errors: u64, calls: u64) -> String {
    if calls == 0 { "–".to_owned() } else { share(errors as f64 / calls as f64) }
}

/// The first eight characters of an id, enough to tell a page of them apart.
pub fn short_id(id: &str) -> String {
    id.chars().take(8).collect()
}

fn scaled(value: f64, unit: &str) -> String {
    let size = value.abs();
    let (divisor, prefix) = if size >= 1e12 {
        (1e12, "T")
    } else if size >= 1e9 {
        (1e9, "G")
    } else if size >= 1e6 {
        (1e6, "M")
    } else {
        (1e3, "k")
    };
    format!("{}{NBSP}{prefix}{unit}", significant(value / divisor))
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{}{NBSP}{unit}", significant(value))
}

/// Three significant figures without trailing zeros.
fn significant(value: f64) -> String {
    let size = value.abs();
    let places = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else if size >= 0.1 {
        3
    } else {
        return if value == 0.0 { "0".to_owned() } else { trim_small(value) };
    };
    trim(format!("{value:.places$}")).replace('-', "−")
}

fn trim_small(value: f64) -> String {
    let places = (2 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    trim(format!("{value:.places$}")).replace('-', "−")
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace(NBSP, " ")
    }

    #[test]
    fn durations_are_humane() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (812_000, "812 µs"),
            (1_500, "1.5 µs"),
            (4_210_000, "4.21 ms"),
            (1_240_000_000, "1.24 s"),
            (59_940_000_000, "59.9 s"),
            (125_000_000_000, "2 m 05 s"),
            (60_000_000_000, "1 m"),
            (3_661_000_000_000, "1 h 01 m"),
            (-2_000_000, "−2 ms"),
        ] {
            assert_eq!(plain(duration(ns)), text, "{ns}");
        }
    }

    #[test]
    fn counts_bytes_rates_and_shares_are_short() {
        assert_eq!(plain(count(9_999)), "9,999");
        assert_eq!(plain(count(12_400)), "12.4 k");
        assert_eq!(plain(count(321_068)), "321 k");
        assert_eq!(plain(bytes(999)), "999 B");
        assert_eq!(plain(bytes(48_200)), "48.2 kB");
        assert_eq!(plain(rate(7_200, 3_600_000_000_000)), "2/s");
        assert_eq!(plain(rate(30, 3_600_000_000_000)), "0.5/min");
        assert_eq!(plain(share(0.99999)), "> 99.99 %");
        assert_eq!(plain(share(0.99912)), "99.91 %");
        assert_eq!(plain(share(0.1234)), "12.3 %");
        assert_eq!(plain(share(1.0)), "100 %");
        assert_eq!(plain(error_share(0, 0)), "–");
        assert_eq!(number(0.00214), "0.00214");
        assert_eq!(plain(number(-1234567.0)), "−1.23 M");
    }
}
