//! The exemplars of data points.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;

use super::attributes::{NestedAttributes, SetLimits};
use super::column::{Column, Elements, Numbers, Text, Zeros};
use super::fault::Fault;
use super::points::NumberValue;
use super::spans::{put_id, time};
use super::wire::Wire;
use super::wire::keys::*;

/// All of 2 to 7; 1 is reserved.
const EXEMPLAR_FIELDS: u32 = 0b1111_1100;

/// The list of exemplars.
pub(super) struct Exemplars {
    elements: Elements,
    timestamp: Numbers<TimestampNanosecondType>,
    value: Numbers<Float64Type>,
    value_int: Numbers<Int64Type>,
    trace_id: Text,
    span_id: Text,
    attributes: NestedAttributes,
}

impl Exemplars {
    pub fn new() -> Self {
        Self {
            elements: Elements::default(),
            timestamp: Numbers::nullable(),
            value: Numbers::nullable(),
            value_int: Numbers::nullable(),
            trace_id: Text::default(),
            span_id: Text::default(),
            attributes: NestedAttributes::new(),
        }
    }

    /// Takes one `Exemplar` of a row. Returns how many attributes were dropped since a later one has the same key.
    pub fn exemplar(&mut self, row: usize, message: Wire<'_>, limits: &SetLimits) -> Result<u64, Fault> {
        let i = self.elements.push(row);
        let (mut timestamp, mut trace_id, mut span_id) = (0, &[][..], &[][..]);
        let mut value = NumberValue::default();
        self.attributes.begin();
        let mut wire = message;
        while let Some(key) = wire.key()? {
            match key {
                FIXED64_2 => timestamp = wire.fixed64()?,
                FIXED64_3 => value = NumberValue::double(wire.double()?),
                LEN_4 => span_id = wire.bytes()?,
                LEN_5 => trace_id = wire.bytes()?,
                FIXED64_6 => value = NumberValue::int(wire.fixed64()? as i64),
                LEN_7 => self.attributes.put(i, wire.message()?, limits)?,
                _ => wire.skip(key, EXEMPLAR_FIELDS)?,
            }
        }
        let duplicate_keys = self.attributes.end(i, message, 7, limits)?;
        self.timestamp.put_some(i, time("the time of an exemplar", timestamp)?);
        self.value.put_some(i, value.value);
        self.value_int.put_some(i, value.int);
        put_id(&mut self.trace_id, i, "the trace_id of an exemplar", trace_id, 16)?;
        put_id(&mut self.span_id, i, "the span_id of an exemplar", span_id, 8)?;
        Ok(duplicate_keys)
    }
}

impl Column for Exemplars {
    fn truncate(&mut self, rows: usize) {
        let len = self.elements.truncate(rows);
        self.timestamp.truncate(len);
        self.value.truncate(len);
        self.value_int.truncate(len);
        self.trace_id.truncate(len);
        self.span_id.truncate(len);
        self.attributes.maps.truncate(len);
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        let maps = &mut self.attributes.maps;
        let fields: &mut [&mut dyn Column] = &mut [
            &mut self.timestamp,
            &mut self.value,
            &mut self.value_int,
            &mut self.trace_id,
            &mut self.span_id,
            &mut maps.values,
            &mut maps.types,
        ];
        self.elements.finish(rows, data_type, zeros, fields)
    }
}
