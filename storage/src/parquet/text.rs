//! The text of a column, plain or behind a dictionary, and the least and greatest of it. Never copies more than those.

use arrow::array::{Array, AsArray, StringArray, UInt32Array};
use arrow::datatypes::UInt32Type;

use super::ColumnRange;

/// Words longer than this are not kept in the catalog.
const MAX_RANGE_BYTES: usize = 256;

/// Text, plain or behind a dictionary with 32-bit keys.
pub(super) enum Texts<'a> {
    Plain(&'a StringArray),
    Behind { keys: &'a UInt32Array, values: &'a StringArray },
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Self {
        match array.as_dictionary_opt::<UInt32Type>() {
            Some(dictionary) => Self::Behind { keys: dictionary.keys(), values: dictionary.values().as_string() },
            None => Self::Plain(array.as_string()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(array) => array.len(),
            Self::Behind { keys, .. } => keys.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&'a str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        let (array, row) = match self {
            Self::Plain(array) => (*array, row),
            Self::Behind { keys, values } => (*values, keys.value(row) as usize),
        };
        array.is_valid(row).then(|| array.value(row))
    }
}

/// The least and the greatest word of a column, and how many rows have none.
#[derive(Default)]
pub(super) struct WordRange {
    nulls: u64,
    ends: Option<(String, String)>,
}

impl WordRange {
    pub(super) fn take<'a>(&mut self, words: impl Iterator<Item = Option<&'a str>>) {
        // Neighbours are often of one resource.
        let mut last = None;
        for word in words {
            match word {
                None => self.nulls += 1,
                Some(word) if last.replace(word) != Some(word) => self.add(word),
                Some(_) => {}
            }
        }
    }

    fn add(&mut self, word: &str) {
        match &mut self.ends {
            Some((min, _)) if word < min.as_str() => word.clone_into(min),
            Some((_, max)) if word > max.as_str() => word.clone_into(max),
            Some(_) => {}
            None => self.ends = Some((word.to_owned(), word.to_owned())),
        }
    }

    pub(super) const fn nulls(&self) -> u64 {
        self.nulls
    }

    pub(super) fn range(&self) -> ColumnRange {
        match &self.ends {
            Some((min, max)) if min.len().max(max.len()) <= MAX_RANGE_BYTES => {
                ColumnRange::Text(min.clone(), max.clone())
            }
            _ => ColumnRange::Unknown,
        }
    }
}
