//! How far a word is from another one, for messages that ask what was meant. Decides nothing: how far is too far is for
//! those who ask.

/// The Levenshtein distance in characters: how many are to be put in, left out or changed to come from `a` to `b`.
pub fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_in_characters() {
        for (a, b, count) in [
            ("", "", 0),
            ("", "for", 3),
            ("for", "", 3),
            ("fro", "for", 2),
            ("lables", "labels", 2),
            ("größe", "grosse", 3),
        ] {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a:?} {b:?}");
        }
    }
}
