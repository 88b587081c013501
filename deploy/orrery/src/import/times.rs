//! The times of an OTLP/JSON line: finds them and moves them without parsing the rest. A key of OTLP that holds a time
//! ends in `UnixNano`; a quote and a colon right after it can only be a key's, since quotes in text are escaped.

use memchr::memmem::Finder;

const KEY_END: &[u8] = b"UnixNano\"";

/// The times of a line; zero means "not set" and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub oldest_ns: u64,
    pub newest_ns: u64,
}

impl Times {
    pub fn join(self, other: Self) -> Self {
        Self { oldest_ns: self.oldest_ns.min(other.oldest_ns), newest_ns: self.newest_ns.max(other.newest_ns) }
    }
}

/// The oldest and newest time of a line; `None` where it has none.
pub fn times(line: &[u8]) -> Option<Times> {
    let mut found: Option<Times> = None;
    each(line, |_, time| {
        if time != 0 {
            let one = Times { oldest_ns: time, newest_ns: time };
            found = Some(found.map_or(one, |all| all.join(one)));
        }
    });
    found
}

/// The line with all its times moved; what would leave the range of a time stays at its end.
pub fn shift(line: &[u8], by_ns: i64) -> Vec<u8> {
    let mut moved = Vec::with_capacity(line.len() + 64);
    let mut copied = 0;
    each(line, |digits, time| {
        if time != 0 {
            moved.extend_from_slice(&line[copied..digits.start]);
            let shifted = time.saturating_add_signed(by_ns).max(1);
            moved.extend_from_slice(shifted.to_string().as_bytes());
            copied = digits.end;
        }
    });
    moved.extend_from_slice(&line[copied..]);
    moved
}

/// Calls with the place of each time's digits and its value.
fn each(line: &[u8], mut call: impl FnMut(std::ops::Range<usize>, u64)) {
    let finder = Finder::new(KEY_END);
    for at in finder.find_iter(line) {
        let mut i = skip_spaces(line, at + KEY_END.len());
        if line.get(i) != Some(&b':') {
            continue;
        }
        i = skip_spaces(line, i + 1);
        if line.get(i) == Some(&b'"') {
            i += 1;
        }
        let digits = line[i..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&line[i..i + digits]).ok().and_then(|text| text.parse().ok());
        if let Some(time) = number {
            call(i..i + digits, time);
        }
    }
}

fn skip_spaces(line: &[u8], from: usize) -> usize {
    from + line[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_times_move_and_nothing_else() {
        let cases: [(&str, &str); 5] = [
            (r#"{"timeUnixNano":"100","x":"100"}"#, r#"{"timeUnixNano":"150","x":"100"}"#),
            (
                r#"{"startTimeUnixNano" : 100,"endTimeUnixNano":"0"}"#,
                r#"{"startTimeUnixNano" : 150,"endTimeUnixNano":"0"}"#,
            ),
            (r#"{"body":"\"timeUnixNano\":\"100\""}"#, r#"{"body":"\"timeUnixNano\":\"100\""}"#),
            (r#"{"key":"timeUnixNano","value":"100"}"#, r#"{"key":"timeUnixNano","value":"100"}"#),
            (r#"{"timeUnixNano":null}"#, r#"{"timeUnixNano":null}"#),
        ];
        for (line, expected) in cases {
            assert_eq!(String::from_utf8(shift(line.as_bytes(), 50)).expect("text"), expected);
        }
    }

    #[test]
    fn oldest_and_newest_leave_zero_out() {
        let line = br#"[{"timeUnixNano":"0"},{"timeUnixNano":"7","observedTimeUnixNano":"9"},{"timeUnixNano":"8"}]"#;
        assert_eq!(times(line), Some(Times { oldest_ns: 7, newest_ns: 9 }));
        assert_eq!(times(b"{}"), None);
        assert_eq!(times(b"UnixNano\""), None);
    }
}
