//! The words of log bodies: what a word is, and filters of words over a few thousand rows each, by which a search for a
//! word leaves most of a file unread. Never says no to a word that is there.

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::section_filter::{Place, SECTION_ROWS, Sections};

/// Of what is a word, of its folding, of its hash and of the filter's bits.
const VERSION: u32 = 1;

/// What is a letter, and its case, changes with Unicode's versions.
const UNICODE: (u8, u8, u8) = char::UNICODE_VERSION;

/// The words of a text in order: the longest runs of letters, digits (of any script) and `_`, as they are written.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut start = None;
        while at < text.len() {
            let (is_word, length) = char_at(text, at);
            match (is_word, start) {
                (true, None) => start = Some(at),
                (false, Some(start)) => {
                    let word = &text[start..at];
                    at += length;
                    return Some(word);
                }
                _ => {}
            }
            at += length;
        }
        start.map(|start| &text[start..])
    })
}

/// Whether the character at a boundary belongs to a word, and its length in bytes.
fn char_at(text: &str, at: usize) -> (bool, usize) {
    let byte = text.as_bytes()[at];
    if byte.is_ascii() {
        return (is_ascii_word(byte), 1);
    }
    let c = text[at..].chars().next().expect("a boundary before the end has a character");
    (c.is_alphanumeric(), c.len_utf8())
}

/// Whether a byte is an ASCII character of a word.
pub const fn is_ascii_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A word as it is compared: by Unicode's default full case folding, so that `STRASSE`, `Straße` and `straße` are one.
pub fn folded(word: &str) -> String {
    if word.is_ascii() { word.to_ascii_lowercase() } else { folded_chars(word).collect() }
}

/// The characters of [`folded`].
pub fn folded_chars(word: &str) -> impl Iterator<Item = char> {
    word.chars().flat_map(|c| {
        // Folding is the lower case of the upper case of the lower case, but for the dotless i, which would lose its dot's
        // absence.
        let kept = (c == 'ı').then_some(c);
        let folded = c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        kept.into_iter().chain(folded.filter(move |_| kept.is_none()))
    })
}

/// A word that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    hash: u64,
    /// As it is folded.
    is_ascii: bool,
}

impl Word {
    /// The words of a text.
    pub fn all_of(text: &str) -> Vec<Self> {
        let word = |folded: String| Self { hash: hash(folded.as_bytes()), is_ascii: folded.is_ascii() };
        words(text).map(|text| word(folded(text))).collect()
    }
}

/// The hash of a folded word.
pub(crate) fn hash(folded: &[u8]) -> u64 {
    xxh3_64(folded)
}

/// Where a file's filters lie, as its footer says under [`TokenFilters::KEY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFilters {
    version: u32,
    /// Of the writer, as `major.minor.patch`.
    unicode: String,
    column: String,
    section_rows: usize,
    row_groups: Vec<Place>,
}

impl TokenFilters {
    /// The key in the footer's key-value metadata.
    pub const KEY: &'static str = "orrery.token_filters";

    /// Of a file without row groups yet.
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            unicode: unicode(),
            column: "body".to_owned(),
            section_rows: SECTION_ROWS,
            row_groups: Vec::new(),
        }
    }

    /// What a footer says of filters over a column; `None` where it says nothing, or of another version.
    pub fn of(metadata: &[KeyValue], column: &str) -> Option<Self> {
        let value = metadata.iter().find(|entry| entry.key == Self::KEY)?.value.as_deref()?;
        let found: Self = serde_json::from_str(value).ok()?;
        (found.version == VERSION && found.column == column && found.section_rows > 0).then_some(found)
    }

    /// Notes the filters of the next row group.
    pub(crate) fn push(&mut self, place: Place) {
        self.row_groups.push(place);
    }

    /// The entry of the footer's key-value metadata.
    pub(crate) fn entry(&self) -> KeyValue {
        let value = serde_json::to_string(self).expect("numbers and short texts are JSON");
        KeyValue::new(Self::KEY.to_owned(), value)
    }

    /// The row groups of the file.
    pub fn row_groups(&self) -> usize {
        self.row_groups.len()
    }

    /// Rows of each section but the last of a row group.
    pub const fn section_rows(&self) -> usize {
        self.section_rows
    }

    /// The bytes of the file that hold a row group's filters, to be given to [`Self::load`].
    pub fn range(&self, row_group: usize) -> Range<u64> {
        self.row_groups[row_group].range()
    }

    /// The filters in the bytes of [`Self::range`]; `None` where they are too few.
    pub fn load(&self, row_group: usize, bytes: Bytes) -> Option<RowGroupTokens> {
        let sections = self.row_groups[row_group].load(bytes)?;
        Some(RowGroupTokens { sections, same_unicode: self.unicode == unicode() })
    }
}

fn unicode() -> String {
    format!("{}.{}.{}", UNICODE.0, UNICODE.1, UNICODE.2)
}

/// The filters of one row group.
#[derive(Clone, Debug)]
pub struct RowGroupTokens {
    sections: Sections,
    /// Whether the writer had our version of Unicode. ASCII words are the same in all.
    same_unicode: bool,
}

impl RowGroupTokens {
    pub fn sections(&self) -> usize {
        self.sections.len()
    }

    /// Whether the word may be in a row of the section. `false` is certain.
    pub fn may_hold(&self, section: usize, word: &Word) -> bool {
        (!word.is_ascii && !self.same_unicode) || self.sections.may_hold(section, word.hash)
    }

    pub fn size_bytes(&self) -> usize {
        self.sections.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        for (text, expected) in [
            ("Payment accepted: id_1", vec!["Payment", "accepted", "id_1"]),
            ("", vec![]),
            (" .,;", vec![]),
            ("a.b-c/d", vec!["a", "b", "c", "d"]),
            ("überweisung→ok", vec!["überweisung", "ok"]),
            ("日本語 ٣٤", vec!["日本語", "٣٤"]),
            ("x\u{301}y", vec!["x", "y"]),
            ("end", vec!["end"]),
            ("[_]", vec!["_"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn folding_is_unicodes() {
        for (word, expected) in [
            ("ERROR_42", "error_42"),
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("\u{212a}elvin", "kelvin"),
            ("ſet", "set"),
            ("ﬁn", "fin"),
            ("İ", "i\u{307}"),
            ("ı", "ı"),
            ("Ꭰ", "ꭰ"),
        ] {
            assert_eq!(folded(word), expected, "{word}");
            assert_eq!(folded(&folded(word)), expected, "{word} folded twice");
        }
    }

    /// The stored form must not change without a new version: FORMAT.md's test vector.
    #[test]
    fn the_hash_is_that_of_the_format() {
        assert_eq!(hash(folded("Straße").as_bytes()), hash(b"strasse"));
        assert_eq!(format!("{:016x}", hash(b"error")), "22ee27259be28863");
    }

    #[test]
    fn footers_of_other_versions_and_columns_are_not_read() {
        let mut filters = TokenFilters::new();
        filters.push(Place::new(4, vec![Some(1), None, Some(0)]));
        let entry = filters.entry();
        assert_eq!(TokenFilters::of(std::slice::from_ref(&entry), "body"), Some(filters.clone()));
        assert_eq!(filters.range(0), 4..36);
        let none =
            |value: &str| TokenFilters::of(&[KeyValue::new(TokenFilters::KEY.to_owned(), value.to_owned())], "body");
        assert_eq!(TokenFilters::of(&[entry], "event_name"), None);
        assert_eq!(TokenFilters::of(&[], "body"), None);
        for value in
            ["", "{}", r#"{"version":2,"unicode":"17.0.0","column":"body","section_rows":8192,"row_groups":[]}"#]
        {
            assert_eq!(none(value), None, "{value}");
        }
    }

    #[test]
    fn a_filter_rules_out_only_what_it_can() {
        let mut filters = TokenFilters::new();
        filters.push(Place::new(0, vec![Some(1), None, Some(0)]));
        let word = |text: &str| Word::all_of(text).remove(0);
        let block = crate::trace_filter::fill(1, [word("there").hash, word("schön").hash]);
        let bytes = Bytes::from(crate::trace_filter::stored(&block));
        let load = |filters: &TokenFilters| filters.load(0, bytes.clone()).expect("as many bytes as said");
        let tokens = load(&filters);
        assert!(tokens.may_hold(0, &word("There")) && tokens.may_hold(0, &word("SCHÖN")));
        assert!(!tokens.may_hold(0, &word("absent")) && !tokens.may_hold(0, &word("älter")));
        assert!(tokens.may_hold(1, &word("absent")), "a section without a filter may hold anything");
        assert!(!tokens.may_hold(2, &word("there")), "a section without words holds none");
        assert!(filters.load(0, bytes.slice(1..)).is_none(), "a torn file");
        // Another Unicode may draw words and cases otherwise, except for ASCII.
        filters.unicode = "5.1.0".to_owned();
        let tokens = load(&filters);
        assert!(tokens.may_hold(0, &word("älter")) && !tokens.may_hold(0, &word("absent")));
    }
}
