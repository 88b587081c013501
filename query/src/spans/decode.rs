//! From batches of the spans table to spans, in the numbers of a vocabulary. Several decoders of one vocabulary work at
//! once. Knows the columns that are asked for; never asks.

use arrow::array::{Array, BooleanArray, ListArray};

use super::codes::{Codes, Dictionary, Kept};
use super::semantics::RawSemantics;
use super::words::{Column, SharedVocabulary, Words};
use super::{Kind, LinkTarget, NewSpan, Operation, parse_span_id, parse_trace_id, sampling_weight};
use crate::QueryError;
use crate::columns::{Columns, Integers, Text, field, range, structs};
use crate::records::select_list;
use crate::table::coded;

/// What is read beside the ids, the times, the service and the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Attributes that say where a span goes, its links and its sampling.
    pub semantics: bool,
    pub names: bool,
}

const BASE_COLUMNS: [&str; 5] = ["timestamp", "duration_ns", "trace_id", "span_id", "parent_span_id"];

/// The columns of few values, and what is kept of them. Of pairs the semantic conventions' name is first, then the older one.
const CODED: [(&str, Kept); 19] = [
    ("kind", Kept::Kind),
    ("status_code", Kept::Error),
    ("service_name", Kept::Word(Column::Service)),
    ("service_namespace", Kept::Word(Column::Namespace)),
    ("name", Kept::Word(Column::Name)),
    ("attributes.db.system.name", Kept::Trimmed(Column::DbSystem)),
    ("attributes.db.system", Kept::Trimmed(Column::DbSystem)),
    ("attributes.db.namespace", Kept::Trimmed(Column::DbNamespace)),
    ("attributes.db.name", Kept::Trimmed(Column::DbNamespace)),
    ("attributes.db.operation.name", Kept::Present),
    ("attributes.db.operation", Kept::Present),
    ("attributes.messaging.system", Kept::Trimmed(Column::MessagingSystem)),
    ("attributes.messaging.destination.name", Kept::Trimmed(Column::Destination)),
    ("attributes.messaging.destination", Kept::Trimmed(Column::Destination)),
    ("attributes.messaging.operation.type", Kept::Operation),
    ("attributes.messaging.operation", Kept::Operation),
    ("attributes.peer.service", Kept::Trimmed(Column::PeerService)),
    ("attributes.server.address", Kept::Host(Column::ServerAddress)),
    ("attributes.net.peer.name", Kept::Host(Column::ServerAddress)),
];
/// Places in [`CODED`]; of pairs that of the first.
const KIND: usize = 0;
const STATUS: usize = 1;
const SERVICE: usize = 2;
const NAMESPACE: usize = 3;
const NAME: usize = 4;
const DB_SYSTEM: usize = 5;
const DB_NAMESPACE: usize = 7;
const DB_OPERATION: usize = 9;
const MESSAGING_SYSTEM: usize = 11;
const DESTINATION: usize = 12;
const OPERATION: usize = 14;
const PEER_SERVICE: usize = 16;
const SERVER_ADDRESS: usize = 17;
const NET_PEER: usize = 18;

/// Columns of text that says more the rarer it is asked.
const TEXT_COLUMNS: [&str; 4] =
    ["attributes.url.full", "attributes.http.url", "attributes.network.peer.address", "attributes.client.address"];

impl Want {
    fn has(self, coded: usize) -> bool {
        match coded {
            NAME => self.names,
            0..NAME => true,
            _ => self.semantics,
        }
    }
}

/// The columns of few values, of which a table for readers of many rows gives the numbers.
pub fn coded_columns() -> impl Iterator<Item = &'static str> {
    CODED.into_iter().map(|(name, _)| name)
}

/// The columns that a decoder reads, as an SQL select list, but for `counted`; of a table that has numbers of
/// [`coded_columns`], these.
pub fn columns(want: Want, is_coded: bool, more: &[&str]) -> String {
    let mut columns = BASE_COLUMNS.to_vec();
    if want.semantics {
        columns.extend(["trace_state", "links"]);
        columns.extend(TEXT_COLUMNS);
    }
    columns.extend(more);
    let few = CODED.iter().enumerate().filter(|(at, _)| want.has(*at)).map(|(_, (name, _))| *name);
    if is_coded {
        let few: Vec<_> = few.map(|name| format!("\"{}\" AS \"{name}\"", coded(name))).collect();
        return format!("{}, {}", select_list(&columns), few.join(", "));
    }
    columns.extend(few);
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
    /// Of [`CODED`].
    dictionaries: [Dictionary; CODED.len()],
}

impl Decoder {
    pub fn new(want: Want, vocabulary: SharedVocabulary) -> Self {
        let dictionaries = std::array::from_fn(|_| Dictionary::default());
        Self { want, words: Words::new(vocabulary), dictionaries }
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
        let Self { want, words, dictionaries } = self;
        let mut codes: [Codes; CODED.len()] = Default::default();
        for (at, (code, dictionary)) in codes.iter_mut().zip(dictionaries).enumerate() {
            let (name, kept) = CODED[at];
            if want.has(at) {
                *code = Codes::of(batch.array(name)?, kept, dictionary, words)?;
            }
        }
        let codes = Coded(codes);
        let base = Base::of(batch)?;
        let more = if want.semantics { Some(More::of(batch, &codes)?) } else { None };
        let mut links = Vec::new();
        let mut last = ("", None);
        for i in 0..batch.0.num_rows() {
            let text = base.trace_id.or_empty(i);
            // Spans of one trace are often neighbours.
            if text != last.0 {
                last = (text, parse_trace_id(text));
            }
            let Some((trace, span)) = last.1.zip(base.span_id.get(i).and_then(parse_span_id)) else { continue };
            let kind = codes.0[KIND].get(i).map_or(Kind::Other, |kind| Kind::ALL[kind as usize]);
            let parent = base.parent.get(i).and_then(parse_span_id).unwrap_or(0);
            links.clear();
            let (mut weight, mut semantics) = (1.0, 0);
            if let Some(more) = &more {
                weight = more.states.get(i).map_or(1.0, |state| sampling_weight(state) as f32);
                semantics = more.semantics(&codes, i, kind, parent == 0, words);
                more.links.extend(i, &mut links);
            }
            let new = NewSpan {
                trace,
                span,
                parent,
                kind,
                service: words.service(codes.0[SERVICE].symbol(i), codes.0[NAMESPACE].symbol(i)),
                name: codes.0[NAME].symbol(i),
                error: codes.0[STATUS].get(i) == Some(1),
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
            start: batch.integers("timestamp")?,
            duration: batch.integers("duration_ns")?,
            counted: batch.bools("counted")?,
        })
    }
}

/// A batch's columns of [`CODED`], those that are not read as if they were NULL.
struct Coded([Codes; CODED.len()]);

impl Coded {
    /// Of a pair.
    #[inline]
    fn either(&self, at: usize, i: usize) -> Option<u32> {
        self.0[at].get(i).or_else(|| self.0[at + 1].get(i))
    }
}

/// What is read with [`Want::semantics`].
struct More<'a> {
    states: Text<'a>,
    links: Links<'a>,
    /// Of [`TEXT_COLUMNS`], in their order.
    texts: [Text<'a>; TEXT_COLUMNS.len()],
    net_peer: Text<'a>,
    /// Whether nothing says where a span goes.
    is_silent: bool,
}

impl<'a> More<'a> {
    fn of(batch: Columns<'a>, codes: &Coded) -> Result<Self, QueryError> {
        let mut texts = [const { Text::Null }; TEXT_COLUMNS.len()];
        for (column, name) in texts.iter_mut().zip(TEXT_COLUMNS) {
            *column = text(batch, name)?;
        }
        let is_silent =
            texts.iter().all(|column| matches!(column, Text::Null)) && codes.0[DB_SYSTEM..].iter().all(Codes::is_null);
        let net_peer = text(batch, CODED[NET_PEER].0)?;
        Ok(Self { states: text(batch, "trace_state")?, links: Links::of(batch)?, texts, net_peer, is_silent })
    }

    fn semantics(&self, codes: &Coded, i: usize, kind: Kind, is_root: bool, words: &mut Words) -> u32 {
        if self.is_silent {
            return 0;
        }
        let operation = codes.either(OPERATION, i);
        if matches!(kind, Kind::Internal | Kind::Unspecified) && operation.is_none() {
            return 0;
        }
        let [url, old_url, peer_address, client_address] = &self.texts;
        let text = |column: &Text<'a>| column.get(i).filter(|t| !t.is_empty());
        // The older `net.peer.name` of a SERVER is its client.
        let is_server = kind == Kind::Server;
        let server_address = codes.0[SERVER_ADDRESS].get(i);
        let server_address = server_address.or_else(|| codes.0[NET_PEER].get(i).filter(|_| !is_server));
        let is_client = kind == Kind::Client;
        // Who called is asked of spans without a parent only, and has many values.
        let client = || text(client_address).or_else(|| text(&self.net_peer));
        let client = if is_server && is_root { client() } else { None };
        let raw = RawSemantics {
            db_system: codes.either(DB_SYSTEM, i).unwrap_or(0),
            db_namespace: codes.either(DB_NAMESPACE, i).unwrap_or(0),
            db_other: codes.either(DB_OPERATION, i).is_some(),
            messaging_system: codes.0[MESSAGING_SYSTEM].symbol(i),
            destination: codes.either(DESTINATION, i).unwrap_or(0),
            operation: operation.map_or(Operation::None, Operation::of),
            peer_service: codes.0[PEER_SERVICE].symbol(i),
            server_address: server_address.unwrap_or(0),
            url: if is_client { text(url).or_else(|| text(old_url)) } else { None },
            peer_address: if is_client { text(peer_address) } else { None },
            client_address: client,
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
