//! An answer of `POST /api/v1/sql` that is larger than a browser should hold: what was read of it, cut after its last
//! whole row and closed. Never asks for anything.

/// Bytes of an answer that are read; its values take about ten times that once parsed.
pub const MOST_BYTES: usize = 16 << 20;

/// The first bytes of an answer as an answer of its own, with the given receipt. `None` where not even the columns are
/// whole.
pub fn close(read: &[u8], receipt: &str) -> Option<Vec<u8>> {
    const ROWS: &[u8] = b",\"rows\":[";
    // Within a string the quotes would be escaped, so this is found only where it is meant.
    let rows = read.windows(ROWS.len()).position(|w| w == ROWS)? + ROWS.len();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut end = rows;
    for (at, byte) in read.iter().enumerate().skip(rows) {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            // The end of the list of rows itself: all of them are there.
            b']' if depth == 0 => break,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    end = at + 1;
                }
            }
            _ => {}
        }
    }
    let mut closed = read[..end].to_vec();
    closed.extend_from_slice(format!("],\"receipt\":{receipt}}}").as_bytes());
    Some(closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_api::{Receipt, SqlResponse};

    const WHOLE: &str = r#"{"columns":[{"name":",\"rows\":[","type":"VARCHAR"}],"rows":[["a]["],["\\\"]"],[{"k":[1,2]}],[null]],"receipt":{"elapsed_ms":1.0,"rows_scanned":4,"bytes_scanned":4,"files":0,"files_pruned":0}}"#;

    #[test]
    fn an_answer_cut_anywhere_is_an_answer_of_its_first_rows() {
        let whole: SqlResponse = serde_json::from_str(WHOLE).unwrap();
        let receipt = serde_json::to_string(&Receipt::default()).unwrap();
        let mut most = 0;
        for cut in 0..=WHOLE.len() {
            let Some(closed) = close(&WHOLE.as_bytes()[..cut], &receipt) else { continue };
            let answer: SqlResponse = serde_json::from_slice(&closed).unwrap_or_else(|e| panic!("{cut}: {e}"));
            assert_eq!(answer.rows, whole.rows[..answer.rows.len()], "{cut}");
            assert!(answer.rows.len() >= most, "{cut}");
            most = answer.rows.len();
        }
        assert_eq!(most, 4);
        assert!(close(b"{\"columns\":[", &receipt).is_none());
    }
}
