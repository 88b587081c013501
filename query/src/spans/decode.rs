//! From batches of the spans table to spans, in the numbers of a vocabulary. Several decoders of one vocabulary work at
//! once. Knows the columns that are asked for; never asks.

use arrow::array::{Array, BooleanArray, ListArray};

use super::semantics::RawSemantics;
use super::words::{Column, SharedVocabulary, Words};
use super::{Kind, LinkTarget, NewSpan, parse_span_id, parse_trace_id, sampling_weight};
use crate::QueryError;
use crate::columns::{Columns, Integers, Text, field, range, structs};
use crate::records::select_list;

/// What is read beside the ids, the times, the service and the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Attributes that say where a span goes, its links and its sampling.
    pub semantics: bool,
    pub names: bool,
}

const BASE_COLUMNS: [&str; 9] = [
    "timestamp",
    "duration_ns",
    "trace_id",
    "span_id",
    "parent_span_id",
    "kind",
    "status_code",
    "service_name",
    "service_namespace",
];

/// Column pairs: the semantic conventions' name and the older one.
const SEMANTIC_COLUMNS: [&str; 18] = [
    "attributes.db.system.name",
    "attributes.db.system",
    "attributes.db.namespace",
    "attributes.db.name",
    "attributes.db.operation.name",
    "attributes.db.operation",
    "attributes.messaging.system",
    "attributes.messaging.destination.name",
    "attributes.messaging.destination",
    "attributes.messaging.operation.type",
    "attributes.messaging.operation",
    "attributes.peer.service",
    "attributes.server.address",
    "attributes.net.peer.name",
    "attributes.url.full",
    "attributes.http.url",
    "attributes.network.peer.address",
    "attributes.client.address",
];

/// The columns that a decoder reads, as an SQL select list, but for `counted`.
pub fn columns(want: Want, more: &[&str]) -> String {
    let mut columns = BASE_COLUMNS.to_vec();
    columns.extend(want.names.then_some("name"));
    if want.semantics {
        columns.extend(["trace_state", "links"]);
        columns.extend(SEMANTIC_COLUMNS);
    }
    columns.extend(more);
    select_list(&columns)
}

/// Spans on their way, with their links.
#[derive(Debug, Default)]
pub struct Rows {
    spans: Vec<NewSpan>,
    links: Vec<LinkTarget>,
    /// The spans that have links, with the end of these.
    linking: Vec<(usize, usize)>,
}

impl Rows {
    pub fn reserve(&mut self, spans: usize) {
        self.spans.reserve(spans);
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn push(&mut self, span: NewSpan, links: &[LinkTarget]) {
        if !links.is_empty() {
            self.links.extend_from_slice(links);
            self.linking.push((self.spans.len(), self.links.len()));
        }
        self.spans.push(span);
    }

    /// The spans with their links, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&NewSpan, &[LinkTarget])> {
        let mut linking = self.linking.iter().peekable();
        let mut from = 0;
        self.spans.iter().enumerate().map(move |(i, span)| match linking.next_if(|(of, _)| *of == i) {
            Some((_, end)) => {
                let links = &self.links[from..*end];
                from = *end;
                (span, links)
            }
            None => (span, &[][..]),
        })
    }
}

/// Reads batches that have [`columns`].
pub struct Decoder {
    want: Want,
    words: Words,
}

impl Decoder {
    pub fn new(want: Want, vocabulary: SharedVocabulary) -> Self {
        Self { want, words: Words::new(vocabulary) }
    }

    pub fn rows(&mut self, batch: Columns<'_>) -> Result<Rows, QueryError> {
        let mut rows = Rows { spans: Vec::with_capacity(batch.0.num_rows()), ..Rows::default() };
        self.each(batch, |_, span, links| rows.push(span, links))?;
        Ok(rows)
    }

    /// Gives each row that is a span, with its number and its links, to `take`.
    pub fn each(
        &mut self,
        batch: Columns<'_>,
        mut take: impl FnMut(usize, NewSpan, &[LinkTarget]),
    ) -> Result<(), QueryError> {
        let Self { want, words } = self;
        let base = Base::of(batch)?;
        let names = if want.names { Some(text(batch, "name")?) } else { None };
        let more = if want.semantics { Some(More::of(batch)?) } else { None };
        let mut links = Vec::new();
        for i in 0..batch.0.num_rows() {
            let ids = base.trace_id.get(i).and_then(parse_trace_id).zip(base.span_id.get(i).and_then(parse_span_id));
            let Some((trace, span)) = ids else { continue };
            let kind = Kind::from_word(base.kind.or_empty(i));
            let parent = base.parent.get(i).and_then(parse_span_id).unwrap_or(0);
            links.clear();
            let (mut weight, mut semantics) = (1.0, 0);
            if let Some(more) = &more {
                weight = more.states.get(i).map_or(1.0, |state| sampling_weight(state) as f32);
                semantics = more.semantics(i, kind, parent == 0, words);
                more.links.extend(i, &mut links);
            }
            let new = NewSpan {
                trace,
                span,
                parent,
                kind,
                service: words.service(base.service.or_empty(i), base.namespace.or_empty(i)),
                name: names.as_ref().map_or(0, |n| words.symbol(Column::Name, n.or_empty(i), |name| name)),
                error: base.status.get(i) == Some("ERROR"),
                start_ns: base.start.or_zero(i),
                duration_ns: base.duration.or_zero(i),
                weight,
                semantics,
                counted: base.counted.value(i),
            };
            take(i, new, &links);
        }
        Ok(())
    }
}

/// A column of strings; one that is NULL throughout the batch is known to be.
fn text<'a>(batch: Columns<'a>, name: &str) -> Result<Text<'a>, QueryError> {
    let array = batch.array(name)?;
    if array.null_count() == array.len() { Ok(Text::Null) } else { Text::of(array.as_ref()) }
}

struct Base<'a> {
    trace_id: Text<'a>,
    span_id: Text<'a>,
    parent: Text<'a>,
    kind: Text<'a>,
    status: Text<'a>,
    service: Text<'a>,
    namespace: Text<'a>,
    start: Integers<'a>,
    duration: Integers<'a>,
    counted: &'a BooleanArray,
}

impl<'a> Base<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        Ok(Self {
            trace_id: text(batch, "trace_id")?,
            span_id: text(batch, "span_id")?,
            parent: text(batch, "parent_span_id")?,
            kind: text(batch, "kind")?,
            status: text(batch, "status_code")?,
            service: text(batch, "service_name")?,
            namespace: text(batch, "service_namespace")?,
            start: batch.integers("timestamp")?,
            duration: batch.integers("duration_ns")?,
            counted: batch.bools("counted")?,
        })
    }
}

/// What is read with [`Want::semantics`].
struct More<'a> {
    states: Text<'a>,
    links: Links<'a>,
    /// Of [`SEMANTIC_COLUMNS`], in their order.
    semantic: [Text<'a>; SEMANTIC_COLUMNS.len()],
    /// Whether none of them says anything.
    is_silent: bool,
}

impl<'a> More<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        let mut semantic = [const { Text::Null }; SEMANTIC_COLUMNS.len()];
        for (column, name) in semantic.iter_mut().zip(SEMANTIC_COLUMNS) {
            *column = text(batch, name)?;
        }
        let is_silent = semantic.iter().all(|column| matches!(column, Text::Null));
        Ok(Self { states: text(batch, "trace_state")?, links: Links::of(batch)?, semantic, is_silent })
    }

    fn semantics(&self, i: usize, kind: Kind, is_root: bool, words: &mut Words) -> u32 {
        if self.is_silent {
            return 0;
        }
        let text = |at: usize| self.semantic[at].get(i).filter(|t| !t.is_empty());
        let either = |at: usize| text(at).or_else(|| text(at + 1));
        if matches!(kind, Kind::Internal | Kind::Unspecified) && either(9).is_none() {
            return 0;
        }
        // The older `net.peer.name` of a SERVER is its client.
        let net_peer = text(13);
        let raw = RawSemantics {
            db_system: either(0),
            db_namespace: either(2),
            db_other: either(4).is_some(),
            messaging_system: text(6),
            destination: either(7),
            operation: either(9),
            peer_service: text(11),
            server_address: text(12).or(if kind == Kind::Server { None } else { net_peer }),
            url: if kind == Kind::Client { either(14) } else { None },
            peer_address: if kind == Kind::Client { text(16) } else { None },
            // Who called is asked of spans without a parent only, and has many values.
            client_address: if kind == Kind::Server && is_root { text(17).or(net_peer) } else { None },
        };
        raw.number(words)
    }
}

struct Links<'a> {
    list: &'a ListArray,
    trace_id: Text<'a>,
    span_id: Text<'a>,
}

impl<'a> Links<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        let list = batch.list("links")?;
        let values = structs(list)?;
        let text = |name| Text::of(field(values, name)?.as_ref());
        Ok(Self { list, trace_id: text("trace_id")?, span_id: text("span_id")? })
    }

    /// Adds the links of a row.
    fn extend(&self, i: usize, links: &mut Vec<LinkTarget>) {
        links.extend(range(self.list.value_offsets(), self.list.is_null(i), i).filter_map(|at| {
            let trace = self.trace_id.get(at).and_then(parse_trace_id)?;
            Some(LinkTarget { trace, span: self.span_id.get(at).and_then(parse_span_id)? })
        }));
    }
}
