//! `attribute_map(map, 'key', value, …)`: a stored map with the values of columns put back under their keys; and
//! `stored_map`, the same with the type of the stored map to the last field id.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use orrery_model::schema::map_type;

/// The keys are string literals that the map does not hold, the values strings; a NULL value leaves its key out. The entries
/// are in the order of their keys.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttributeMap {
    name: &'static str,
    /// Whether the type is that of the argument; else that of every whole map.
    keeps_type: bool,
    signature: Signature,
}

impl AttributeMap {
    pub fn whole() -> ScalarUDF {
        Self::of("attribute_map", false)
    }

    pub fn stored() -> ScalarUDF {
        Self::of("stored_map", true)
    }

    fn of(name: &'static str, keeps_type: bool) -> ScalarUDF {
        ScalarUDF::from(Self { name, keeps_type, signature: Signature::variadic_any(Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for AttributeMap {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [first @ DataType::Map(..), ..] if self.keeps_type => Ok(first.clone()),
            [DataType::Map(..), ..] => Ok(map_type()),
            _ => plan_err!("{} takes a map, keys and values", self.name),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some((map, pairs)) = args.args.split_first() else { return exec_err!("{} takes a map", self.name) };
        let map = map.to_array(rows)?;
        let mut columns: Vec<(String, StringArray)> = Vec::with_capacity(pairs.len() / 2);
        for pair in pairs.chunks_exact(2) {
            let ColumnarValue::Scalar(key) = &pair[0] else { return exec_err!("a key of {} is no literal", self.name) };
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
        let (mut all_keys, mut all_values) = (StringBuilder::new(), StringBuilder::new());
        let mut lengths = Vec::with_capacity(rows);
        let offsets = map.value_offsets();
        let mut of_row: Vec<(&str, Option<&str>)> = Vec::new();
        for row in 0..rows {
            of_row.clear();
            let in_columns = columns.iter().filter(|(_, column)| column.is_valid(row));
            of_row.extend(in_columns.map(|(key, column)| (key.as_str(), Some(column.value(row)))));
            let in_map = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
            of_row.extend(in_map.map(|at| (keys.value(at), values.is_valid(at).then(|| values.value(at)))));
            // The order tells nothing of where a key lay.
            of_row.sort_unstable();
            for (key, value) in &of_row {
                all_keys.append_value(key);
                all_values.append_option(*value);
            }
            lengths.push(of_row.len());
        }
        let DataType::Map(entries, sorted) = args.return_field.data_type() else {
            return exec_err!("{} gives a map", self.name);
        };
        let DataType::Struct(fields) = entries.data_type() else { unreachable!("a map's entries are a struct") };
        let children: Vec<ArrayRef> = vec![Arc::new(all_keys.finish()), Arc::new(all_values.finish())];
        let pairs = StructArray::try_new(fields.clone(), children, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let map = MapArray::try_new(Arc::clone(entries), offsets, pairs, None, *sorted)?;
        Ok(ColumnarValue::Array(Arc::new(map)))
    }
}
