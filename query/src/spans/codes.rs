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

/// A batch's column by what is kept of it.
#[derive(Default)]
pub enum Codes<'a> {
    /// All of it is NULL.
    #[default]
    Null,
    /// Row by row, [`NONE`] where it is NULL or empty.
    Each(Vec<u32>),
    /// Places in a dictionary, and what is kept of its values.
    Placed(&'a Int32Array, &'a [u32]),
}

impl<'a> Codes<'a> {
    /// The column, with what is known of its last batch's dictionary.
    pub fn of(
        column: &'a ArrayRef,
        kept: Kept,
        known: &'a mut Dictionary,
        words: &mut Words,
    ) -> Result<Self, QueryError> {
        if column.null_count() == column.len() {
            return Ok(Self::Null);
        }
        if let Some((keys, values)) = dictionary(column) {
            if !known.is_of(values) && values.len() <= keys.len().saturating_mul(MANY_VALUES) {
                known.take(values, kept, words);
            }
            if known.is_of(values) {
                return Ok(Self::Placed(keys, &known.numbers));
            }
        }
        let text = Text::of(column.as_ref())?;
        let number = |i| text.get(i).filter(|t| !t.is_empty()).map_or(NONE, |t| kept.number(t, words));
        Ok(Self::Each((0..column.len()).map(number).collect()))
    }

    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// `None` where the column is NULL or empty.
    #[inline]
    pub fn get(&self, i: usize) -> Option<u32> {
        let number = match self {
            Self::Null => NONE,
            Self::Each(numbers) => numbers[i],
            Self::Placed(keys, _) if keys.is_null(i) => NONE,
            Self::Placed(keys, numbers) => numbers[keys.value(i) as usize],
        };
        some(number)
    }

    /// What is made of each of so many rows.
    pub fn map<T: Clone>(&self, rows: usize, make: impl Fn(Option<u32>) -> T) -> Vec<T> {
        match self {
            Self::Null => vec![make(None); rows],
            Self::Each(numbers) => numbers.iter().map(|&number| make(some(number))).collect(),
            Self::Placed(keys, numbers) => {
                let of = |place: i32| make(some(numbers[place as usize]));
                let Some(nulls) = keys.nulls().filter(|nulls| nulls.null_count() > 0) else {
                    return keys.values().iter().map(|&place| of(place)).collect();
                };
                // Mostly few rows have one.
                let mut made = vec![make(None); rows];
                nulls.valid_indices().for_each(|i| made[i] = of(keys.value(i)));
                made
            }
        }
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

    /// Adds which value each row has, in bits from this one upwards that are free. Gives the next free one; nothing is added
    /// where that would be none of a word's.
    fn add_to(&self, words: &mut [u64], from: u32) -> Option<u32> {
        let most = match self {
            Self::Null => 0,
            Self::Each(numbers) => numbers.iter().map(|number| number.wrapping_add(1)).max().unwrap_or(0),
            Self::Placed(_, numbers) => u32::try_from(numbers.len()).ok()?,
        };
        if most == 0 {
            return Some(from);
        }
        let end = from + (u32::BITS - most.leading_zeros());
        if end > u64::BITS {
            return None;
        }
        let placed = |place: i32| u64::from(place as u32 + 1) << from;
        match self {
            Self::Null => {}
            Self::Each(numbers) => {
                words.iter_mut().zip(numbers).for_each(|(word, n)| *word |= u64::from(n.wrapping_add(1)) << from);
            }
            Self::Placed(keys, _) => match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => words.iter_mut().zip(keys.values()).for_each(|(word, &place)| *word |= placed(place)),
                Some(nulls) => nulls.valid_indices().for_each(|i| words[i] |= placed(keys.value(i))),
            },
        }
        Some(end)
    }
}

/// A word for each of a batch's rows, of which so many bits are used: rows of the same one get the same word only where
/// they have the same in all of some columns. `None` where a word is too short for that.
pub fn alike(mut words: Vec<u64>, used: u32, columns: &[Codes<'_>]) -> Option<Vec<u64>> {
    columns.iter().try_fold(used, |from, column| column.add_to(&mut words, from))?;
    Some(words)
}

#[inline]
fn some(number: u32) -> Option<u32> {
    Some(number).filter(|&number| number != NONE)
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
    use proptest::prelude::*;

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
    proptest! {
        #[test]
        fn rows_of_one_word_have_the_same_in_all_columns(
            columns in proptest::collection::vec(
                (proptest::collection::vec(proptest::option::of("[a-d]?"), 12), any::<bool>()), 1..4
            )
        ) {
            let mut words = Words::new(SharedVocabulary::default());
            let array = |(texts, is_coded): &(Vec<Option<String>>, bool)| -> ArrayRef {
                let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
                let coded = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
                if *is_coded { arrow::compute::cast(&plain, &coded).expect("a dictionary") } else { plain }
            };
            let arrays: Vec<ArrayRef> = columns.iter().map(array).collect();
            let mut known: Vec<_> = arrays.iter().map(|_| Dictionary::default()).collect();
            let mut code = |(array, known)| Codes::of(array, Kept::Word(Column::Name), known, &mut words).expect("texts");
            let codes: Vec<_> = arrays.iter().zip(&mut known).map(&mut code).collect();
            let rows = alike(vec![1; 12], 1, &codes).expect("few values take few bits");
            for (i, j) in (0..12).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let has_same = codes.iter().all(|column| column.get(i) == column.get(j));
                prop_assert!(has_same || rows[i] != rows[j]);
                // What is empty may be told from NULL.
                let is_same = columns.iter().all(|(texts, _)| texts[i] == texts[j]);
                prop_assert!(!is_same || rows[i] == rows[j]);
            }
        }
    }

    #[test]
    fn rows_have_no_word_where_it_would_be_too_short() {
        let codes: Vec<_> = (0..3).map(|_| Codes::Each(vec![NONE, 1 << 20])).collect();
        assert!(alike(vec![1; 2], 1, &codes).is_some_and(|rows| rows[0] != rows[1]));
        assert!(alike(vec![1; 2], 2, &codes).is_none());
    }
}
