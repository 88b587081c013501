//! Columns of few values by number: each value of a dictionary once, of other columns row by row. Knows what is kept of
//! which column; never reads a table.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;

use super::semantics::named_host;
use super::words::{Column, Symbol, Words};
use super::{Kind, Operation};
use crate::QueryError;
use crate::columns::Text;

/// Stands for a value that is NULL or empty.
const NONE: u32 = u32::MAX;
/// A dictionary with more values than this times a batch's rows is looked up row by row.
const MANY_VALUES: usize = 4;

/// What is kept of a column's values.
#[derive(Clone, Copy, Debug)]
pub enum Kept {
    /// A [`Kind`].
    Kind,
    /// An [`Operation`].
    Operation,
    /// 1 where the status is an error's.
    Error,
    /// That there is one.
    Present,
    Word(Column),
    /// Without space around.
    Trimmed(Column),
    /// An address without its port.
    Host(Column),
}

impl Kept {
    fn number(self, text: &str, words: &mut Words) -> u32 {
        match self {
            Self::Kind => Kind::from_word(text) as u32,
            Self::Operation => Operation::from_word(text) as u32,
            Self::Error => u32::from(text == "ERROR"),
            Self::Present => 1,
            Self::Word(column) => words.symbol(column, text, |text| text),
            Self::Trimmed(column) => words.symbol(column, text, str::trim),
            Self::Host(column) => words.symbol(column, text, named_host),
        }
    }
}

/// The numbers of a dictionary's values, which one batch after the other has.
#[derive(Default)]
pub struct Dictionary {
    values: Option<StringArray>,
    numbers: Vec<u32>,
}

impl Dictionary {
    fn take(&mut self, values: &StringArray, kept: Kept, words: &mut Words) {
        let number = |text: Option<&str>| text.filter(|t| !t.is_empty()).map_or(NONE, |t| kept.number(t, words));
        self.numbers.clear();
        self.numbers.extend(values.iter().map(number));
        self.values = Some(values.clone());
    }

    fn numbers_of(&self, keys: &Int32Array) -> Vec<u32> {
        let number = |key: &i32| self.numbers[*key as usize];
        match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => keys.values().iter().map(number).collect(),
            Some(nulls) => {
                // Mostly few rows have one.
                let mut numbers = vec![NONE; keys.len()];
                nulls.valid_indices().for_each(|i| numbers[i] = number(&keys.values()[i]));
                numbers
            }
        }
    }

    /// Whether it is these values, at the same place in memory, which it holds.
    fn is_of(&self, values: &StringArray) -> bool {
        let is_same = |known: &StringArray| {
            known.offsets().len() == values.offsets().len()
                && known.offsets().as_ptr() == values.offsets().as_ptr()
                && known.values().as_ptr() == values.values().as_ptr()
        };
        self.values.as_ref().is_some_and(is_same)
    }
}

/// A batch's column by what is kept of it, row by row; without any where all of it is NULL.
#[derive(Default)]
pub struct Codes(Vec<u32>);

impl Codes {
    /// The column, with what is known of its last batch's dictionary.
    pub fn of(column: &ArrayRef, kept: Kept, known: &mut Dictionary, words: &mut Words) -> Result<Self, QueryError> {
        if column.null_count() == column.len() {
            return Ok(Self::default());
        }
        if let Some((keys, values)) = dictionary(column) {
            if !known.is_of(values) && values.len() <= keys.len().saturating_mul(MANY_VALUES) {
                known.take(values, kept, words);
            }
            if known.is_of(values) {
                return Ok(Self(known.numbers_of(keys)));
            }
        }
        let text = Text::of(column.as_ref())?;
        let number = |i| text.get(i).filter(|t| !t.is_empty()).map_or(NONE, |t| kept.number(t, words));
        Ok(Self((0..column.len()).map(number).collect()))
    }

    pub const fn is_null(&self) -> bool {
        self.0.is_empty()
    }

    /// `None` where the column is NULL or empty.
    #[inline]
    pub fn get(&self, i: usize) -> Option<u32> {
        self.0.get(i).copied().filter(|&number| number != NONE)
    }

    /// What is made of each of so many rows.
    pub fn map<T: Clone>(&self, rows: usize, make: impl Fn(Option<u32>) -> T) -> Vec<T> {
        if self.is_null() {
            return vec![make(None); rows];
        }
        self.0.iter().map(|&number| make(Some(number).filter(|&number| number != NONE))).collect()
    }

    /// Of each of so many rows, 0 where the column is NULL or empty.
    pub fn symbols(&self, rows: usize) -> Vec<Symbol> {
        self.map(rows, Option::unwrap_or_default)
    }

    /// The word's number, 0 where the column is NULL or empty.
    #[inline]
    pub fn symbol(&self, i: usize) -> Symbol {
        self.get(i).unwrap_or(0)
    }
}

fn dictionary(column: &ArrayRef) -> Option<(&Int32Array, &StringArray)> {
    let dictionary = column.as_dictionary_opt::<Int32Type>()?;
    Some((dictionary.keys(), dictionary.values().as_string_opt()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::DictionaryArray;
    use arrow::datatypes::DataType;

    use super::super::SharedVocabulary;
    use super::*;

    fn numbers(column: &ArrayRef, kept: Kept, known: &mut Dictionary, words: &mut Words) -> Vec<Option<u32>> {
        let codes = Codes::of(column, kept, known, words).expect("a column of strings");
        (0..column.len()).map(|i| codes.get(i)).collect()
    }

    #[test]
    fn dictionaries_and_plain_columns_have_the_same_numbers() {
        let columns = [
            (Kept::Kind, vec![Some("SERVER"), None, Some(""), Some("CLIENT"), Some("odd")]),
            (Kept::Operation, vec![Some("publish"), Some("send"), None, Some("odd")]),
            (Kept::Error, vec![Some("OK"), Some("ERROR"), None]),
            (Kept::Present, vec![Some("SELECT"), Some(""), None]),
            (Kept::Word(Column::Service), vec![Some("cart"), Some(" cart"), None, Some("cart")]),
            (Kept::Trimmed(Column::DbSystem), vec![Some("redis"), Some(" redis "), Some(" ")]),
            (Kept::Host(Column::ServerAddress), vec![Some("db:5432"), Some("db"), Some("[::1]:80"), None]),
            (Kept::Kind, vec![None, None]),
        ];
        let mut words = Words::new(SharedVocabulary::default());
        for (kept, texts) in columns {
            let plain: ArrayRef = Arc::new(StringArray::from(texts));
            let dictionary =
                arrow::compute::cast(&plain, &DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into()));
            let dictionary = dictionary.expect("a dictionary");
            let expected = numbers(&plain, kept, &mut Dictionary::default(), &mut words);
            let mut known = Dictionary::default();
            assert_eq!(numbers(&dictionary, kept, &mut known, &mut words), expected, "{kept:?}");
            assert_eq!(numbers(&dictionary.slice(1, 1), kept, &mut known, &mut words), expected[1..2], "{kept:?}");
        }
        assert_eq!(words.symbol(Column::Name, "db", |t| t), words.symbol(Column::ServerAddress, "db:5432", named_host));
    }

    #[test]
    fn a_dictionary_is_known_again_and_another_is_not_taken_for_it() {
        let mut words = Words::new(SharedVocabulary::default());
        let batch = |values: &ArrayRef, keys: Vec<Option<i32>>| -> ArrayRef {
            Arc::new(DictionaryArray::new(Int32Array::from(keys), Arc::clone(values)))
        };
        let of = |texts: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        let mut known = Dictionary::default();
        let mut get =
            |column: &ArrayRef, words: &mut Words| numbers(column, Kept::Word(Column::Name), &mut known, words);
        let values = of(vec!["a".into(), "b".into()]);
        let [a, b] = ["a", "b"].map(|text| Some(words.symbol(Column::Name, text, |t| t)));
        assert_eq!(get(&batch(&values, vec![Some(1), None, Some(0)]), &mut words), [b, None, a]);
        assert_eq!(get(&batch(&values, vec![Some(0), Some(0)]), &mut words), [a, a]);
        let turned = of(vec!["b".into(), "a".into()]);
        assert_eq!(get(&batch(&turned, vec![Some(0), Some(1)]), &mut words), [b, a]);
        // Of many values few are asked for.
        let many = of((0..100).map(|i| format!("{i}")).chain(["a".into()]).collect());
        assert_eq!(get(&batch(&many, vec![Some(100), None]), &mut words), [a, None]);
        assert_eq!(words.symbol(Column::Name, "new", |t| t), b.expect("b") + 1, "the others were not looked at");
    }
}
