//! Spans with their events and links.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType};
use arrow::error::ArrowError;

use super::any::write_int;
use super::attributes::{NestedAttributes, SetLimits};
use super::batch::{Batch, Noted, Records};
use super::column::{Column, Elements, Numbers, Text, Zeros};
use super::fault::{Fault, Reason};
use super::wire::Wire;
use super::wire::keys::*;

const SPAN_FIELDS: u32 = 0x1_fffe;
const SPAN_ATTRIBUTES: u32 = 9;

/// The columns of spans.
pub(super) struct Spans {
    timestamp: Numbers<TimestampNanosecondType>,
    time_source: Text,
    duration_ns: Numbers<Int64Type>,
    trace_id: Text,
    span_id: Text,
    parent_span_id: Text,
    trace_state: Text,
    flags: Numbers<Int64Type>,
    name: Text,
    kind: Text,
    status_code: Text,
    status_message: Text,
    events: Events,
    links: Links,
    dropped_attributes: Numbers<Int64Type>,
    dropped_events: Numbers<Int64Type>,
    dropped_links: Numbers<Int64Type>,
}

impl Default for Spans {
    fn default() -> Self {
        Self {
            timestamp: Numbers::or_zero(),
            time_source: Text::default(),
            duration_ns: Numbers::nullable(),
            trace_id: Text::default(),
            span_id: Text::default(),
            parent_span_id: Text::default(),
            trace_state: Text::default(),
            flags: Numbers::or_zero(),
            name: Text::default(),
            kind: Text::default(),
            status_code: Text::default(),
            status_message: Text::default(),
            events: Events::new(),
            links: Links::new(),
            dropped_attributes: Numbers::or_zero(),
            dropped_events: Numbers::or_zero(),
            dropped_links: Numbers::or_zero(),
        }
    }
}

impl Records for Spans {
    fn decode(&mut self, batch: &mut Batch, at: usize, record: Wire<'_>) -> Result<(), Fault> {
        batch.row(self, at, |spans, batch, row| spans.span(batch, row, record))
    }

    fn count(_: Wire<'_>) -> Result<u64, Fault> {
        Ok(1)
    }

    fn columns(&mut self) -> Vec<(&'static str, &mut dyn Column)> {
        vec![
            ("timestamp", &mut self.timestamp),
            ("time_source", &mut self.time_source),
            ("duration_ns", &mut self.duration_ns),
            ("trace_id", &mut self.trace_id),
            ("span_id", &mut self.span_id),
            ("parent_span_id", &mut self.parent_span_id),
            ("trace_state", &mut self.trace_state),
            ("flags", &mut self.flags),
            ("name", &mut self.name),
            ("kind", &mut self.kind),
            ("status_code", &mut self.status_code),
            ("status_message", &mut self.status_message),
            ("events", &mut self.events),
            ("links", &mut self.links),
            ("dropped_attributes_count", &mut self.dropped_attributes),
            ("dropped_events_count", &mut self.dropped_events),
            ("dropped_links_count", &mut self.dropped_links),
        ]
    }

    fn reserve(&mut self, records: usize) {
        self.timestamp.reserve(records);
        self.duration_ns.reserve(records);
        self.time_source.reserve(records, records * "sent".len());
        self.trace_id.reserve(records, records * 32);
        self.span_id.reserve(records, records * 16);
        self.parent_span_id.reserve(records, records * 16);
        self.name.reserve(records, 0);
        self.kind.reserve(records, records * "SERVER".len());
        self.status_code.reserve(records, records * "UNSET".len());
    }
}

impl Spans {
    fn span(&mut self, batch: &mut Batch, row: usize, record: Wire<'_>) -> Result<Noted, Fault> {
        let (mut trace_id, mut span_id, mut parent) = (&[][..], &[][..], &[][..]);
        let (mut trace_state, mut name, mut message) = (&[][..], &[][..], &[][..]);
        let (mut start, mut end, mut flags, mut kind, mut status) = (0, 0, 0, 0, 0);
        let (mut dropped_attributes, mut dropped_events, mut dropped_links) = (0, 0, 0);
        let (limits, mut duplicate_keys) = (batch.limits, 0);
        batch.attributes.begin();
        let mut wire = record;
        while let Some(key) = wire.key()? {
            match key {
                LEN_9 => batch.attributes.put(row, wire.message()?, &limits)?,
                LEN_1 => trace_id = wire.bytes()?,
                LEN_2 => span_id = wire.bytes()?,
                LEN_3 => trace_state = wire.text()?,
                LEN_4 => parent = wire.bytes()?,
                FIXED32_16 => flags = wire.fixed32()?,
                LEN_5 => name = wire.text()?,
                VARINT_6 => kind = wire.int32()?,
                FIXED64_7 => start = wire.fixed64()?,
                FIXED64_8 => end = wire.fixed64()?,
                VARINT_10 => dropped_attributes = wire.uint32()?,
                LEN_11 => duplicate_keys += self.events.event(row, wire.message()?, &limits)?,
                VARINT_12 => dropped_events = wire.uint32()?,
                LEN_13 => duplicate_keys += self.links.link(row, wire.message()?, &limits)?,
                VARINT_14 => dropped_links = wire.uint32()?,
                LEN_15 => read_status(wire.message()?, &mut message, &mut status)?,
                _ => wire.skip(key, SPAN_FIELDS)?,
            }
        }
        duplicate_keys += batch.attributes.end(row, record, SPAN_ATTRIBUTES, &limits)?;
        let sent = time("start_time_unix_nano", start)?;
        let timestamp = sent.unwrap_or(batch.received_ns);
        self.timestamp.put(row, timestamp);
        self.time_source.put(row, if sent.is_some() { b"sent" } else { b"received" });
        if let Some(end) = time("end_time_unix_nano", end)? {
            self.duration_ns.put(row, end.wrapping_sub(timestamp));
        }
        put_id(&mut self.trace_id, row, "trace_id", trace_id, 16)?;
        put_id(&mut self.span_id, row, "span_id", span_id, 8)?;
        put_id(&mut self.parent_span_id, row, "parent_span_id", parent, 8)?;
        self.trace_state.put_present(row, trace_state);
        put_count(&mut self.flags, row, flags);
        self.name.put_present(row, name);
        put_word(&mut self.kind, row, kind, &KINDS);
        put_word(&mut self.status_code, row, status, &STATUS_CODES);
        self.status_message.put_present(row, message);
        put_count(&mut self.dropped_attributes, row, dropped_attributes);
        put_count(&mut self.dropped_events, row, dropped_events);
        put_count(&mut self.dropped_links, row, dropped_links);
        batch.touch(timestamp)?;
        Ok(Noted { untimed: sent.is_none(), duplicate_keys })
    }
}

/// The words of `SpanKind` by number.
pub(crate) const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
/// The words of `StatusCode` by number.
pub(crate) const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// Reads a `Status`; a second one in the same span overrides field by field, as protobuf merges messages.
fn read_status<'a>(mut wire: Wire<'a>, message: &mut &'a [u8], code: &mut i32) -> Result<(), Fault> {
    while let Some(key) = wire.key()? {
        match key {
            LEN_2 => *message = wire.text()?,
            VARINT_3 => *code = wire.int32()?,
            _ => wire.skip(key, 0b1100)?,
        }
    }
    Ok(())
}

/// The list of events.
struct Events {
    elements: Elements,
    timestamp: Numbers<TimestampNanosecondType>,
    name: Text,
    attributes: NestedAttributes,
    dropped_attributes: Numbers<Int64Type>,
}

impl Events {
    fn new() -> Self {
        Self {
            elements: Elements::default(),
            timestamp: Numbers::nullable(),
            name: Text::default(),
            attributes: NestedAttributes::new(),
            dropped_attributes: Numbers::or_zero(),
        }
    }

    fn event(&mut self, row: usize, message: Wire<'_>, limits: &SetLimits) -> Result<u64, Fault> {
        let i = self.elements.push(row);
        let (mut timestamp, mut name, mut dropped) = (0, &[][..], 0);
        self.attributes.begin();
        let mut wire = message;
        while let Some(key) = wire.key()? {
            match key {
                FIXED64_1 => timestamp = wire.fixed64()?,
                LEN_2 => name = wire.text()?,
                LEN_3 => self.attributes.put(i, wire.message()?, limits)?,
                VARINT_4 => dropped = wire.uint32()?,
                _ => wire.skip(key, 0b1_1110)?,
            }
        }
        let duplicate_keys = self.attributes.end(i, message, 3, limits)?;
        self.timestamp.put_some(i, time("the time of an event", timestamp)?);
        self.name.put_present(i, name);
        put_count(&mut self.dropped_attributes, i, dropped);
        Ok(duplicate_keys)
    }
}

impl Column for Events {
    fn truncate(&mut self, rows: usize) {
        let len = self.elements.truncate(rows);
        self.timestamp.truncate(len);
        self.name.truncate(len);
        self.attributes.maps.truncate(len);
        self.dropped_attributes.truncate(len);
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        let maps = &mut self.attributes.maps;
        let fields: &mut [&mut dyn Column] =
            &mut [&mut self.timestamp, &mut self.name, &mut maps.values, &mut maps.types, &mut self.dropped_attributes];
        self.elements.finish(rows, data_type, zeros, fields)
    }
}

/// The list of links.
struct Links {
    elements: Elements,
    trace_id: Text,
    span_id: Text,
    trace_state: Text,
    flags: Numbers<Int64Type>,
    attributes: NestedAttributes,
    dropped_attributes: Numbers<Int64Type>,
}

impl Links {
    fn new() -> Self {
        Self {
            elements: Elements::default(),
            trace_id: Text::default(),
            span_id: Text::default(),
            trace_state: Text::default(),
            flags: Numbers::or_zero(),
            attributes: NestedAttributes::new(),
            dropped_attributes: Numbers::or_zero(),
        }
    }

    fn link(&mut self, row: usize, message: Wire<'_>, limits: &SetLimits) -> Result<u64, Fault> {
        let i = self.elements.push(row);
        let (mut trace_id, mut span_id, mut trace_state) = (&[][..], &[][..], &[][..]);
        let (mut flags, mut dropped) = (0, 0);
        self.attributes.begin();
        let mut wire = message;
        while let Some(key) = wire.key()? {
            match key {
                LEN_1 => trace_id = wire.bytes()?,
                LEN_2 => span_id = wire.bytes()?,
                LEN_3 => trace_state = wire.text()?,
                LEN_4 => self.attributes.put(i, wire.message()?, limits)?,
                VARINT_5 => dropped = wire.uint32()?,
                FIXED32_6 => flags = wire.fixed32()?,
                _ => wire.skip(key, 0b111_1110)?,
            }
        }
        let duplicate_keys = self.attributes.end(i, message, 4, limits)?;
        put_id(&mut self.trace_id, i, "the trace_id of a link", trace_id, 16)?;
        put_id(&mut self.span_id, i, "the span_id of a link", span_id, 8)?;
        self.trace_state.put_present(i, trace_state);
        put_count(&mut self.flags, i, flags);
        put_count(&mut self.dropped_attributes, i, dropped);
        Ok(duplicate_keys)
    }
}

impl Column for Links {
    fn truncate(&mut self, rows: usize) {
        let len = self.elements.truncate(rows);
        self.trace_id.truncate(len);
        self.span_id.truncate(len);
        self.trace_state.truncate(len);
        self.flags.truncate(len);
        self.attributes.maps.truncate(len);
        self.dropped_attributes.truncate(len);
    }

    fn finish(&mut self, rows: usize, data_type: &DataType, zeros: &Zeros) -> Result<ArrayRef, ArrowError> {
        let maps = &mut self.attributes.maps;
        let fields: &mut [&mut dyn Column] = &mut [
            &mut self.trace_id,
            &mut self.span_id,
            &mut self.trace_state,
            &mut self.flags,
            &mut maps.values,
            &mut maps.types,
            &mut self.dropped_attributes,
        ];
        self.elements.finish(rows, data_type, zeros, fields)
    }
}

/// A time as it is stored, `None` for the zero that stands for no time.
#[inline]
pub(super) fn time(field: &'static str, nanos: u64) -> Result<Option<i64>, Fault> {
    match i64::try_from(nanos) {
        Ok(0) => Ok(None),
        Ok(nanos) => Ok(Some(nanos)),
        Err(_) => Err(Fault::Reject(Reason::Time { field })),
    }
}

/// Puts an id in hex, nothing for an empty one.
#[inline]
pub(super) fn put_id(
    column: &mut Text,
    row: usize,
    field: &'static str,
    id: &[u8],
    expected: usize,
) -> Result<(), Fault> {
    if id.len() != expected {
        let reason = Reason::IdLength { field, bytes: id.len(), expected };
        return if id.is_empty() { Ok(()) } else { Err(Fault::Reject(reason)) };
    }
    put_hex(column, row, id);
    Ok(())
}

/// Puts bytes, 16 at most, as lower-case hex.
#[inline]
pub(super) fn put_hex(column: &mut Text, row: usize, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 16];
    for (pair, byte) in hex.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    column.put(row, &hex.as_flattened()[..bytes.len() * 2]);
}

/// Puts a count, nothing for zero.
#[inline]
pub(super) fn put_count(column: &mut Numbers<Int64Type>, row: usize, count: u32) {
    if count != 0 {
        column.put(row, i64::from(count));
    }
}

/// Puts the word for an enum's number, the number itself where there is none.
#[inline]
pub(super) fn put_word(column: &mut Text, row: usize, number: i32, words: &[&str]) {
    match usize::try_from(number).ok().and_then(|i| words.get(i)) {
        Some(word) => column.put(row, word.as_bytes()),
        None => write_int(column.begin(row), i64::from(number)),
    }
}
