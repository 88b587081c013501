//! Typed reading of a batch's columns by name, whichever of Arrow's string layouts they come in. Never computes anything.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    MapArray, RecordBatch, StringArray, StringViewArray, StructArray, UInt64Array,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt64Type};

use crate::QueryError;

/// A column of strings.
pub enum Text<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    /// Places in a dictionary, and its values.
    Dictionary(&'a Int32Array, &'a StringArray),
    /// All NULL.
    Null,
}

impl<'a> Text<'a> {
    pub fn of(array: &'a dyn Array) -> Result<Self, QueryError> {
        match array.data_type() {
            DataType::Utf8 => Ok(Self::Utf8(array.as_string())),
            DataType::LargeUtf8 => Ok(Self::Large(array.as_string())),
            DataType::Utf8View => Ok(Self::View(array.as_string_view())),
            DataType::Dictionary(..) => {
                let found =
                    array.as_dictionary_opt::<Int32Type>().and_then(|d| Some((d.keys(), d.values().as_string_opt()?)));
                let (keys, values) = found.ok_or_else(|| wrong_text(array.data_type()))?;
                Ok(Self::Dictionary(keys, values))
            }
            DataType::Null => Ok(Self::Null),
            other => Err(wrong_text(other)),
        }
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a str> {
        match self {
            Self::Utf8(a) => (!a.is_null(i)).then(|| a.value(i)),
            Self::Large(a) => (!a.is_null(i)).then(|| a.value(i)),
            Self::View(a) => (!a.is_null(i)).then(|| a.value(i)),
            Self::Dictionary(keys, values) => {
                let key = (!keys.is_null(i)).then(|| keys.value(i) as usize)?;
                (!values.is_null(key)).then(|| values.value(key))
            }
            Self::Null => None,
        }
    }

    /// Gives each value's bytes, none where it is NULL, in order.
    #[inline]
    pub fn each(&self, rows: usize, mut give: impl FnMut(&'a [u8])) {
        match self {
            Self::Utf8(a) if a.null_count() == 0 => {
                let bytes = a.value_data();
                a.value_offsets().windows(2).for_each(|ends| give(&bytes[ends[0] as usize..ends[1] as usize]));
            }
            Self::Utf8(a) => {
                let (bytes, ends) = (a.value_data(), a.value_offsets().windows(2));
                let is_there = a.nulls().into_iter().flatten();
                ends.zip(is_there).for_each(|(ends, is_there)| {
                    give(if is_there { &bytes[ends[0] as usize..ends[1] as usize] } else { &[] });
                });
            }
            _ => (0..rows).for_each(|i| give(self.or_empty(i).as_bytes())),
        }
    }

    /// The value, empty where it is NULL.
    #[inline]
    pub fn or_empty(&self, i: usize) -> &'a str {
        self.get(i).unwrap_or_default()
    }

    pub fn owned(&self, i: usize) -> Option<String> {
        self.get(i).map(str::to_owned)
    }
}

/// A column of 64-bit integers or nanosecond times.
pub struct Integers<'a> {
    array: &'a dyn Array,
    values: &'a [i64],
}

impl Integers<'_> {
    #[inline]
    pub fn get(&self, i: usize) -> Option<i64> {
        (!self.array.is_null(i)).then(|| self.values[i])
    }

    #[inline]
    pub fn or_zero(&self, i: usize) -> i64 {
        self.get(i).unwrap_or_default()
    }

    /// Of every row.
    pub fn all_or_zero(&self) -> Vec<i64> {
        if self.array.null_count() == 0 {
            return self.values.to_vec();
        }
        (0..self.values.len()).map(|i| self.or_zero(i)).collect()
    }
}

/// A batch whose columns are asked for by name; a missing one is a bug of the caller and an `internal` error.
#[derive(Clone, Copy)]
pub struct Columns<'a>(pub &'a RecordBatch);

impl<'a> Columns<'a> {
    pub fn array(&self, name: &str) -> Result<&'a ArrayRef, QueryError> {
        self.0.column_by_name(name).ok_or_else(|| QueryError::internal(format!("the answer has no column {name}")))
    }

    pub fn text(&self, name: &str) -> Result<Text<'a>, QueryError> {
        Text::of(self.array(name)?.as_ref())
    }

    pub fn integers(&self, name: &str) -> Result<Integers<'a>, QueryError> {
        let array = self.array(name)?.as_ref();
        let values: &[i64] = match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().values(),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => array.as_primitive::<TimestampNanosecondType>().values(),
            other => return Err(wrong_type(name, other)),
        };
        Ok(Integers { array, values })
    }

    pub fn int64(&self, name: &str) -> Result<&'a Int64Array, QueryError> {
        let array = self.array(name)?;
        array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    pub fn uint64(&self, name: &str) -> Result<&'a UInt64Array, QueryError> {
        let array = self.array(name)?;
        array.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    pub fn float64(&self, name: &str) -> Result<&'a Float64Array, QueryError> {
        let array = self.array(name)?;
        array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    pub fn bools(&self, name: &str) -> Result<&'a BooleanArray, QueryError> {
        let array = self.array(name)?;
        array.as_boolean_opt().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    pub fn list(&self, name: &str) -> Result<&'a ListArray, QueryError> {
        let array = self.array(name)?;
        array.as_list_opt::<i32>().ok_or_else(|| wrong_type(name, array.data_type()))
    }

    pub fn map(&self, name: &str) -> Result<&'a MapArray, QueryError> {
        let array = self.array(name)?;
        array.as_map_opt().ok_or_else(|| wrong_type(name, array.data_type()))
    }
}

/// The range of a list's or a map's elements in row `i`; empty where it is NULL.
pub fn range(offsets: &[i32], is_null: bool, i: usize) -> std::ops::Range<usize> {
    if is_null { 0..0 } else { offsets[i] as usize..offsets[i + 1] as usize }
}

/// A list's elements as a struct.
pub fn structs(list: &ListArray) -> Result<&StructArray, QueryError> {
    list.values().as_struct_opt().ok_or_else(|| wrong_type("element", list.values().data_type()))
}

/// A field of a struct, by name.
pub fn field<'a>(values: &'a StructArray, name: &str) -> Result<&'a ArrayRef, QueryError> {
    values.column_by_name(name).ok_or_else(|| QueryError::internal(format!("the answer has no field {name}")))
}

fn wrong_text(found: &DataType) -> QueryError {
    QueryError::internal(format!("a column of strings is of type {found}"))
}

pub fn wrong_type(name: &str, found: &DataType) -> QueryError {
    QueryError::internal(format!("column {name} is of type {found}"))
}
