//! A stored span as the API shows it, whole. Places no span in a tree; that is the trace's.

use orrery_api::{Attribute, Link, SpanEvent, SpanNode};
use orrery_model::{Scope, Signal};

use crate::QueryError;
use crate::columns::{Columns, Integers, Text};
use crate::records::{Attributes, Elements, attribute_columns};
use crate::time::rfc3339;

const COLUMNS: &[&str] = &[
    "timestamp",
    "duration_ns",
    "trace_id",
    "span_id",
    "parent_span_id",
    "trace_state",
    "name",
    "kind",
    "status_code",
    "status_message",
    "events",
    "links",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    "scope_name",
    "scope_version",
];

/// The columns that [`Nodes`] reads.
pub fn columns() -> impl Iterator<Item = String> {
    let attributes = Scope::ALL.into_iter().flat_map(|scope| attribute_columns(Signal::Spans, scope));
    COLUMNS.iter().map(|c| (*c).to_owned()).chain(attributes)
}

/// The spans of a batch that has [`columns`].
pub struct Nodes<'a> {
    start: Integers<'a>,
    duration: Integers<'a>,
    text: [Text<'a>; 10],
    service: [Text<'a>; 2],
    dropped: [Integers<'a>; 3],
    attributes: [Attributes<'a>; 3],
    events: Elements<'a>,
    links: Elements<'a>,
}

impl<'a> Nodes<'a> {
    pub fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        let text = |name| batch.text(name);
        let attributes = |scope| Attributes::of(batch, Signal::Spans, scope);
        Ok(Self {
            start: batch.integers("timestamp")?,
            duration: batch.integers("duration_ns")?,
            text: [
                text("trace_id")?,
                text("span_id")?,
                text("parent_span_id")?,
                text("name")?,
                text("kind")?,
                text("status_code")?,
                text("status_message")?,
                text("scope_name")?,
                text("scope_version")?,
                text("trace_state")?,
            ],
            service: [text("service_name")?, text("service_namespace")?],
            dropped: [
                batch.integers("dropped_attributes_count")?,
                batch.integers("dropped_events_count")?,
                batch.integers("dropped_links_count")?,
            ],
            attributes: [attributes(Scope::Resource)?, attributes(Scope::Scope)?, attributes(Scope::Item)?],
            events: Elements::of(batch, "events")?,
            links: Elements::of(batch, "links")?,
        })
    }

    pub fn start_ns(&self, i: usize) -> i64 {
        self.start.or_zero(i)
    }

    pub fn duration_ns(&self, i: usize) -> i64 {
        self.duration.or_zero(i)
    }

    pub fn trace_id(&self, i: usize) -> &'a str {
        self.text[0].or_empty(i)
    }

    pub fn span_id(&self, i: usize) -> &'a str {
        self.text[1].or_empty(i)
    }

    pub fn parent_span_id(&self, i: usize) -> &'a str {
        self.text[2].or_empty(i)
    }

    pub fn kind(&self, i: usize) -> &'a str {
        self.text[4].or_empty(i)
    }

    /// `name`, or `namespace/name`.
    pub fn service_id(&self, i: usize) -> String {
        service_id(self.service[0].or_empty(i), self.service[1].get(i))
    }

    /// The span, with times from `origin_ns` and as if it were alone in its trace.
    pub fn node(&self, i: usize, origin_ns: i64) -> Result<SpanNode, QueryError> {
        let start_ns = self.start_ns(i);
        let owned = |at: usize| self.text[at].owned(i);
        let [resource_attributes, scope_attributes, attributes] =
            [0, 1, 2].map(|scope: usize| self.attributes[scope].row(i));
        Ok(SpanNode {
            trace_id: self.trace_id(i).to_owned(),
            span_id: self.span_id(i).to_owned(),
            parent_span_id: owned(2),
            service_name: self.service_id(i),
            name: self.text[3].or_empty(i).to_owned(),
            kind: self.kind(i).to_owned(),
            start: rfc3339(start_ns),
            offset_ns: start_ns.saturating_sub(origin_ns),
            duration_ns: self.duration_ns(i),
            depth: 0,
            subtree: 1,
            self_ns: 0,
            critical: false,
            critical_parts: Vec::new(),
            missing_parent: false,
            clock_skew: false,
            logs: 0,
            status_code: self.text[5].or_empty(i).to_owned(),
            status_message: owned(6),
            scope_name: owned(7),
            scope_version: owned(8),
            trace_state: owned(9),
            attributes,
            resource_attributes,
            scope_attributes,
            events: self.events(i, start_ns, origin_ns)?,
            links: self.links(i)?,
            dropped_attributes_count: self.dropped[0].or_zero(i),
            dropped_events_count: self.dropped[1].or_zero(i),
            dropped_links_count: self.dropped[2].or_zero(i),
        })
    }

    /// In the order they were sent; one without a time of its own is placed at the span's start.
    fn events(&self, i: usize, start_ns: i64, origin_ns: i64) -> Result<Vec<SpanEvent>, QueryError> {
        let elements = self.events.row(i);
        if elements.is_empty() {
            return Ok(Vec::new());
        }
        let (times, names) = (self.events.times("timestamp")?, self.events.text("name")?);
        let event = |at: usize| {
            let time = if arrow::array::Array::is_null(times, at) { start_ns } else { times.value(at) };
            SpanEvent {
                time: rfc3339(time),
                offset_ns: time.saturating_sub(origin_ns),
                name: names.or_empty(at).to_owned(),
                attributes: self.events.attributes(at),
            }
        };
        Ok(elements.map(event).collect())
    }

    fn links(&self, i: usize) -> Result<Vec<Link>, QueryError> {
        let elements = self.links.row(i);
        if elements.is_empty() {
            return Ok(Vec::new());
        }
        let (traces, spans) = (self.links.text("trace_id")?, self.links.text("span_id")?);
        let states = self.links.text("trace_state")?;
        let link = |at: usize| Link {
            trace_id: traces.or_empty(at).to_owned(),
            span_id: spans.or_empty(at).to_owned(),
            trace_state: states.owned(at),
            attributes: self.links.attributes(at),
        };
        Ok(elements.map(link).collect())
    }
}

/// The id of a service: `name`, or `namespace/name`.
pub fn service_id(name: &str, namespace: Option<&str>) -> String {
    match namespace.filter(|n| !n.is_empty()) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// The value of a key among attributes.
pub fn attribute<'a>(all: &'a [Attribute], key: &str) -> Option<&'a str> {
    all.iter().find(|a| a.key == key).and_then(|a| a.value.as_deref())
}
