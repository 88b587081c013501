//! `map_get(map, key)`: what `map['key']` means. Scans the entries in place; knows nothing of attributes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StringBuilder, UInt32Builder};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub(crate) const NAME: &str = "map_get";

/// The value of a key in a map with string keys, NULL where the map does not hold it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MapGet {
    signature: Signature,
}

impl MapGet {
    pub fn udf() -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::any(2, Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for MapGet {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Map(entries, _), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null] => {
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!("a map's entries are a struct")
                };
                Ok(fields[1].data_type().clone())
            }
            [DataType::Null, _] => Ok(DataType::Utf8),
            _ => plan_err!("map_get takes a map and a string, not {types:?}"),
        }
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [map, Expr::Literal(key, _)] => Ok(format!("{}['{key}']", map.schema_name())),
            [map, key] => Ok(format!("{}[{}]", map.schema_name(), key.schema_name())),
            _ => Ok(NAME.to_owned()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let return_type = args.return_field.data_type().clone();
        let [map, key] = args.args.as_slice() else { return exec_err!("map_get takes two arguments") };
        let map = map.to_array(rows)?;
        let Some(map) = map.as_map_opt() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&return_type)?));
        };
        let found = match key {
            ColumnarValue::Scalar(key) => match key.try_as_str() {
                Some(Some(key)) => lookup(map, |_| Some(key))?,
                _ => return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&return_type)?)),
            },
            ColumnarValue::Array(keys) => {
                let keys = cast(keys, &DataType::Utf8)?;
                let keys = keys.as_string::<i32>();
                lookup(map, |row| keys.is_valid(row).then(|| keys.value(row)))?
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

fn lookup<'a>(map: &MapArray, key: impl Fn(usize) -> Option<&'a str>) -> Result<ArrayRef> {
    let keys = match map.keys().as_string_opt::<i32>() {
        Some(keys) => keys.clone(),
        None => cast(map.keys(), &DataType::Utf8)?.as_string::<i32>().clone(),
    };
    if let Some(values) = map.values().as_string_opt::<i32>() {
        return Ok(Arc::new(texts(map, &keys, values, key)));
    }
    let mut indices = UInt32Builder::with_capacity(map.len());
    for row in 0..map.len() {
        indices.append_option(
            key(row).and_then(|key| position(map, &keys, row, key)).map(|i| u32::try_from(i).expect("offsets are i32")),
        );
    }
    Ok(take(map.values(), &indices.finish(), None)?)
}

fn texts<'a>(
    map: &MapArray,
    keys: &StringArray,
    values: &StringArray,
    key: impl Fn(usize) -> Option<&'a str>,
) -> StringArray {
    let mut found = StringBuilder::with_capacity(map.len(), 0);
    for row in 0..map.len() {
        match key(row).and_then(|key| position(map, keys, row, key)) {
            Some(i) if values.is_valid(i) => found.append_value(values.value(i)),
            _ => found.append_null(),
        }
    }
    found.finish()
}

/// The index of the entry of a row's map that has the key.
fn position(map: &MapArray, keys: &StringArray, row: usize, key: &str) -> Option<usize> {
    if map.is_null(row) {
        return None;
    }
    let offsets = map.value_offsets();
    let (start, end) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
    (start..end).find(|&i| keys.value(i) == key)
}
