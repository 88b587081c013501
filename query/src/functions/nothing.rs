//! `nothing(value)`: a list or map without entries, in every row. The literal that it is given says the same, but is copied
//! for each row with all that lies in it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListArray, MapArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const NAME: &str = "nothing";

/// Volatile, so that no one makes a literal of it again.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Nothing {
    signature: Signature,
}

impl Nothing {
    pub fn udf() -> ScalarUDF {
        ScalarUDF::from(Self { signature: Signature::any(1, Volatility::Volatile) })
    }
}

impl ScalarUDFImpl for Nothing {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of @ (DataType::List(_) | DataType::Map(..))] => Ok(of.clone()),
            _ => plan_err!("{NAME} takes a list or a map"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(NAME, self.return_type(&types)?, false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(nothing(args.return_field.data_type(), args.number_rows)?))
    }
}

/// So many rows.
pub(crate) fn nothing(of: &DataType, rows: usize) -> Result<ArrayRef> {
    let offsets = OffsetBuffer::new_zeroed(rows);
    Ok(match of {
        DataType::List(element) => {
            let values = new_empty_array(element.data_type());
            Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, None)?)
        }
        DataType::Map(entries, sorted) => {
            let values = new_empty_array(entries.data_type()).as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, values, None, *sorted)?)
        }
        other => return exec_err!("{NAME} is never a {other}"),
    })
}
