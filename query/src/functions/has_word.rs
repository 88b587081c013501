//! `has_word(text, 'word')`: whether a text holds a word as a whole. Words are runs of letters, digits and `_`, compared
//! in lower case. Never a pattern: use LIKE or a regular expression for those.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

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
        "has_word"
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
                let wanted = folded(wanted);
                text.iter().map(|text| text.map(|text| holds(text, &wanted))).collect()
            }
            ColumnarValue::Array(wanted) => {
                let wanted = cast(wanted, &DataType::Utf8)?;
                let mut found = BooleanBuilder::with_capacity(text.len());
                for (text, wanted) in text.iter().zip(wanted.as_string::<i32>()) {
                    found.append_option(text.zip(wanted).map(|(text, wanted)| holds(text, &folded(wanted))));
                }
                found.finish()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn folded(text: &str) -> Vec<String> {
    words(text).map(str::to_lowercase).collect()
}

/// Whether all of the folded words are in the text; a text without any word holds them in vain.
fn holds(text: &str, wanted: &[String]) -> bool {
    !wanted.is_empty() && wanted.iter().all(|wanted| words(text).any(|word| same(word, wanted)))
}

fn same(word: &str, folded: &str) -> bool {
    if word.is_ascii() {
        word.eq_ignore_ascii_case(folded)
    } else {
        word.chars().flat_map(char::to_lowercase).eq(folded.chars())
    }
}

#[cfg(test)]
mod tests {
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
            ("a.b", "a", true),
            ("a.b", "", false),
            ("", "a", false),
        ] {
            assert_eq!(holds(text, &folded(wanted)), expected, "{text:?} {wanted:?}");
        }
    }
}
