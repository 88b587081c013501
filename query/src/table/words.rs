//! Which words a log body must hold for a pattern to match it. Errs only towards reading.

use orrery_storage::token_filter::{Word, is_ascii_word, words};

/// The column that token filters are about.
pub(super) const BODY: &str = "body";

/// The escape character of `LIKE`.
pub(super) const ESCAPE: char = '\\';

/// The words that stand whole in a pattern: at its ends, or between characters of no word. Next to a wildcard a word of
/// the text may go on. Of patterns that ignore case only what is ASCII, since folding and `ILIKE` need not agree on the
/// rest.
pub(super) fn like(pattern: &str, ignores_case: bool) -> Vec<Word> {
    let mut literal = String::new();
    let mut pieces: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' | '_' => pieces.push(std::mem::take(&mut literal)),
            ESCAPE => literal.push(chars.next().unwrap_or(ESCAPE)),
            _ => literal.push(c),
        }
    }
    pieces.push(literal);
    let last = pieces.len() - 1;
    let mut found = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        for word in words(piece) {
            let start = word.as_ptr() as usize - piece.as_ptr() as usize;
            let end = start + word.len();
            let whole_before = start > 0 || i == 0;
            let whole_after = end < piece.len() || i == last;
            let plain = |c: Option<char>| c.is_none_or(|c| c.is_ascii() && !is_ascii_word(c as u8));
            let ascii =
                word.is_ascii() && plain(piece[..start].chars().next_back()) && plain(piece[end..].chars().next());
            if whole_before && whole_after && (!ignores_case || ascii) {
                found.extend(Word::all_of(word));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_ask_for_the_words_that_stand_whole_in_them() {
        let all = |words: &[&str]| words.iter().flat_map(|w| Word::all_of(w)).collect::<Vec<_>>();
        for (pattern, words) in [
            ("%timeout%", &[][..]),
            ("timeout%", &[]),
            ("timeout %", &["timeout"]),
            ("%connection refused by%", &["refused"]),
            ("%[ERROR]%", &["error"]),
            ("whole line", &["whole", "line"]),
            ("a_b c d", &["c", "d"]),
            (r"%[a\_b]%", &["a_b"]),
            (r"%[50\%]%", &["50"]),
            ("%", &[]),
        ] {
            assert_eq!(like(pattern, true), all(words), "{pattern}");
            assert_eq!(like(pattern, false), all(words), "{pattern}");
        }
        assert_eq!(like("% schön [ok→ %", true), all(&[]));
        assert_eq!(like("% schön [ok→ %", false), all(&["schön", "ok"]));
    }
}
