//! One value of an Arrow array as JSON or as plain text. Times are RFC 3339 in UTC with nanoseconds, 64-bit integers are
//! numbers, NaN and the infinities strings, maps and structs objects, bytes hexadecimal.

use std::io::Write as _;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericStringArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, RecordBatch, StringViewArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{self, DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::QueryError;
use crate::time::rfc3339;

/// A column whose values can be written one by one.
pub(super) trait Cell: Send {
    fn is_null(&self, row: usize) -> bool;

    /// The value, which is not NULL, as JSON.
    fn json(&self, row: usize, out: &mut Vec<u8>);

    /// The value, which is not NULL, without the quotes of a JSON string.
    fn text(&self, row: usize, out: &mut Vec<u8>) {
        self.json(row, out);
    }
}

pub(super) fn cells(batch: &RecordBatch) -> Result<Vec<Box<dyn Cell>>, QueryError> {
    batch.columns().iter().map(cell).collect()
}

/// The value or `null`, as JSON.
pub(super) fn json(cell: &dyn Cell, row: usize, out: &mut Vec<u8>) {
    if cell.is_null(row) { out.extend_from_slice(b"null") } else { cell.json(row, out) }
}

/// A JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a vector takes any bytes");
}

fn cell(array: &ArrayRef) -> Result<Box<dyn Cell>, QueryError> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(Nothing),
        DataType::Boolean => Box::new(array.as_boolean().clone()),
        DataType::Int8 => integer::<datatypes::Int8Type>(array),
        DataType::Int16 => integer::<datatypes::Int16Type>(array),
        DataType::Int32 => integer::<datatypes::Int32Type>(array),
        DataType::Int64 => integer::<datatypes::Int64Type>(array),
        DataType::UInt8 => integer::<datatypes::UInt8Type>(array),
        DataType::UInt16 => integer::<datatypes::UInt16Type>(array),
        DataType::UInt32 => integer::<datatypes::UInt32Type>(array),
        DataType::UInt64 => integer::<datatypes::UInt64Type>(array),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Box::new(Double(cast(array, &DataType::Float64)?.as_primitive::<datatypes::Float64Type>().clone()))
        }
        DataType::Utf8 => Box::new(array.as_string::<i32>().clone()),
        DataType::LargeUtf8 => Box::new(array.as_string::<i64>().clone()),
        DataType::Utf8View => Box::new(array.as_string_view().clone()),
        DataType::Timestamp(..) => {
            let nanoseconds = cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
            Box::new(Time(nanoseconds.as_primitive::<datatypes::TimestampNanosecondType>().clone()))
        }
        DataType::List(_) => list(array.as_list::<i32>())?,
        DataType::LargeList(_) => list(array.as_list::<i64>())?,
        DataType::Struct(_) => Box::new(Object::new(array.as_struct())?),
        DataType::Map(..) => Box::new(Entries::new(array.as_map())?),
        DataType::Dictionary(_, values) => cell(&cast(array, values)?)?,
        _ => Box::new(Printed::new(array)?),
    })
}

struct Nothing;

impl Cell for Nothing {
    fn is_null(&self, _row: usize) -> bool {
        true
    }

    fn json(&self, _row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }
}

impl Cell for BooleanArray {
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.value(row) { b"true" } else { b"false" });
    }
}

struct Integer<T: ArrowPrimitiveType>(PrimitiveArray<T>);

fn integer<T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn Cell>
where
    T::Native: std::fmt::Display,
{
    Box::new(Integer(array.as_primitive::<T>().clone()))
}

impl<T: ArrowPrimitiveType> Cell for Integer<T>
where
    T::Native: std::fmt::Display,
{
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        write!(out, "{}", self.0.value(row)).expect("a vector takes any bytes");
    }
}

struct Double(PrimitiveArray<datatypes::Float64Type>);

impl Cell for Double {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        if value.is_finite() {
            serde_json::to_writer(out, &value).expect("a finite number is JSON");
        } else {
            out.push(b'"');
            self.text(row, out);
            out.push(b'"');
        }
    }

    fn text(&self, row: usize, out: &mut Vec<u8>) {
        let value = self.0.value(row);
        if value.is_finite() {
            self.json(row, out);
        } else if value.is_nan() {
            out.extend_from_slice(b"NaN");
        } else {
            out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        }
    }
}

impl<O: OffsetSizeTrait> Cell for GenericStringArray<O> {
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        string(self.value(row), out);
    }

    fn text(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.value(row).as_bytes());
    }
}

impl Cell for StringViewArray {
    fn is_null(&self, row: usize) -> bool {
        Array::is_null(self, row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        string(self.value(row), out);
    }

    fn text(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.value(row).as_bytes());
    }
}

struct Time(PrimitiveArray<datatypes::TimestampNanosecondType>);

impl Cell for Time {
    fn is_null(&self, row: usize) -> bool {
        self.0.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        self.text(row, out);
        out.push(b'"');
    }

    fn text(&self, row: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(rfc3339(self.0.value(row)).as_bytes());
    }
}

struct Elements<O: OffsetSizeTrait> {
    lists: arrow::array::GenericListArray<O>,
    element: Box<dyn Cell>,
}

fn list<O: OffsetSizeTrait>(lists: &arrow::array::GenericListArray<O>) -> Result<Box<dyn Cell>, QueryError> {
    Ok(Box::new(Elements { element: cell(lists.values())?, lists: lists.clone() }))
}

impl<O: OffsetSizeTrait> Cell for Elements<O> {
    fn is_null(&self, row: usize) -> bool {
        self.lists.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        let offsets = self.lists.value_offsets();
        out.push(b'[');
        for (n, i) in (offsets[row].as_usize()..offsets[row + 1].as_usize()).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            json(self.element.as_ref(), i, out);
        }
        out.push(b']');
    }
}

struct Object {
    structs: StructArray,
    fields: Vec<(String, Box<dyn Cell>)>,
}

impl Object {
    fn new(structs: &StructArray) -> Result<Self, QueryError> {
        let named = structs.fields().iter().zip(structs.columns());
        let fields = named
            .map(|(field, column)| Ok((field.name().clone(), cell(column)?)))
            .collect::<Result<_, QueryError>>()?;
        Ok(Self { structs: structs.clone(), fields })
    }
}

impl Cell for Object {
    fn is_null(&self, row: usize) -> bool {
        self.structs.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (n, (name, field)) in self.fields.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            string(name, out);
            out.push(b':');
            json(field.as_ref(), row, out);
        }
        out.push(b'}');
    }
}

/// A map as an object, in the order of its entries.
struct Entries {
    maps: MapArray,
    key: Box<dyn Cell>,
    value: Box<dyn Cell>,
}

impl Entries {
    fn new(maps: &MapArray) -> Result<Self, QueryError> {
        Ok(Self { key: cell(maps.keys())?, value: cell(maps.values())?, maps: maps.clone() })
    }
}

impl Cell for Entries {
    fn is_null(&self, row: usize) -> bool {
        self.maps.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        let offsets = self.maps.value_offsets();
        out.push(b'{');
        let entries = usize::try_from(offsets[row]).unwrap_or(0)..usize::try_from(offsets[row + 1]).unwrap_or(0);
        let mut key = Vec::new();
        for (n, i) in entries.enumerate() {
            if n > 0 {
                out.push(b',');
            }
            key.clear();
            self.key.text(i, &mut key);
            string(&String::from_utf8_lossy(&key), out);
            out.push(b':');
            json(self.value.as_ref(), i, out);
        }
        out.push(b'}');
    }
}

/// Anything else, as Arrow prints it, within quotes; decimals without.
struct Printed {
    array: ArrayRef,
    quoted: bool,
}

impl Printed {
    fn new(array: &ArrayRef) -> Result<Self, QueryError> {
        ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default())?;
        let decimal = matches!(
            array.data_type(),
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)
        );
        Ok(Self { array: array.clone(), quoted: !decimal })
    }
}

impl Cell for Printed {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        if self.quoted {
            let mut text = Vec::new();
            self.text(row, &mut text);
            string(&String::from_utf8_lossy(&text), out);
        } else {
            self.text(row, out);
        }
    }

    fn text(&self, row: usize, out: &mut Vec<u8>) {
        if let Ok(printer) = ArrayFormatter::try_new(self.array.as_ref(), &FormatOptions::default()) {
            write!(out, "{}", printer.value(row)).expect("a vector takes any bytes");
        }
    }
}
