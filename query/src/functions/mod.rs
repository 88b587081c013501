//! The SQL functions of our own: one a file, one line here each. Registered behind every door.

pub(crate) mod attribute_map;
pub(crate) mod has_word;
pub(crate) mod map_get;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::{Expr, ScalarUDF, lit};

/// All of them.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::clone(&MAP_GET), Arc::clone(&ATTRIBUTE_MAP), Arc::clone(&STORED_MAP), Arc::new(has_word::HasWord::udf())]
}

static MAP_GET: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(map_get::MapGet::udf()));
static ATTRIBUTE_MAP: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(attribute_map::AttributeMap::whole()));
static STORED_MAP: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(attribute_map::AttributeMap::stored()));

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

fn map_and_columns(map: Expr, columns: impl IntoIterator<Item = (String, Expr)>) -> Vec<Expr> {
    let pairs = columns.into_iter().flat_map(|(key, value)| [lit(key), value]);
    std::iter::once(map).chain(pairs).collect()
}
