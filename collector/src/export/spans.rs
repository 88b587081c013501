//! Spans back to OTLP.

use arrow::array::{Array, ListArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::Int64Type;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use orrery_model::{Scope, Signal};

use super::ExportError;
use super::cells::{Attributes, Columns, Count, Maps, Text, Time, elements};
use crate::decode::{KINDS, STATUS_CODES};

pub(super) struct Spans<'a> {
    timestamp: Time<'a>,
    time_source: Text<'a>,
    duration_ns: &'a PrimitiveArray<Int64Type>,
    trace_id: Text<'a>,
    span_id: Text<'a>,
    parent_span_id: Text<'a>,
    trace_state: Text<'a>,
    flags: Count<'a>,
    name: Text<'a>,
    kind: Text<'a>,
    status_code: Text<'a>,
    status_message: Text<'a>,
    attributes: Attributes<'a>,
    events: Events<'a>,
    links: Links<'a>,
    dropped_attributes: Count<'a>,
    dropped_events: Count<'a>,
    dropped_links: Count<'a>,
}

impl<'a> Spans<'a> {
    pub fn new(batch: &'a RecordBatch) -> Result<Self, ExportError> {
        let columns = Columns::Batch(batch);
        Ok(Self {
            timestamp: columns.time("timestamp")?,
            time_source: columns.text("time_source")?,
            duration_ns: columns.number("duration_ns")?,
            trace_id: columns.text("trace_id")?,
            span_id: columns.text("span_id")?,
            parent_span_id: columns.text("parent_span_id")?,
            trace_state: columns.text("trace_state")?,
            flags: columns.count("flags")?,
            name: columns.text("name")?,
            kind: columns.text("kind")?,
            status_code: columns.text("status_code")?,
            status_message: columns.text("status_message")?,
            attributes: Attributes::new(columns, Signal::Spans, Scope::Item)?,
            events: Events::new(columns)?,
            links: Links::new(columns)?,
            dropped_attributes: columns.count("dropped_attributes_count")?,
            dropped_events: columns.count("dropped_events_count")?,
            dropped_links: columns.count("dropped_links_count")?,
        })
    }

    pub fn span(&self, row: usize) -> Result<Span, ExportError> {
        let timestamp = self.timestamp.get(row);
        let end =
            if self.duration_ns.is_valid(row) { timestamp.wrapping_add_signed(self.duration_ns.value(row)) } else { 0 };
        let code = self.status_code.word(row, &STATUS_CODES)?;
        let message = self.status_message.string(row);
        Ok(Span {
            trace_id: self.trace_id.id(row)?,
            span_id: self.span_id.id(row)?,
            trace_state: self.trace_state.string(row),
            parent_span_id: self.parent_span_id.id(row)?,
            flags: self.flags.get(row),
            name: self.name.string(row),
            kind: self.kind.word(row, &KINDS)?,
            start_time_unix_nano: if self.time_source.get(row) == Some("sent") { timestamp } else { 0 },
            end_time_unix_nano: end,
            attributes: self.attributes.get(row)?,
            dropped_attributes_count: self.dropped_attributes.get(row),
            events: self.events.get(row)?,
            dropped_events_count: self.dropped_events.get(row),
            links: self.links.get(row)?,
            dropped_links_count: self.dropped_links.get(row),
            status: (code != 0 || !message.is_empty()).then_some(Status { message, code }),
        })
    }
}

struct Events<'a> {
    list: &'a ListArray,
    timestamp: Time<'a>,
    name: Text<'a>,
    attributes: Maps<'a>,
    dropped_attributes: Count<'a>,
}

impl<'a> Events<'a> {
    fn new(columns: Columns<'a>) -> Result<Self, ExportError> {
        let (list, columns) = columns.structs("events")?;
        Ok(Self {
            list,
            timestamp: columns.time("timestamp")?,
            name: columns.text("name")?,
            attributes: columns.maps("attributes", "attribute_types")?,
            dropped_attributes: columns.count("dropped_attributes_count")?,
        })
    }

    fn get(&self, row: usize) -> Result<Vec<Event>, ExportError> {
        let event = |i| {
            Ok(Event {
                time_unix_nano: self.timestamp.get(i),
                name: self.name.string(i),
                attributes: self.attributes.attributes(i)?,
                dropped_attributes_count: self.dropped_attributes.get(i),
            })
        };
        elements(self.list, row).map(event).collect()
    }
}

struct Links<'a> {
    list: &'a ListArray,
    trace_id: Text<'a>,
    span_id: Text<'a>,
    trace_state: Text<'a>,
    flags: Count<'a>,
    attributes: Maps<'a>,
    dropped_attributes: Count<'a>,
}

impl<'a> Links<'a> {
    fn new(columns: Columns<'a>) -> Result<Self, ExportError> {
        let (list, columns) = columns.structs("links")?;
        Ok(Self {
            list,
            trace_id: columns.text("trace_id")?,
            span_id: columns.text("span_id")?,
            trace_state: columns.text("trace_state")?,
            flags: columns.count("flags")?,
            attributes: columns.maps("attributes", "attribute_types")?,
            dropped_attributes: columns.count("dropped_attributes_count")?,
        })
    }

    fn get(&self, row: usize) -> Result<Vec<Link>, ExportError> {
        let link = |i| {
            Ok(Link {
                trace_id: self.trace_id.id(i)?,
                span_id: self.span_id.id(i)?,
                trace_state: self.trace_state.string(i),
                attributes: self.attributes.attributes(i)?,
                dropped_attributes_count: self.dropped_attributes.get(i),
                flags: self.flags.get(i),
            })
        };
        elements(self.list, row).map(link).collect()
    }
}
