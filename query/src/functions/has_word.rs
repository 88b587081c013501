//! `has_word(text, 'word')`: whether a text holds a word as a whole. Words are runs of letters, digits and `_`, compared
//! by Unicode's case folding; what they are is [`orrery_storage::token_filter`]'s to say, so that files can be pruned by
//! them. Never a pattern: use LIKE or a regular expression for those.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use memchr::{memchr_iter, memchr2_iter};
use orrery_storage::token_filter::{folded, folded_chars, is_ascii_word, words};

pub(crate) const NAME: &str = "has_word";

/// True where every word of the second argument is in the first, anywhere and in any order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct HasWord {
    signature: Signature,
}

impl HasWord {
    pub fn udf() -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::string(2, Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for HasWord {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, wanted] = args.args.as_slice() else { return exec_err!("has_word takes a text and a word") };
        let text = cast(&text.to_array(args.number_rows)?, &DataType::Utf8)?;
        let text = text.as_string::<i32>();
        let found: BooleanArray = match wanted {
            ColumnarValue::Scalar(wanted) => {
                let Some(Some(wanted)) = wanted.try_as_str() else {
                    return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
                };
                let wanted = needles(wanted);
                text.iter().map(|text| text.map(|text| holds(text, &wanted))).collect()
            }
            ColumnarValue::Array(wanted) => {
                let wanted = cast(wanted, &DataType::Utf8)?;
                let mut found = BooleanBuilder::with_capacity(text.len());
                for (text, wanted) in text.iter().zip(wanted.as_string::<i32>()) {
                    found.append_option(text.zip(wanted).map(|(text, wanted)| holds(text, &needles(wanted))));
                }
                found.finish()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

/// A word to look for, folded.
struct Needle {
    word: String,
    /// Of its bytes the one that is least often met in text, for an ASCII word.
    rarest: Option<usize>,
}

fn needles(wanted: &str) -> Vec<Needle> {
    words(wanted)
        .map(|word| {
            let word = folded(word);
            let rarest = (0..word.len()).max_by_key(|&i| rarity(word.as_bytes()[i]));
            Needle { rarest: rarest.filter(|_| word.is_ascii()), word }
        })
        .collect()
}

/// How seldom a lower-case byte is met in log lines, roughly.
fn rarity(byte: u8) -> usize {
    const BY_FREQUENCY: &[u8] = b"etaionsr0l1dcu2mp35g4h687fb9vywk_xjqz";
    BY_FREQUENCY.iter().position(|b| *b == byte).unwrap_or(BY_FREQUENCY.len())
}

/// Whether all of the words are in the text; without a word there is nothing to hold.
fn holds(text: &str, wanted: &[Needle]) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let is_ascii = text.is_ascii();
    wanted.iter().all(|needle| match needle.rarest {
        Some(rarest) if is_ascii => ascii_holds(text.as_bytes(), needle.word.as_bytes(), rarest),
        None if is_ascii => false,
        _ => words(text).any(|word| same(word, &needle.word)),
    })
}

/// Looks where the rarest byte is, instead of at every word.
fn ascii_holds(text: &[u8], word: &[u8], rarest: usize) -> bool {
    let byte = word[rarest];
    let here = |at: usize| {
        let Some(start) = at.checked_sub(rarest) else { return false };
        let end = start + word.len();
        text.get(start..end).is_some_and(|found| found.eq_ignore_ascii_case(word))
            && start.checked_sub(1).is_none_or(|before| !is_ascii_word(text[before]))
            && text.get(end).is_none_or(|after| !is_ascii_word(*after))
    };
    if byte.is_ascii_alphabetic() {
        memchr2_iter(byte, byte.to_ascii_uppercase(), text).any(here)
    } else {
        memchr_iter(byte, text).any(here)
    }
}

fn same(word: &str, folded: &str) -> bool {
    if word.is_ascii() { word.eq_ignore_ascii_case(folded) } else { folded_chars(word).eq(folded.chars()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_whole_and_folded() {
        for (text, wanted, expected) in [
            ("Payment accepted: id_1", "payment", true),
            ("Payment accepted: id_1", "pay", false),
            ("Payment accepted: id_1", "ID_1", true),
            ("Payment accepted: id_1", "id", false),
            ("Payment accepted", "accepted payment", true),
            ("Payment accepted", "payment refused", false),
            ("\u{dc}berweisung ok", "\u{fc}berweisung", true),
            ("\u{dc}berweisung ok", "OK", true),
            ("plain", "\u{fc}", false),
            ("ΟΔΟΣ", "οδος", true),
            ("ΟΔΟΣ", "ΟΔΟΣ", true),
            ("Straße 7", "STRASSE", true),
            ("a.b", "a", true),
            ("a.b", "", false),
            ("", "a", false),
            ("xa a", "a", true),
            ("aa", "a", false),
            ("code=404", "404", true),
            ("code=4041", "404", false),
        ] {
            assert_eq!(holds(text, &needles(wanted)), expected, "{text:?} {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_agrees_with_the_words(text in "[aAbB1_ .ßſΣς]{0,12}", wanted in "[aAbB1_ßſΣς]{1,3}") {
            let expected = words(&text).any(|word| folded(word) == folded(&wanted));
            prop_assert_eq!(holds(&text, &needles(&wanted)), expected);
        }
    }
}
