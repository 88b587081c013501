//! Rows of a table with something in every column, nested ones too: NULLs, NaN, empty and long values, keys that repeat.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray,
    StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use orrery_model::{TableName, table};

use crate::support::{SECOND, Seed};

/// `len` rows whose times are within `span_ns` from `start`, in steps so wide that many are equal.
pub fn batch(seed: &mut Seed, name: TableName, len: usize, start: i64, span_ns: i64) -> RecordBatch {
    let table = table(name);
    let columns = table.schema.fields().iter().map(|field| match field.name().as_str() {
        "timestamp" => {
            let step = (span_ns / 40).max(1);
            let times: Vec<i64> = (0..len).map(|_| start + seed.below(40.min(span_ns as u64)) as i64 * step).collect();
            Arc::new(TimestampNanosecondArray::from(times)) as ArrayRef
        }
        "service_name" | "alert" => words(seed, len, &["", "a", "b", "bb", "β"], field.is_nullable()),
        "metric_name" => words(seed, len, &["", "cpu", "cpu.time", "mem"], true),
        "series_id" => words(seed, len, &["00", "01", "ff"], false),
        "trace_id" => words(seed, len, &["0a", "0b", "0c", "0d", "0e", "0f"], true),
        _ => column(seed, field, len),
    });
    RecordBatch::try_new(Arc::clone(&table.schema), columns.collect()).expect("the columns fit the schema")
}

fn words(seed: &mut Seed, len: usize, words: &[&str], nullable: bool) -> ArrayRef {
    let word = |seed: &mut Seed| (!nullable || seed.below(4) != 0).then(|| seed.of(words));
    Arc::new((0..len).map(|_| word(seed)).collect::<StringArray>())
}

/// Some columns are NULL throughout, some never, most now and then.
fn column(seed: &mut Seed, field: &Field, len: usize) -> ArrayRef {
    let nulls = match seed.below(4) {
        _ if !field.is_nullable() => None,
        0 => Some(vec![false; len]),
        1 => None,
        _ => Some((0..len).map(|_| seed.below(3) != 0).collect::<Vec<bool>>()),
    };
    let is_valid = |row: usize| nulls.as_ref().is_none_or(|valid| valid[row]);
    match field.data_type() {
        DataType::Utf8 => {
            let text = |seed: &mut Seed| match seed.below(8) {
                0 => String::new(),
                1 => "é\u{0}\n".to_owned(),
                2 => "long ".repeat(seed.below(60) as usize),
                n => format!("v{}", n + seed.below(5)),
            };
            Arc::new((0..len).map(|row| is_valid(row).then(|| text(seed))).collect::<StringArray>())
        }
        DataType::Int64 => {
            let values = [0, 1, -1, i64::MIN, i64::MAX, 257];
            Arc::new((0..len).map(|row| is_valid(row).then(|| values[seed.below(6) as usize])).collect::<Int64Array>())
        }
        DataType::Int32 => {
            Arc::new((0..len).map(|row| is_valid(row).then(|| seed.next() as i32)).collect::<Int32Array>())
        }
        DataType::UInt64 => Arc::new((0..len).map(|row| is_valid(row).then(|| seed.next())).collect::<UInt64Array>()),
        DataType::Float64 => {
            let values = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, -1.5];
            let value = |seed: &mut Seed| values[seed.below(6) as usize];
            Arc::new((0..len).map(|row| is_valid(row).then(|| value(seed))).collect::<Float64Array>())
        }
        DataType::Boolean => {
            Arc::new((0..len).map(|row| is_valid(row).then(|| seed.below(2) == 0)).collect::<BooleanArray>())
        }
        DataType::Timestamp(..) => {
            let time = |seed: &mut Seed| seed.below(1 << 40) as i64 * SECOND / 1000;
            Arc::new((0..len).map(|row| is_valid(row).then(|| time(seed))).collect::<TimestampNanosecondArray>())
        }
        DataType::List(element) => {
            let lengths: Vec<usize> = (0..len).map(|row| if is_valid(row) { few(seed) } else { 0 }).collect();
            let values = column(seed, element, lengths.iter().sum());
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(Arc::clone(element), offsets, values, nulls.map(NullBuffer::from)))
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else { panic!("a map's entries are a struct") };
            let lengths: Vec<usize> = (0..len).map(|_| few(seed)).collect();
            let pairs = structure(seed, fields, lengths.iter().sum(), None);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, None, *sorted))
        }
        DataType::Struct(fields) => Arc::new(structure(seed, fields, len, nulls.map(NullBuffer::from))),
        other => panic!("no rows of type {other}"),
    }
}

fn structure(seed: &mut Seed, fields: &Fields, len: usize, nulls: Option<NullBuffer>) -> StructArray {
    let columns: Vec<ArrayRef> = fields.iter().map(|field| column(seed, field, len)).collect();
    assert!(columns.iter().all(|column| column.len() == len));
    StructArray::try_new_with_length(fields.clone(), columns, nulls, len).expect("the columns fit")
}

/// Most lists are empty.
fn few(seed: &mut Seed) -> usize {
    [0, 0, 0, 1, 2, 5][seed.below(6) as usize]
}

/// The rows whose times are not before `start`.
pub fn in_hour(batch: &RecordBatch, start: i64) -> RecordBatch {
    let times = batch.column_by_name("timestamp").expect("every table has it");
    let times = arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampNanosecondType>(times);
    let keep: BooleanArray = times.values().iter().map(|time| Some(*time >= start)).collect();
    arrow::compute::filter_record_batch(batch, &keep).expect("a mask of its length")
}
