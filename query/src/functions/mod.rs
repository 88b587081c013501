//! The SQL functions of our own: one a file, one line here each. Registered behind every door.

pub(crate) mod attribute_map;
pub(crate) mod has_word;
pub(crate) mod map_get;
mod nothing;

use std::sync::{Arc, LazyLock};

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};

/// All of them.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let ours = [&MAP_GET, &ATTRIBUTE_MAP, &STORED_MAP, &NOTHING];
    ours.into_iter().map(|ours| Arc::clone(ours)).chain([Arc::new(has_word::HasWord::udf())]).collect()
}

static MAP_GET: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(map_get::MapGet::udf()));
static ATTRIBUTE_MAP: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(attribute_map::AttributeMap::whole()));
static STORED_MAP: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(attribute_map::AttributeMap::stored()));
static NOTHING: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(nothing::Nothing::udf()));

/// `map['key']`.
pub(crate) fn map_get(map: Expr, key: Expr) -> Expr {
    MAP_GET.call(vec![map, key])
}

/// `map` with the values of columns, as text, under their keys.
pub(crate) fn attribute_map(map: Expr, columns: impl IntoIterator<Item = (String, Expr)>) -> Expr {
    ATTRIBUTE_MAP.call(map_and_columns(map, columns))
}

/// The same, of the very type of `map`.
pub(crate) fn stored_map(map: Expr, columns: impl IntoIterator<Item = (String, Expr)>) -> Expr {
    STORED_MAP.call(map_and_columns(map, columns))
}

/// A list or map of a type without entries, in every row. `None` for another type.
pub(crate) fn nothing_of(of: &DataType) -> Option<Expr> {
    let row = nothing::nothing(of, 1).ok()?;
    // Taken from the array as a value, it would lose what its fields say of themselves.
    let row = match of {
        DataType::List(_) => ScalarValue::List(Arc::new(row.as_list().clone())),
        DataType::Map(..) => ScalarValue::Map(Arc::new(row.as_map().clone())),
        _ => return None,
    };
    Some(NOTHING.call(vec![Expr::Literal(row, None)]))
}

fn map_and_columns(map: Expr, columns: impl IntoIterator<Item = (String, Expr)>) -> Vec<Expr> {
    let pairs = columns.into_iter().flat_map(|(key, value)| [lit(key), value]);
    std::iter::once(map).chain(pairs).collect()
}
