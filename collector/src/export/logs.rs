//! Log records back to OTLP.

use arrow::array::{PrimitiveArray, RecordBatch};
use arrow::datatypes::Int64Type;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use orrery_model::{Scope, Signal, ValueType};

use super::cells::{Attributes, Columns, Count, Text, Time};
use super::{ExportError, value};

pub(super) struct Logs<'a> {
    timestamp: Time<'a>,
    time_source: Text<'a>,
    observed_timestamp: Time<'a>,
    trace_id: Text<'a>,
    span_id: Text<'a>,
    flags: Count<'a>,
    severity_number: &'a PrimitiveArray<Int64Type>,
    severity_text: Text<'a>,
    body: Text<'a>,
    body_type: Text<'a>,
    event_name: Text<'a>,
    attributes: Attributes<'a>,
    dropped_attributes: Count<'a>,
}

impl<'a> Logs<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ExportError> {
        let columns = Columns::Batch(batch);
        Ok(Self {
            timestamp: columns.time("timestamp")?,
            time_source: columns.text("time_source")?,
            observed_timestamp: columns.time("observed_timestamp")?,
            trace_id: columns.text("trace_id")?,
            span_id: columns.text("span_id")?,
            flags: columns.count("flags")?,
            severity_number: columns.number("severity_number")?,
            severity_text: columns.text("severity_text")?,
            body: columns.text("body")?,
            body_type: columns.text("body_type")?,
            event_name: columns.text("event_name")?,
            attributes: Attributes::new(columns, Signal::Logs, Scope::Item)?,
            dropped_attributes: columns.count("dropped_attributes_count")?,
        })
    }

    pub fn log_record(&self, row: usize) -> Result<LogRecord, ExportError> {
        let sent = self.time_source.get(row) == Some("sent");
        Ok(LogRecord {
            time_unix_nano: if sent { self.timestamp.get(row) } else { 0 },
            observed_time_unix_nano: self.observed_timestamp.get(row),
            severity_number: self.severity_number.value(row) as i32,
            severity_text: self.severity_text.string(row),
            body: self.body(row)?,
            attributes: self.attributes.get(row)?,
            dropped_attributes_count: self.dropped_attributes.get(row),
            flags: self.flags.get(row),
            trace_id: self.trace_id.id(row)?,
            span_id: self.span_id.id(row)?,
            event_name: self.event_name.string(row),
        })
    }

    fn body(&self, row: usize) -> Result<Option<AnyValue>, ExportError> {
        let value_type = match (self.body_type.get(row), self.body.get(row)) {
            (None, None) => return Ok(None),
            (None, Some(_)) => Some(ValueType::String),
            (Some(word), _) => ValueType::from_word(word),
        };
        let unknown = || ExportError::Text { what: "a body's type", text: self.body_type.string(row) };
        value::value(value_type.ok_or_else(unknown)?, self.body.get(row).unwrap_or_default()).map(Some)
    }
}
