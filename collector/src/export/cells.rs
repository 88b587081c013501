//! The cells of a batch by column name and row, and what all signals share of them: ids, times, attributes, resource and
//! scope.

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, MapArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::{Scope, Signal, ValueType, table};

use super::{ExportError, value};

/// Columns by name, of a batch or of the structs in a list.
#[derive(Clone, Copy)]
pub(super) enum Columns<'a> {
    Batch(&'a RecordBatch),
    Struct(&'a StructArray),
}

impl<'a> Columns<'a> {
    fn any(self, name: &str) -> Result<&'a dyn Array, ExportError> {
        let column = match self {
            Self::Batch(batch) => batch.column_by_name(name),
            Self::Struct(array) => array.column_by_name(name),
        };
        column.map(AsRef::as_ref).ok_or_else(|| ExportError::Column(name.to_owned()))
    }

    fn typed<T>(self, name: &str, cast: impl Fn(&'a dyn Array) -> Option<T>) -> Result<T, ExportError> {
        cast(self.any(name)?).ok_or_else(|| ExportError::Column(name.to_owned()))
    }

    pub fn text(self, name: &str) -> Result<Text<'a>, ExportError> {
        self.typed(name, |column| column.as_string_opt()).map(Text)
    }

    pub fn number<T: ArrowPrimitiveType>(self, name: &str) -> Result<&'a PrimitiveArray<T>, ExportError> {
        self.typed(name, |column| column.as_primitive_opt())
    }

    pub fn count(self, name: &str) -> Result<Count<'a>, ExportError> {
        self.number(name).map(Count)
    }

    pub fn time(self, name: &str) -> Result<Time<'a>, ExportError> {
        self.number(name).map(Time)
    }

    pub fn boolean(self, name: &str) -> Result<&'a arrow::array::BooleanArray, ExportError> {
        self.typed(name, |column| column.as_boolean_opt())
    }

    pub fn list(self, name: &str) -> Result<&'a arrow::array::ListArray, ExportError> {
        self.typed(name, |column| column.as_list_opt())
    }

    /// The columns of the structs in a list.
    pub fn structs(self, name: &str) -> Result<(&'a arrow::array::ListArray, Columns<'a>), ExportError> {
        let list = self.list(name)?;
        let structs = list.values().as_struct_opt().ok_or_else(|| ExportError::Column(name.to_owned()))?;
        Ok((list, Columns::Struct(structs)))
    }

    pub fn maps(self, values: &str, types: &str) -> Result<Maps<'a>, ExportError> {
        let map = |name| self.typed(name, |column| column.as_map_opt());
        Ok(Maps { values: map(values)?, types: map(types)? })
    }
}

/// The elements of a row's list, as indexes into the list's values.
pub(super) fn elements(list: &arrow::array::ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// A text column.
pub(super) struct Text<'a>(&'a StringArray);

impl<'a> Text<'a> {
    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    /// A string field; NULL is the empty one.
    pub fn string(&self, row: usize) -> String {
        self.get(row).unwrap_or_default().to_owned()
    }

    /// The bytes of an id; NULL is an empty one.
    pub fn id(&self, row: usize) -> Result<Vec<u8>, ExportError> {
        let hex = self.get(row).unwrap_or_default();
        let byte = |i: usize| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        bytes.ok_or_else(|| ExportError::Text { what: "an id", text: hex.to_owned() })
    }

    /// The number of an enum's word, or of a number that has none; NULL is zero.
    pub fn word(&self, row: usize, words: &[&str]) -> Result<i32, ExportError> {
        let Some(text) = self.get(row) else { return Ok(0) };
        match words.iter().position(|word| *word == text) {
            Some(number) => Ok(number as i32),
            None => text.parse().map_err(|_| ExportError::Text { what: "an enum", text: text.to_owned() }),
        }
    }
}

/// A count or flags column.
pub(super) struct Count<'a>(&'a PrimitiveArray<Int64Type>);

impl Count<'_> {
    pub fn get(&self, row: usize) -> u32 {
        self.0.value(row) as u32
    }
}

/// A time column.
pub(super) struct Time<'a>(&'a PrimitiveArray<TimestampNanosecondType>);

impl Time<'_> {
    /// Nanoseconds as OTLP has them; NULL is zero.
    pub fn get(&self, row: usize) -> u64 {
        if self.0.is_valid(row) { self.0.value(row) as u64 } else { 0 }
    }
}

/// A map of values and the map of their types.
pub(super) struct Maps<'a> {
    values: &'a MapArray,
    types: &'a MapArray,
}

impl Maps<'_> {
    pub fn attributes(&self, row: usize) -> Result<Vec<KeyValue>, ExportError> {
        let types: Vec<_> = entries(self.types, row)?;
        let attribute = |(key, text): (&str, Option<&str>)| {
            let word = types.iter().find(|(k, _)| *k == key).and_then(|(_, word)| *word);
            let unknown = || ExportError::Text { what: "a type", text: word.unwrap_or_default().to_owned() };
            let value_type = word.map_or(Some(ValueType::String), ValueType::from_word).ok_or_else(unknown)?;
            let value = Some(value::value(value_type, text.unwrap_or_default())?);
            Ok(KeyValue { key: key.to_owned(), value, key_strindex: 0 })
        };
        entries(self.values, row)?.into_iter().map(attribute).collect()
    }
}

type Entry<'a> = (&'a str, Option<&'a str>);

fn entries(map: &MapArray, row: usize) -> Result<Vec<Entry<'_>>, ExportError> {
    let wrong = || ExportError::Column("of a map".to_owned());
    let keys = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?;
    let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?;
    let offsets = map.value_offsets();
    let range = offsets[row] as usize..offsets[row + 1] as usize;
    Ok(range.map(|i| (keys.value(i), values.is_valid(i).then(|| values.value(i)))).collect())
}

/// A promoted column.
enum PromotedColumn<'a> {
    Text(&'static str, Text<'a>),
    Int(&'static str, &'a PrimitiveArray<Int64Type>),
}

/// The attributes of one scope: promoted columns and maps.
pub(super) struct Attributes<'a> {
    promoted: Vec<PromotedColumn<'a>>,
    others: Maps<'a>,
}

impl<'a> Attributes<'a> {
    pub fn new(columns: Columns<'a>, signal: Signal, scope: Scope) -> Result<Self, ExportError> {
        let table = table(signal);
        let column = |(index, promoted): (usize, &'static orrery_model::Promoted)| {
            let name = &table.columns[index].name;
            Ok(match promoted.value_type {
                ValueType::Int => PromotedColumn::Int(promoted.key, columns.number(name)?),
                _ => PromotedColumn::Text(promoted.key, columns.text(name)?),
            })
        };
        let promoted = table.promoted().filter(|(_, p)| p.scope == scope).map(column).collect::<Result<_, _>>()?;
        Ok(Self { promoted, others: columns.maps(scope.other_name(), scope.types_name())? })
    }

    pub fn get(&self, row: usize) -> Result<Vec<KeyValue>, ExportError> {
        let mut attributes = self.others.attributes(row)?;
        let others = attributes.len();
        for column in &self.promoted {
            let (key, value) = match column {
                PromotedColumn::Text(key, column) => match column.get(row) {
                    Some(text) if was_sent(key, text, &attributes[..others]) => {
                        (key, value::value(ValueType::String, text)?)
                    }
                    _ => continue,
                },
                PromotedColumn::Int(key, column) if column.is_valid(row) => {
                    (key, value::value(ValueType::Int, &column.value(row).to_string())?)
                }
                PromotedColumn::Int(..) => continue,
            };
            attributes.push(KeyValue { key: (*key).to_owned(), value: Some(value), key_strindex: 0 });
        }
        Ok(attributes)
    }
}

/// Whether the text of a promoted column was sent under its key, rather than put there for want of it.
fn was_sent(key: &str, text: &str, others: &[KeyValue]) -> bool {
    match key {
        "service.name" => text != UNKNOWN_SERVICE,
        "deployment.environment.name" => {
            let is_text = |kv: &KeyValue| kv.value == value::value(ValueType::String, text).ok();
            !others.iter().any(|kv| kv.key == key || kv.key == OLD_DEPLOYMENT_ENVIRONMENT && is_text(kv))
        }
        _ => true,
    }
}

/// The columns of resource and scope.
pub(super) struct Shared<'a> {
    resource: Attributes<'a>,
    resource_dropped: Count<'a>,
    entity_refs: Text<'a>,
    resource_schema_url: Text<'a>,
    scope: Attributes<'a>,
    scope_name: Text<'a>,
    scope_version: Text<'a>,
    scope_dropped: Count<'a>,
    scope_schema_url: Text<'a>,
}

impl<'a> Shared<'a> {
    pub fn new(batch: &'a RecordBatch, signal: Signal) -> Result<Self, ExportError> {
        let columns = Columns::Batch(batch);
        Ok(Self {
            resource: Attributes::new(columns, signal, Scope::Resource)?,
            resource_dropped: columns.count("resource_dropped_attributes_count")?,
            entity_refs: columns.text("resource_entity_refs")?,
            resource_schema_url: columns.text("resource_schema_url")?,
            scope: Attributes::new(columns, signal, Scope::Scope)?,
            scope_name: columns.text("scope_name")?,
            scope_version: columns.text("scope_version")?,
            scope_dropped: columns.count("scope_dropped_attributes_count")?,
            scope_schema_url: columns.text("scope_schema_url")?,
        })
    }

    /// The resource of a row and its schema URL.
    pub fn resource(&self, row: usize) -> Result<(Resource, String), ExportError> {
        let resource = Resource {
            attributes: self.resource.get(row)?,
            dropped_attributes_count: self.resource_dropped.get(row),
            entity_refs: self.entity_refs.get(row).map_or(Ok(Vec::new()), value::entity_refs)?,
        };
        Ok((resource, self.resource_schema_url.string(row)))
    }

    /// The scope of a row and its schema URL.
    pub fn scope(&self, row: usize) -> Result<(InstrumentationScope, String), ExportError> {
        let scope = InstrumentationScope {
            name: self.scope_name.string(row),
            version: self.scope_version.string(row),
            attributes: self.scope.get(row)?,
            dropped_attributes_count: self.scope_dropped.get(row),
        };
        Ok((scope, self.scope_schema_url.string(row)))
    }
}
