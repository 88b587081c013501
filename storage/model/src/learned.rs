//! Attribute keys that got a column after the tables were made. Only files have these columns, and only those that were
//! written since; rows in memory and older files have the keys in their maps. Data only: which keys a table has learned is
//! the catalog's to say.

use arrow::datatypes::{DataType, Field};

use crate::schema::FIELD_ID;
use crate::{Scope, ValueType};

/// How many keys one table may learn: each costs every file a column's place in the footer, and DuckDB's readers a column.
pub const MAX_LEARNED: usize = 200;

/// The longest key that gets a column, bytes.
pub const MAX_LEARNED_KEY_BYTES: usize = 200;

/// The field id of a table's first learned column, far above those of its own columns; the others follow.
pub const FIRST_FIELD_ID: i32 = 10_000;

/// A key's column. As with a promoted key, only values of its type are there; all others stay in the map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LearnedColumn {
    /// Of the column in the catalog and the files, above those of the table's own columns.
    pub field_id: i32,
    pub scope: Scope,
    /// As it was sent.
    pub key: String,
    /// [`ValueType::String`] or [`ValueType::Int`].
    pub value_type: ValueType,
}

impl LearnedColumn {
    /// The map and the verbatim key: `attributes.user.id`.
    pub fn column_name(&self) -> String {
        format!("{}.{}", self.scope.map_name(), self.key)
    }

    pub fn data_type(&self) -> DataType {
        if self.value_type == ValueType::Int { DataType::Int64 } else { DataType::Utf8 }
    }

    /// The column in a file: nullable, with its field id.
    pub fn field(&self) -> Field {
        let metadata = [(FIELD_ID.to_owned(), self.field_id.to_string())].into();
        Field::new(self.column_name(), self.data_type(), true).with_metadata(metadata)
    }

    /// The inverse of [`Self::column_name`] and [`Self::data_type`]; `None` for a name that no learned column has.
    pub fn of_column(field_id: i32, name: &str, data_type: &DataType) -> Option<Self> {
        let value_type = match data_type {
            DataType::Utf8 => ValueType::String,
            DataType::Int64 => ValueType::Int,
            _ => return None,
        };
        let (scope, key) = scope_and_key(name)?;
        Some(Self { field_id, scope, key: key.to_owned(), value_type })
    }
}

/// The scope and the key of `attributes.user.id`; `None` for what does not begin with one of the maps' names.
pub fn scope_and_key(qualified: &str) -> Option<(Scope, &str)> {
    Scope::ALL.into_iter().find_map(|scope| {
        let key = qualified.strip_prefix(scope.map_name())?.strip_prefix('.')?;
        (!key.is_empty()).then_some((scope, key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_scope_key_and_type() {
        for (scope, key, value_type) in [
            (Scope::Item, "user.id", ValueType::String),
            (Scope::Resource, "attributes.x", ValueType::Int),
            (Scope::Scope, "k'\"ey", ValueType::String),
        ] {
            let column = LearnedColumn { field_id: 90, scope, key: key.to_owned(), value_type };
            let field = column.field();
            assert_eq!(LearnedColumn::of_column(90, field.name(), field.data_type()), Some(column));
        }
        for name in ["service_name", "attributes.", "attributes", "attribute.x", "other_attributes.x"] {
            assert_eq!(LearnedColumn::of_column(1, name, &DataType::Utf8), None, "{name}");
        }
        assert_eq!(LearnedColumn::of_column(1, "attributes.x", &DataType::Float64), None);
    }
}
