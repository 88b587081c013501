//! From batches of the spans table to spans, in the numbers of a vocabulary. Several decoders of one vocabulary work at
//! once. Knows the columns that are asked for; never asks.

use arrow::array::{Array, BooleanArray, ListArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::codes::{Codes, Dictionary, Kept, alike};
use super::ids::{ranges, span_ids, trace_runs};
use super::rows::{Links, Rows, SpanColumns};
use super::semantics::{RawSemantics, client_symbol};
use super::words::{Column, Latest, SharedVocabulary, Words};
use super::{Kind, LinkTarget, Operation, Symbol, parse_span_id, parse_trace_id, sampling_weight};
use crate::QueryError;
use crate::columns::{Columns, Text, field, range, structs};
use crate::records::select_list;
use crate::table::coded;

/// What is read beside the ids, the times, the service and the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Attributes that say where a span goes, its links and its sampling.
    pub semantics: bool,
    pub names: bool,
    /// With [`Want::semantics`]: URLs and addresses are left out, which name the peer of a CLIENT only where nothing better
    /// does. Whether they would have been asked is said in [`Rows::asks_urls`].
    pub without_urls: bool,
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

/// Of a word in which a [`Kind`] stands, counted from 1.
const KIND_BITS: u32 = 4;

/// Who called a SERVER.
const CLIENT_ADDRESS: &str = "attributes.client.address";
/// What names a CLIENT's peer where nothing better does: of many values, and seldom asked.
const URL_COLUMNS: [&str; 3] = ["attributes.url.full", "attributes.http.url", "attributes.network.peer.address"];

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
        columns.extend(["trace_state", "links", CLIENT_ADDRESS]);
        if !want.without_urls {
            columns.extend(URL_COLUMNS);
        }
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

    /// The spans of a batch, and the batch without the rows that are none.
    pub fn rows(&mut self, batch: RecordBatch) -> Result<(Rows, RecordBatch), QueryError> {
        let (ids, batch) = Ids::of(batch)?;
        Ok((self.spans(ids, Columns(&batch))?, batch))
    }

    fn spans(&mut self, ids: Ids, batch: Columns<'_>) -> Result<Rows, QueryError> {
        let Self { want, words, dictionaries } = self;
        let mut codes: [Codes<'_>; CODED.len()] = Default::default();
        for (at, (code, dictionary)) in codes.iter_mut().zip(dictionaries).enumerate() {
            let (name, kept) = CODED[at];
            if want.has(at) {
                *code = Codes::of(batch.array(name)?, kept, dictionary, words)?;
            }
        }
        let codes = Coded(codes);
        let rows = batch.0.num_rows();
        let each = 0..rows;
        let (parent, counted) = (span_ids(&text(batch, "parent_span_id")?, rows), batch.bools("counted")?);
        let kind: Vec<Kind> = codes.0[KIND].map(rows, |kind| kind.map_or(Kind::Other, |kind| Kind::ALL[kind as usize]));
        let (mut weight, mut meaning) = (vec![1.0; rows], vec![0; rows]);
        let mut links = Links::default();
        let mut asks_urls = false;
        if want.semantics {
            let more = More::of(batch, &codes, *want)?;
            if !matches!(more.states, Text::Null) {
                let of = |i| more.states.get(i).map_or(1.0, |state| sampling_weight(state) as f32);
                weight = each.clone().map(of).collect();
            }
            if !more.is_silent {
                let (alike, mut latest) = (more.alike(&codes, &kind), Latest::default());
                for (i, meaning) in meaning.iter_mut().enumerate() {
                    let client = more.client(kind[i], parent[i] == 0, i);
                    let found =
                        alike.as_ref().map(|alike| (alike[i], client.map_or(0, |name| client_symbol(name, words))));
                    let mut number = || match more.semantics(&codes, kind[i], client, i) {
                        Some(raw) => {
                            asks_urls |= kind[i] == Kind::Client && raw.server_address == 0;
                            raw.number(words)
                        }
                        None => 0,
                    };
                    *meaning = match found {
                        Some(found) => latest.get(found, (found.0 ^ (found.0 >> 32)) as u32 ^ found.1, |_| number()),
                        None => number(),
                    };
                }
            }
            let targets = Targets::of(batch)?;
            if !targets.are_none() {
                each.clone().for_each(|i| links.add(i, targets.of_row(i)));
            }
        }
        let columns = SpanColumns {
            span: ids.span,
            parent,
            kind,
            service: codes.services(rows, words),
            name: codes.0[NAME].symbols(rows),
            error: codes.0[STATUS].map(rows, |status| status == Some(1)),
            start_ns: batch.integers("timestamp")?.all_or_zero(),
            duration_ns: batch.integers("duration_ns")?.all_or_zero(),
            weight,
            counted: trues(counted),
            meaning,
        };
        Ok(Rows { columns, traces: ids.traces, links, asks_urls: asks_urls && want.without_urls })
    }
}

/// The ids of a batch's spans.
struct Ids {
    traces: Vec<(u128, usize)>,
    span: Vec<u64>,
}

impl Ids {
    /// With the batch, of which rows without a trace id or a span id are left out.
    fn of(batch: RecordBatch) -> Result<(Self, RecordBatch), QueryError> {
        let rows = batch.num_rows();
        let traces = trace_runs(&text(Columns(&batch), "trace_id")?, rows);
        let span = span_ids(&text(Columns(&batch), "span_id")?, rows);
        // A trace id that is none is no trace's.
        let whole: Option<Vec<_>> = traces.iter().map(|&(trace, from)| Some((trace?, from))).collect();
        if let Some(traces) = whole
            && !span.contains(&0)
        {
            return Ok((Self { traces, span }, batch));
        }
        let mut ids = Self { traces: Vec::new(), span: Vec::with_capacity(rows) };
        let mut kept = vec![false; rows];
        for (trace, range) in ranges(&traces, rows) {
            for i in range.filter(|&i| span[i] != 0) {
                let Some(trace) = trace else { continue };
                kept[i] = true;
                if ids.traces.last().is_none_or(|run| run.0 != trace) {
                    ids.traces.push((trace, ids.span.len()));
                }
                ids.span.push(span[i]);
            }
        }
        let batch = filter_record_batch(&batch, &BooleanArray::from(kept))?;
        Ok((ids, batch))
    }
}

/// Whether each row is true, and not NULL.
fn trues(column: &BooleanArray) -> Vec<bool> {
    let is_true = match column.nulls() {
        Some(nulls) => column.values() & nulls.inner(),
        None => column.values().clone(),
    };
    if is_true.count_set_bits() == column.len() { vec![true; column.len()] } else { is_true.iter().collect() }
}

/// A column of strings; one that is NULL throughout the batch is known to be.
fn text<'a>(batch: Columns<'a>, name: &str) -> Result<Text<'a>, QueryError> {
    let array = batch.array(name)?;
    if array.null_count() == array.len() { Ok(Text::Null) } else { Text::of(array.as_ref()) }
}

/// A batch's columns of [`CODED`], those that are not read as if they were NULL.
struct Coded<'a>([Codes<'a>; CODED.len()]);

impl Coded<'_> {
    /// Of a pair.
    #[inline]
    fn either(&self, at: usize, i: usize) -> Option<u32> {
        self.0[at].get(i).or_else(|| self.0[at + 1].get(i))
    }

    fn services(&self, rows: usize, words: &mut Words) -> Vec<Symbol> {
        let mut services = self.0[SERVICE].symbols(rows);
        if !self.0[NAMESPACE].is_null() {
            let each = services.iter_mut().enumerate();
            each.for_each(|(i, service)| *service = words.service(*service, self.0[NAMESPACE].symbol(i)));
        }
        services
    }
}

/// What is read with [`Want::semantics`].
struct More<'a> {
    states: Text<'a>,
    /// Of [`URL_COLUMNS`], in their order.
    urls: [Text<'a>; URL_COLUMNS.len()],
    client_address: Text<'a>,
    net_peer: Text<'a>,
    /// Whether nothing says where a span goes.
    is_silent: bool,
}

impl<'a> More<'a> {
    fn of(batch: Columns<'a>, codes: &Coded<'_>, want: Want) -> Result<Self, QueryError> {
        let mut urls = [const { Text::Null }; URL_COLUMNS.len()];
        if !want.without_urls {
            for (column, name) in urls.iter_mut().zip(URL_COLUMNS) {
                *column = text(batch, name)?;
            }
        }
        let client_address = text(batch, CLIENT_ADDRESS)?;
        let is_null = |column: &Text<'_>| matches!(column, Text::Null);
        let is_silent = !want.without_urls
            && urls.iter().all(is_null)
            && is_null(&client_address)
            && codes.0[DB_SYSTEM..].iter().all(Codes::is_null);
        let net_peer = text(batch, CODED[NET_PEER].0)?;
        Ok(Self { states: text(batch, "trace_state")?, urls, client_address, net_peer, is_silent })
    }

    /// A word for each row, never 0: rows of the same word say the same but for who called. `None` where there are none,
    /// as where URLs are asked.
    fn alike(&self, codes: &Coded<'_>, kinds: &[Kind]) -> Option<Vec<u64>> {
        let words = || kinds.iter().map(|kind| *kind as u64 + 1).collect();
        let are_asked = self.urls.iter().any(|column| !matches!(column, Text::Null));
        if are_asked { None } else { alike(words(), KIND_BITS, &codes.0[DB_SYSTEM..]) }
    }

    /// Who called, which is asked of a SERVER without a parent only, and has many values.
    #[inline]
    fn client(&self, kind: Kind, is_root: bool, i: usize) -> Option<&'a str> {
        let text = |column: &Text<'a>| column.get(i).filter(|t| !t.is_empty());
        let client = || text(&self.client_address).or_else(|| text(&self.net_peer));
        if kind == Kind::Server && is_root { client() } else { None }
    }

    /// What a row says, `None` where that is nothing.
    fn semantics(&self, codes: &Coded<'_>, kind: Kind, client: Option<&'a str>, i: usize) -> Option<RawSemantics<'a>> {
        let operation = codes.either(OPERATION, i);
        if matches!(kind, Kind::Internal | Kind::Unspecified) && operation.is_none() {
            return None;
        }
        let [url, old_url, peer_address] = &self.urls;
        let text = |column: &Text<'a>| column.get(i).filter(|t| !t.is_empty());
        // The older `net.peer.name` of a SERVER is its client.
        let is_server = kind == Kind::Server;
        let server_address = codes.0[SERVER_ADDRESS].get(i);
        let server_address = server_address.or_else(|| codes.0[NET_PEER].get(i).filter(|_| !is_server));
        let is_client = kind == Kind::Client;
        Some(RawSemantics {
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
        })
    }
}

/// What a batch's spans link to.
struct Targets<'a> {
    list: &'a ListArray,
    trace_id: Text<'a>,
    span_id: Text<'a>,
}

impl<'a> Targets<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        let list = batch.list("links")?;
        let values = structs(list)?;
        let text = |name| Text::of(field(values, name)?.as_ref());
        Ok(Self { list, trace_id: text("trace_id")?, span_id: text("span_id")? })
    }

    fn are_none(&self) -> bool {
        let offsets = self.list.value_offsets();
        offsets.first() == offsets.last()
    }

    fn of_row(&self, i: usize) -> impl Iterator<Item = LinkTarget> {
        range(self.list.value_offsets(), self.list.is_null(i), i).filter_map(|at| {
            let trace = self.trace_id.get(at).and_then(parse_trace_id)?;
            Some(LinkTarget { trace, span: self.span_id.get(at).and_then(parse_span_id)? })
        })
    }
}
