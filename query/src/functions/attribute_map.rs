//! `attribute_map(map, 'key', value, …)`: a stored map with the values of columns put back under their keys.

use std::sync::Arc;

use arrow::array::{Array, AsArray, MapBuilder, MapFieldNames, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use orrery_model::schema::map_type;

pub(crate) const NAME: &str = "attribute_map";

/// The keys are string literals that the map does not hold, the values strings; a NULL value leaves its key out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttributeMap {
    signature: Signature,
}

impl AttributeMap {
    pub fn udf() -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::variadic_any(Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for AttributeMap {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(map_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(NAME, map_type(), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some((map, pairs)) = args.args.split_first() else { return exec_err!("attribute_map takes a map") };
        let map = map.to_array(rows)?;
        let mut columns: Vec<(String, StringArray)> = Vec::with_capacity(pairs.len() / 2);
        for pair in pairs.chunks_exact(2) {
            let ColumnarValue::Scalar(key) = &pair[0] else { return exec_err!("a key of attribute_map is no literal") };
            let values = arrow::compute::cast(&pair[1].to_array(rows)?, &DataType::Utf8)?;
            if values.null_count() < values.len() {
                columns.push((
                    key.try_as_str().flatten().unwrap_or_default().to_owned(),
                    values.as_string::<i32>().clone(),
                ));
            }
        }
        let map = map.as_map();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in 0..rows {
            for (key, column) in &columns {
                if column.is_valid(row) {
                    builder.keys().append_value(key);
                    builder.values().append_value(column.value(row));
                }
            }
            let offsets = map.value_offsets();
            for entry in usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0) {
                builder.keys().append_value(keys.value(entry));
                builder.values().append_option(values.is_valid(entry).then(|| values.value(entry)));
            }
            builder.append(true)?;
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
