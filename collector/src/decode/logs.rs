//! Log records.

use arrow::datatypes::{Int64Type, TimestampNanosecondType};

use super::any::Any;
use super::batch::{Batch, Noted, Records};
use super::column::{Column, Numbers, Text};
use super::fault::Fault;
use super::spans::{put_count, put_id, time};
use super::wire::Wire;
use super::wire::keys::*;

/// All of 1 to 12 but the reserved 4.
const LOG_FIELDS: u32 = 0x1fee;
const LOG_ATTRIBUTES: u32 = 6;

/// The columns of logs.
pub(super) struct Logs {
    timestamp: Numbers<TimestampNanosecondType>,
    time_source: Text,
    observed_timestamp: Numbers<TimestampNanosecondType>,
    trace_id: Text,
    span_id: Text,
    flags: Numbers<Int64Type>,
    severity_number: Numbers<Int64Type>,
    severity_text: Text,
    body: Text,
    body_type: Text,
    event_name: Text,
    dropped_attributes: Numbers<Int64Type>,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            timestamp: Numbers::or_zero(),
            time_source: Text::default(),
            observed_timestamp: Numbers::nullable(),
            trace_id: Text::default(),
            span_id: Text::default(),
            flags: Numbers::or_zero(),
            severity_number: Numbers::or_zero(),
            severity_text: Text::default(),
            body: Text::default(),
            body_type: Text::default(),
            event_name: Text::default(),
            dropped_attributes: Numbers::or_zero(),
        }
    }
}

impl Records for Logs {
    fn decode(&mut self, batch: &mut Batch, at: usize, record: Wire<'_>) -> Result<(), Fault> {
        batch.row(self, at, |logs, batch, row| logs.log_record(batch, row, record))
    }

    fn count(_: Wire<'_>) -> Result<u64, Fault> {
        Ok(1)
    }

    fn columns(&mut self) -> Vec<(&'static str, &mut dyn Column)> {
        vec![
            ("timestamp", &mut self.timestamp),
            ("time_source", &mut self.time_source),
            ("observed_timestamp", &mut self.observed_timestamp),
            ("trace_id", &mut self.trace_id),
            ("span_id", &mut self.span_id),
            ("flags", &mut self.flags),
            ("severity_number", &mut self.severity_number),
            ("severity_text", &mut self.severity_text),
            ("body", &mut self.body),
            ("body_type", &mut self.body_type),
            ("event_name", &mut self.event_name),
            ("dropped_attributes_count", &mut self.dropped_attributes),
        ]
    }

    fn reserve(&mut self, records: usize) {
        self.timestamp.reserve(records);
        self.time_source.reserve(records, records * "sent".len());
        self.severity_number.reserve(records);
        self.severity_text.reserve(records, records * "INFO".len());
        self.body.reserve(records, 0);
    }
}

impl Logs {
    fn log_record(&mut self, batch: &mut Batch, row: usize, record: Wire<'_>) -> Result<Noted, Fault> {
        let (mut trace_id, mut span_id, mut severity_text) = (&[][..], &[][..], &[][..]);
        let (mut event_name, mut body) = (&[][..], None);
        let (mut at, mut observed, mut severity_number, mut flags, mut dropped) = (0, 0, 0, 0, 0);
        let limits = batch.limits;
        batch.attributes.begin();
        let mut wire = record;
        while let Some(key) = wire.key()? {
            match key {
                LEN_6 => batch.attributes.put(row, wire.message()?, &limits)?,
                FIXED64_1 => at = wire.fixed64()?,
                VARINT_2 => severity_number = wire.int32()?,
                LEN_3 => severity_text = wire.text()?,
                LEN_5 => {
                    if body.is_some() {
                        return Err(Fault::Irregular);
                    }
                    body = Some(Any::read(wire.message()?)?);
                }
                VARINT_7 => dropped = wire.uint32()?,
                FIXED32_8 => flags = wire.fixed32()?,
                LEN_9 => trace_id = wire.bytes()?,
                LEN_10 => span_id = wire.bytes()?,
                FIXED64_11 => observed = wire.fixed64()?,
                LEN_12 => event_name = wire.text()?,
                _ => wire.skip(key, LOG_FIELDS)?,
            }
        }
        let duplicate_keys = batch.attributes.end(row, record, LOG_ATTRIBUTES, &limits)?;
        let (sent, observed) = (time("time_unix_nano", at)?, time("observed_time_unix_nano", observed)?);
        let (timestamp, source): (_, &[u8]) = match (sent, observed) {
            (Some(sent), _) => (sent, b"sent"),
            (None, Some(observed)) => (observed, b"observed"),
            (None, None) => (batch.received_ns, b"received"),
        };
        self.timestamp.put(row, timestamp);
        self.time_source.put(row, source);
        self.observed_timestamp.put_some(row, observed);
        put_id(&mut self.trace_id, row, "trace_id", trace_id, 16)?;
        put_id(&mut self.span_id, row, "span_id", span_id, 8)?;
        put_count(&mut self.flags, row, flags);
        if severity_number != 0 {
            self.severity_number.put(row, i64::from(severity_number));
        }
        self.severity_text.put_present(row, severity_text);
        if let Some(body) = body {
            self.put_body(row, body, limits.nesting)?;
        }
        self.event_name.put_present(row, event_name);
        put_count(&mut self.dropped_attributes, row, dropped);
        batch.touch(timestamp)?;
        Ok(Noted { untimed: sent.or(observed).is_none(), duplicate_keys })
    }

    /// Puts a body, a string as it is, anything else in the text form with its type.
    fn put_body(&mut self, row: usize, body: Any<'_>, nesting: usize) -> Result<(), Fault> {
        match body {
            Any::String(text) => self.body.put(row, text),
            body => {
                if !matches!(body, Any::Empty) {
                    body.write_text(self.body.begin(row), nesting)?;
                }
                self.body_type.put(row, body.value_type().word().as_bytes());
            }
        }
        Ok(())
    }
}
