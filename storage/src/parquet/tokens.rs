//! Writing the token filters of a file: the distinct words of each section of a row group's bodies as a filter, the
//! filters behind the row group's columns, and where they lie in the footer. What a word is, is [`crate::token_filter`]'s.

use std::io::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::UInt32Type;
use hashbrown::HashSet;
use parquet::errors::Result;
use parquet::file::writer::SerializedFileWriter;

use crate::section_filter::{Place, SECTION_ROWS, SectionFilters};
use crate::token_filter::{TokenFilters, folded_chars, hash, words};
use crate::trace_filter::{BLOCK_BYTES, fill, stored};

/// Bits a distinct word; one look-up in about a hundred of an absent word is a false yes.
const BITS_PER_WORD: usize = 10;
/// A section with more words has fewer bits for each.
const MAX_FILTER_BYTES: usize = 128 << 10;
/// With fewer, a filter would say yes too often to be worth its bytes, and is not written.
const MIN_BITS_PER_WORD: usize = 4;
const MAX_WORDS: usize = MAX_FILTER_BYTES * 8 / MIN_BITS_PER_WORD;

/// Words that were seen a moment ago: most words of a log are the same few.
const RECENT: usize = 4_096;

/// Gathers the words of one row group at a time.
pub(crate) struct TokenBuilder {
    /// Of the section's distinct words.
    hashes: HashSet<u64>,
    /// By the lower bits of a hash; the section's only.
    recent: Vec<u64>,
    rows: usize,
    folded: String,
    filters: SectionFilters,
}

impl TokenBuilder {
    pub(crate) fn new() -> Self {
        let mut builder =
            Self { hashes: HashSet::new(), recent: Vec::new(), rows: 0, folded: String::new(), filters: Vec::new() };
        builder.begin_section();
        builder
    }

    /// Adds the bodies of the next rows: strings, or a dictionary of them.
    pub(crate) fn add(&mut self, bodies: &dyn Array) {
        if let Some(dictionary) = bodies.as_dictionary_opt::<UInt32Type>() {
            let values = dictionary.values().as_string::<i32>();
            for place in dictionary.keys() {
                let value = place.map(|place| place as usize).filter(|&place| values.is_valid(place));
                self.add_row(value.map(|place| values.value(place)));
            }
        } else {
            bodies.as_string::<i32>().iter().for_each(|body| self.add_row(body));
        }
    }

    /// The filters of the rows since the last call: of one row group.
    pub(crate) fn finish(&mut self) -> SectionFilters {
        if self.rows > 0 {
            self.end_section();
        }
        std::mem::take(&mut self.filters)
    }

    fn add_row(&mut self, body: Option<&str>) {
        for word in words(body.unwrap_or_default()) {
            self.folded.clear();
            if word.is_ascii() {
                self.folded.push_str(word);
                self.folded.make_ascii_lowercase();
            } else {
                self.folded.extend(folded_chars(word));
            }
            let hash = hash(self.folded.as_bytes());
            let recent = &mut self.recent[hash as usize % RECENT];
            if *recent != hash && self.hashes.len() <= MAX_WORDS {
                *recent = hash;
                self.hashes.insert(hash);
            }
        }
        self.rows += 1;
        if self.rows == SECTION_ROWS {
            self.end_section();
        }
    }

    fn end_section(&mut self) {
        let words = self.hashes.len();
        let blocks = (words * BITS_PER_WORD).div_ceil(8 * BLOCK_BYTES).min(MAX_FILTER_BYTES / BLOCK_BYTES);
        let filter = (words <= MAX_WORDS).then(|| stored(&fill(blocks, self.hashes.drain())));
        self.filters.push(filter);
        self.begin_section();
    }

    fn begin_section(&mut self) {
        self.hashes.clear();
        self.rows = 0;
        // No place holds a hash that belongs there.
        self.recent.clear();
        self.recent.extend((0..RECENT as u64).map(|place| !place));
    }
}

/// Where the filters of one file lie, while it is written.
pub(crate) struct TokenPlaces(TokenFilters);

impl TokenPlaces {
    pub(crate) fn new() -> Self {
        Self(TokenFilters::new())
    }

    /// Writes the filters of the row group that was closed last.
    pub(crate) fn write<W: Write + Send>(
        &mut self,
        writer: &mut SerializedFileWriter<W>,
        filters: &SectionFilters,
    ) -> Result<()> {
        self.0.push(write_filters(writer, filters)?);
        Ok(())
    }

    /// Puts the places into the footer; the file is to be closed next.
    pub(crate) fn finish<W: Write + Send>(self, writer: &mut SerializedFileWriter<W>) {
        writer.append_key_value_metadata(self.0.entry());
    }
}

/// Writes the filters of a row group behind what is there, and says where.
pub(super) fn write_filters<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    filters: &SectionFilters,
) -> Result<Place> {
    let place = Place::of(writer.bytes_written() as u64, filters);
    for filter in filters.iter().flatten() {
        writer.write_all(filter)?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, StringArray, UInt32Array};
    use bytes::Bytes;

    use super::*;
    use crate::token_filter::{RowGroupTokens, Word};

    fn tokens(filters: &SectionFilters) -> RowGroupTokens {
        let mut places = TokenFilters::new();
        places.push(Place::of(0, filters));
        let bytes: Vec<u8> = filters.iter().flatten().flatten().copied().collect();
        places.load(0, Bytes::from(bytes)).expect("the bytes of the filters")
    }

    fn of(bodies: &dyn Array) -> SectionFilters {
        let mut builder = TokenBuilder::new();
        builder.add(bodies);
        builder.finish()
    }

    #[test]
    fn each_section_holds_its_words_and_few_others() {
        let rows = SECTION_ROWS * 2 + 100;
        let bodies: StringArray =
            (0..rows).map(|i| (i % 5 != 0).then(|| format!("Request {i} of user_{} FAILED, schön", i % 50))).collect();
        let tokens = tokens(&of(&bodies));
        assert_eq!(tokens.sections(), 3);
        let mut strangers = 0;
        for row in (0..rows).filter(|row| row % 5 != 0) {
            for word in Word::all_of(bodies.value(row)) {
                assert!(tokens.may_hold(row / SECTION_ROWS, &word), "{row}");
            }
            let other = &Word::all_of(&format!("{}", row + 1_000_000))[0];
            strangers += usize::from(tokens.may_hold(row / SECTION_ROWS, other));
        }
        assert!(strangers * 40 < rows, "{strangers} of {rows} absent words pass");
    }

    #[test]
    fn a_dictionary_and_pieces_give_the_same_filters() {
        let words: Vec<String> = (0..300).map(|i| format!("word{i} and {}", i % 7)).collect();
        let values: StringArray = words.iter().enumerate().map(|(i, w)| (i % 11 != 0).then_some(w.as_str())).collect();
        let keys: UInt32Array = (0..20_000_u32).map(|i| (i % 13 != 0).then_some(i * 7 % 300)).collect();
        let plain: StringArray = keys
            .iter()
            .map(|key| key.map(|key| key as usize).filter(|&key| values.is_valid(key)).map(|key| values.value(key)))
            .collect();
        let dictionary = DictionaryArray::new(keys, std::sync::Arc::new(values));
        let expected = of(&plain);
        assert_eq!(expected.len(), 3);
        assert_eq!(of(&dictionary), expected);
        let mut builder = TokenBuilder::new();
        for start in (0..20_000).step_by(4_000) {
            builder.add(&dictionary.slice(start, 4_000));
        }
        assert_eq!(builder.finish(), expected);
        assert!(builder.finish().is_empty(), "the next row group has no rows yet");
    }

    #[test]
    fn rows_without_words_hold_none_and_too_many_words_have_no_filter() {
        let empty = of(&StringArray::from(vec![None, Some(""), Some("...")]));
        assert_eq!(empty, vec![Some(vec![])]);
        let many = (0..40).map(|row| (0..10_000).map(|i| format!("w{} ", row * 10_000 + i)).collect::<String>());
        let bodies: StringArray = many.map(Some).collect();
        assert_eq!(of(&bodies), vec![None]);
        let fewer = of(&bodies.slice(0, 20));
        assert_eq!(fewer[0].as_ref().map(Vec::len), Some(MAX_FILTER_BYTES), "fewer bits a word");
        let tokens = tokens(&fewer);
        assert!((0..200_000).all(|i| tokens.may_hold(0, &Word::all_of(&format!("w{i}"))[0])));
    }
}
