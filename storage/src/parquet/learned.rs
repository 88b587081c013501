//! Giving rows the learned columns of a file: the values that have a column's key and type leave the maps for the column.
//! Every other value stays where it is. Never loses one, and never decides which keys are learned.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, MapArray, RecordBatch, StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use hashbrown::HashMap;
use orrery_model::{LearnedColumn, Scope, ValueType};

/// A schema with the columns of learned keys behind its own.
pub(crate) fn with_learned(schema: &SchemaRef, learned: &[LearnedColumn]) -> SchemaRef {
    if learned.is_empty() {
        return Arc::clone(schema);
    }
    let learned = learned.iter().map(|column| Arc::new(column.field()));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain(learned).collect::<Vec<_>>()))
}

/// The batches with those of the columns behind their others for which any of them has a value, and which these are.
pub(crate) fn learn_all(
    batches: Vec<RecordBatch>,
    wanted: &[LearnedColumn],
) -> Result<(Vec<RecordBatch>, Vec<LearnedColumn>), ArrowError> {
    if wanted.is_empty() {
        return Ok((batches, Vec::new()));
    }
    let mut held = vec![false; wanted.len()];
    let mut own = 0;
    let mut with = Vec::with_capacity(batches.len());
    for batch in batches {
        own = batch.num_columns();
        let learned = learn(&batch, wanted)?.into_owned();
        for (held, column) in held.iter_mut().zip(&learned.columns()[own..]) {
            *held |= column.null_count() < column.len();
        }
        with.push(learned);
    }
    let kept: Vec<usize> = (0..own).chain((0..wanted.len()).filter(|&i| held[i]).map(|i| own + i)).collect();
    let batches = with.iter().map(|batch| batch.project(&kept)).collect::<Result<_, _>>()?;
    Ok((batches, wanted.iter().zip(held).filter(|(_, held)| *held).map(|(column, _)| column.clone()).collect()))
}

/// The batch with the columns of `learned` in their order behind its others. Those that it has already are kept and take
/// what the maps still hold for them.
pub(crate) fn learn<'a>(batch: &'a RecordBatch, learned: &[LearnedColumn]) -> Result<Cow<'a, RecordBatch>, ArrowError> {
    if learned.is_empty() {
        return Ok(Cow::Borrowed(batch));
    }
    let schema = batch.schema();
    let names: Vec<String> = learned.iter().map(LearnedColumn::column_name).collect();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    let mut found: Vec<Option<ArrayRef>> = vec![None; learned.len()];
    for scope in Scope::ALL {
        let own: Vec<usize> = (0..learned.len()).filter(|&i| learned[i].scope == scope).collect();
        if own.is_empty() {
            continue;
        }
        let (map, types) = (schema.index_of(scope.other_name())?, schema.index_of(scope.types_name())?);
        let wanted: Vec<&LearnedColumn> = own.iter().map(|&i| &learned[i]).collect();
        let taken = Taken::of(columns[map].as_map(), columns[types].as_map(), &wanted);
        for (&i, values) in own.iter().zip(taken.values(columns[map].as_map(), &wanted)?) {
            found[i] = Some(values);
        }
        if taken.any {
            let (rest, rest_types) =
                (kept(columns[map].as_map(), &taken.kept)?, kept(columns[types].as_map(), &taken.kept_types)?);
            columns[map] = rest;
            columns[types] = rest_types;
        }
    }
    let is_learned = |name: &String| names.contains(name);
    let mut fields: Vec<_> = schema.fields().iter().filter(|field| !is_learned(field.name())).cloned().collect();
    let mut all: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .zip(columns)
        .filter(|(field, _)| !is_learned(field.name()))
        .map(|(_, column)| column)
        .collect();
    for ((column, name), found) in learned.iter().zip(&names).zip(found) {
        let found = found.expect("every scope was looked through");
        fields.push(Arc::new(column.field()));
        all.push(match batch.column_by_name(name) {
            Some(before) if before.data_type() != found.data_type() => {
                return Err(ArrowError::SchemaError(format!("column {name} is of type {}", before.data_type())));
            }
            // A row has the value in the column or in the map.
            Some(before) => first_of(before, &found)?,
            None => found,
        });
    }
    Ok(Cow::Owned(RecordBatch::try_new(Arc::new(Schema::new(fields)), all)?))
}

fn first_of(first: &ArrayRef, second: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if second.null_count() == second.len() {
        return Ok(Arc::clone(first));
    }
    arrow::compute::kernels::zip::zip(&arrow::compute::is_not_null(first)?, first, second)
}

/// Which entries of a scope's two maps go, and where to.
struct Taken {
    any: bool,
    /// For each wanted column and row, the entry of the map of values; empty for a column without any.
    places: Vec<Vec<Option<u32>>>,
    kept: Kept,
    kept_types: Kept,
}

/// The entries of a map that stay, and how many of each row.
#[derive(Default)]
struct Kept {
    entries: Vec<u32>,
    lengths: Vec<usize>,
}

impl Taken {
    fn of(map: &MapArray, types: &MapArray, wanted: &[&LearnedColumn]) -> Self {
        let rows = map.len();
        let by_key: HashMap<&str, usize> = wanted.iter().enumerate().map(|(i, c)| (c.key.as_str(), i)).collect();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let (type_keys, type_words) = (types.keys().as_string::<i32>(), types.values().as_string::<i32>());
        let mut taken = Self {
            any: false,
            places: vec![Vec::new(); wanted.len()],
            kept: Kept::default(),
            kept_types: Kept::default(),
        };
        for row in 0..rows {
            let row_types = entries(types, row);
            let mut gone: Vec<&str> = Vec::new();
            let before = taken.kept.entries.len();
            for entry in entries(map, row) {
                let column = by_key.get(keys.value(entry)).copied().filter(|&column| {
                    let word = row_types.clone().find(|&at| type_keys.value(at) == keys.value(entry));
                    let word = word.filter(|&at| type_words.is_valid(at)).map(|at| type_words.value(at));
                    let value = values.is_valid(entry).then(|| values.value(entry));
                    let is_free = taken.places[column].get(row).is_none_or(Option::is_none);
                    fits(wanted[column].value_type, word, value) && is_free
                });
                match column {
                    Some(column) => {
                        taken.places[column].resize(rows, None);
                        taken.places[column][row] = Some(entry as u32);
                        gone.push(keys.value(entry));
                    }
                    None => taken.kept.entries.push(entry as u32),
                }
            }
            taken.kept.lengths.push(taken.kept.entries.len() - before);
            taken.any |= !gone.is_empty();
            let before = taken.kept_types.entries.len();
            let stay = row_types.filter(|&at| !gone.contains(&type_keys.value(at)));
            taken.kept_types.entries.extend(stay.map(|at| at as u32));
            taken.kept_types.lengths.push(taken.kept_types.entries.len() - before);
        }
        taken
    }

    /// The columns of the wanted keys.
    fn values(&self, map: &MapArray, wanted: &[&LearnedColumn]) -> Result<Vec<ArrayRef>, ArrowError> {
        wanted
            .iter()
            .zip(&self.places)
            .map(|(column, places)| {
                if places.is_empty() {
                    return Ok(new_null_array(&column.data_type(), map.len()));
                }
                let texts = take(map.values(), &UInt32Array::from(places.clone()), None)?;
                if column.value_type == ValueType::Int {
                    let integer = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
                    let integers: Int64Array = texts.as_string::<i32>().iter().map(integer).collect();
                    return Ok(Arc::new(integers) as ArrayRef);
                }
                Ok(texts)
            })
            .collect()
    }
}

/// Whether a value of the map, with the word of its type if it is no string, belongs into a column of the type.
fn fits(column: ValueType, word: Option<&str>, value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    match column {
        ValueType::String => word.is_none(),
        // What would not come back as it was stays in the map.
        ValueType::Int => {
            word == Some(ValueType::Int.word()) && value.parse::<i64>().is_ok_and(|int| int.to_string() == value)
        }
        _ => false,
    }
}

fn entries(map: &MapArray, row: usize) -> std::ops::Range<usize> {
    if map.is_null(row) {
        return 0..0;
    }
    let offsets = map.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The map with the entries that stay.
fn kept(map: &MapArray, kept: &Kept) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(field, sorted) = map.data_type() else { unreachable!("a map is a map") };
    let places = UInt32Array::from(kept.entries.clone());
    let children = vec![take(map.keys(), &places, None)?, take(map.values(), &places, None)?];
    let pairs = StructArray::try_new(map.entries().fields().clone(), children, None)?;
    let offsets = OffsetBuffer::from_lengths(kept.lengths.iter().copied());
    Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, pairs, map.nulls().cloned(), *sorted)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{MapBuilder, MapFieldNames, StringBuilder};
    use arrow::compute::cast;
    use arrow::datatypes::Field;
    use orrery_model::schema::map_type;
    use proptest::prelude::*;

    use super::*;

    /// A key's value with the word of its type, empty for a string.
    type Row = BTreeMap<&'static str, (&'static str, Option<&'static str>)>;

    fn map(rows: &[Vec<(&str, Option<&str>)>]) -> ArrayRef {
        let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in rows {
            for (key, value) in row {
                builder.keys().append_value(key);
                builder.values().append_option(*value);
            }
            builder.append(true).expect("keys and values are even");
        }
        cast(&builder.finish(), &map_type()).expect("the same type")
    }

    fn batch(rows: &[Row]) -> RecordBatch {
        let values: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|(k, (_, v))| (*k, *v)).collect()).collect();
        let types: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().filter(|(_, (t, _))| !t.is_empty()).map(|(k, (t, _))| (*k, Some(*t))).collect())
            .collect();
        let none = vec![Vec::new(); rows.len()];
        let columns = Scope::ALL.iter().flat_map(|scope| {
            let (values, types) = if *scope == Scope::Item { (&values, &types) } else { (&none, &none) };
            [(scope.other_name(), map(values)), (scope.types_name(), map(types))]
        });
        let (fields, columns): (Vec<_>, Vec<_>) =
            columns.map(|(name, array)| (Field::new(name, map_type(), false), array)).unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("the columns fit")
    }

    fn learned(keys: &[(&str, ValueType)]) -> Vec<LearnedColumn> {
        let column = |(i, (key, value_type)): (usize, &(&str, ValueType))| LearnedColumn {
            field_id: 100 + i as i32,
            scope: Scope::Item,
            key: (*key).to_owned(),
            value_type: *value_type,
        };
        keys.iter().enumerate().map(column).collect()
    }

    /// What a reader puts together again: key to type and value.
    fn put_together(batch: &RecordBatch, learned: &[LearnedColumn]) -> Vec<BTreeMap<String, (String, Option<String>)>> {
        let get = |name: &str, row: usize| -> Vec<(String, Option<String>)> {
            let map = batch.column_by_name(name).expect("a column").as_map();
            let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
            let text = |at: usize| values.is_valid(at).then(|| values.value(at).to_owned());
            entries(map, row).map(|at| (keys.value(at).to_owned(), text(at))).collect()
        };
        (0..batch.num_rows())
            .map(|row| {
                let types: BTreeMap<_, _> = get("other_attribute_types", row).into_iter().collect();
                let mut all: BTreeMap<_, _> = get("other_attributes", row)
                    .into_iter()
                    .map(|(key, value)| {
                        let word = types.get(&key).cloned().flatten().unwrap_or_default();
                        (key, (word, value))
                    })
                    .collect();
                assert!(types.keys().all(|key| all.contains_key(key)), "a type without its value");
                for column in learned {
                    let array = batch.column_by_name(&column.column_name()).expect("a learned column");
                    let array = cast(array, &DataType::Utf8).expect("text");
                    if array.is_valid(row) {
                        let word = if column.value_type == ValueType::Int { "int" } else { "" };
                        let value = Some(array.as_string::<i32>().value(row).to_owned());
                        assert!(all.insert(column.key.clone(), (word.to_owned(), value)).is_none(), "in both");
                    }
                }
                all
            })
            .collect()
    }

    fn any_row() -> impl Strategy<Value = Row> {
        let value = prop_oneof![
            Just(("", Some("x"))),
            Just(("", Some(""))),
            Just(("", Some("7"))),
            Just(("int", Some("7"))),
            Just(("int", Some("-9223372036854775808"))),
            Just(("double", Some("7.0"))),
            Just(("bool", Some("true"))),
            Just(("empty", None)),
        ];
        prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "d"]), value, 0..4)
    }

    proptest! {
        #[test]
        fn no_value_is_lost_or_changed(rows in prop::collection::vec(any_row(), 0..20)) {
            let sent = batch(&rows);
            let expected = put_together(&sent, &[]);
            let first = learned(&[("a", ValueType::String)]);
            let once = learn(&sent, &first).expect("it can be learned").into_owned();
            prop_assert_eq!(&put_together(&once, &first), &expected);
            // A file that knows one key, merged into one that knows three.
            let more = learned(&[("a", ValueType::String), ("b", ValueType::Int), ("absent", ValueType::String)]);
            let twice = learn(&once, &more).expect("it can be learned").into_owned();
            prop_assert_eq!(&put_together(&twice, &more), &expected);
            let at_once = learn(&sent, &more).expect("it can be learned").into_owned();
            prop_assert_eq!(twice, at_once);
            let (all, held) = learn_all(vec![sent.clone(), once.slice(0, 0).project(&[0, 1, 2, 3, 4, 5]).expect("maps")], &more)
                .expect("it can be learned");
            prop_assert!(held.iter().all(|column| column.key != "absent"));
            prop_assert_eq!(&put_together(&all[0], &held), &expected);
        }
    }

    #[test]
    fn values_of_the_columns_type_move_and_others_stay() {
        let row = |value| Row::from([("a", value), ("z", ("", Some("z")))]);
        let rows = [row(("", Some("text"))), row(("int", Some("7"))), row(("empty", None)), Row::new()];
        let columns = learned(&[("a", ValueType::String)]);
        let batch = batch(&rows);
        let moved = learn(&batch, &columns).expect("it can be learned");
        let column = moved.column_by_name("attributes.a").expect("the column").as_string::<i32>();
        assert_eq!(column.iter().collect::<Vec<_>>(), [Some("text"), None, None, None]);
        let kept = moved.column_by_name("other_attributes").expect("the map").as_map();
        assert_eq!((0..4).map(|row| entries(kept, row).len()).collect::<Vec<_>>(), [1, 2, 2, 0]);
        assert!(matches!(learn(&batch, &[]), Ok(Cow::Borrowed(_))));
        assert_eq!(with_learned(&batch.schema(), &columns).fields(), moved.schema().fields());
    }
}
