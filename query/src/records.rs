//! Attributes of stored rows as the API shows them: the promoted columns and the maps put together again, each value
//! with its type. Never reads a table itself.

use arrow::array::{Array, AsArray, Int64Array, MapArray};
use arrow::datatypes::{DataType, Int64Type};
use orrery_api::Attribute;
use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::{Scope, Signal, ValueType, table};

use crate::QueryError;
use crate::columns::{Columns, Text, field, range, structs, wrong_type};

/// The stored columns that hold the attributes of a scope, as SQL names.
pub fn attribute_columns(signal: Signal, scope: Scope) -> Vec<String> {
    let promoted = table(signal).promoted().filter(|(_, p)| p.scope == scope).map(|(_, p)| p.column_name());
    promoted.chain([scope.other_name().to_owned(), scope.types_name().to_owned()]).collect()
}

/// A list of columns as SQL.
pub fn select_list(columns: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    columns.into_iter().map(|c| format!("\"{}\"", c.as_ref())).collect::<Vec<_>>().join(", ")
}

enum Value<'a> {
    Text(Text<'a>),
    Int(&'a Int64Array),
}

/// One scope's attributes in a batch that has the columns of [`attribute_columns`].
pub struct Attributes<'a> {
    promoted: Vec<(&'static str, Value<'a>)>,
    others: MapEntries<'a>,
    types: MapEntries<'a>,
}

impl<'a> Attributes<'a> {
    pub fn of(batch: Columns<'a>, signal: Signal, scope: Scope) -> Result<Self, QueryError> {
        let mut promoted = Vec::new();
        for (_, p) in table(signal).promoted().filter(|(_, p)| p.scope == scope) {
            let name = p.column_name();
            let array = batch.array(&name)?;
            let value = match array.data_type() {
                DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>()),
                _ => Value::Text(Text::of(array.as_ref())?),
            };
            promoted.push((p.key, value));
        }
        let others = MapEntries::of(batch.map(scope.other_name())?)?;
        let types = MapEntries::of(batch.map(scope.types_name())?)?;
        Ok(Self { promoted, others, types })
    }

    /// The row's attributes as they were sent, by key.
    pub fn row(&self, i: usize) -> Vec<Attribute> {
        let mut all = typed(&self.others, &self.types, i);
        for (key, column) in &self.promoted {
            let (value, value_type) = match column {
                Value::Text(text) => (text.owned(i), None),
                Value::Int(ints) => {
                    ((!ints.is_null(i)).then(|| ints.value(i).to_string()), Some(ValueType::Int.word().to_owned()))
                }
            };
            if let Some(value) = value.filter(|v| was_sent(key, v, &all)) {
                all.push(Attribute { key: (*key).to_owned(), value: Some(value), value_type });
            }
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

/// Whether a promoted column's value is the key's own: `service_name` is filled in where nothing was sent, and the
/// environment may come from its older key.
fn was_sent(key: &str, value: &str, others: &[Attribute]) -> bool {
    match key {
        "service.name" if value == UNKNOWN_SERVICE => false,
        "deployment.environment.name" => {
            !others.iter().any(|a| a.key == OLD_DEPLOYMENT_ENVIRONMENT && a.value.as_deref() == Some(value))
        }
        _ => true,
    }
}

/// The entries of a map column.
pub struct MapEntries<'a> {
    map: &'a MapArray,
    keys: Text<'a>,
    values: Text<'a>,
}

impl<'a> MapEntries<'a> {
    pub fn of(map: &'a MapArray) -> Result<Self, QueryError> {
        Ok(Self { map, keys: Text::of(map.keys().as_ref())?, values: Text::of(map.values().as_ref())? })
    }

    pub fn row(&self, i: usize) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + '_ {
        range(self.map.value_offsets(), self.map.is_null(i), i).map(|at| (self.keys.or_empty(at), self.values.get(at)))
    }
}

/// A map's entries with the types that a second map has for those that are no strings.
fn typed(values: &MapEntries<'_>, types: &MapEntries<'_>, i: usize) -> Vec<Attribute> {
    let attribute = |(key, value): (&str, Option<&str>)| Attribute {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        value_type: types.row(i).find(|(k, _)| *k == key).and_then(|(_, t)| t.map(str::to_owned)),
    };
    values.row(i).map(attribute).collect()
}

/// The elements of a list of structs that carry attributes (events, links, exemplars).
pub struct Elements<'a> {
    list: &'a arrow::array::ListArray,
    values: &'a arrow::array::StructArray,
    attributes: MapEntries<'a>,
    types: MapEntries<'a>,
}

impl<'a> Elements<'a> {
    pub fn of(batch: Columns<'a>, name: &str) -> Result<Self, QueryError> {
        let list = batch.list(name)?;
        let values = structs(list)?;
        let map = |name: &str| -> Result<MapEntries<'a>, QueryError> {
            let array = field(values, name)?;
            MapEntries::of(array.as_map_opt().ok_or_else(|| wrong_type(name, array.data_type()))?)
        };
        Ok(Self { list, values, attributes: map("attributes")?, types: map("attribute_types")? })
    }

    pub fn row(&self, i: usize) -> std::ops::Range<usize> {
        range(self.list.value_offsets(), self.list.is_null(i), i)
    }

    /// A text field of all elements.
    pub fn text(&self, name: &str) -> Result<Text<'a>, QueryError> {
        Text::of(field(self.values, name)?.as_ref())
    }

    /// A nanosecond field of all elements.
    pub fn times(&self, name: &str) -> Result<&'a arrow::array::TimestampNanosecondArray, QueryError> {
        let array = field(self.values, name)?;
        array.as_primitive_opt().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    /// The attributes of one element.
    pub fn attributes(&self, element: usize) -> Vec<Attribute> {
        let mut all = typed(&self.attributes, &self.types, element);
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }
}
