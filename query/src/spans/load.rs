//! From the spans table to a [`SpanSet`]: batch by batch, only the columns that are asked for. Never holds a whole
//! answer of the engine.

use arrow::array::{Array, BooleanArray};
use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_storage::{DataFile, RECEIVED};

use super::received::{self, Part, Place, Places};
use super::semantics::RawSemantics;
use super::{
    Kind, LinkTarget, NewSpan, Semantics, SpanSet, Symbol, parse_span_id, parse_trace_id, sampling_weight, trace_id_hex,
};
use crate::columns::{Columns, Integers, Text, field, range, structs};
use crate::records::select_list;
use crate::{QueryError, Session};

/// Spans that one request may hold at once. Beyond them it ends with `memory_exceeded`.
pub const MAX_SPANS: usize = 8_000_000;
/// Trace ids that are named one by one in a statement.
pub const MAX_NAMED_TRACES: usize = 5_000;

/// What is read beside the ids, the times, the service and the status.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Attributes that say where a span goes, its links and its sampling.
    pub semantics: bool,
    pub names: bool,
}

/// Column pairs: the semantic conventions' name and the older one.
const SEMANTIC_COLUMNS: &[&str] = &[
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

/// Adds the spans that meet `condition`; `counted` says which of them the request takes in. Both are SQL. Of copies that
/// differ the earliest received is in.
pub async fn load(
    session: &Session,
    set: &mut SpanSet,
    condition: &str,
    counted: &str,
    want: Want,
) -> Result<(), QueryError> {
    load_more(session, set, condition, counted, want).await?;
    let unlike: HashSet<_> = set.unlike.drain().collect();
    if unlike.is_empty() {
        return Ok(());
    }
    let traces: HashSet<u128> = unlike.iter().map(|key| key.0).collect();
    set.unlike_traces.extend(&traces);
    let those = in_traces(&traces, "true");
    let ids: HashSet<String> = traces.into_iter().map(trace_id_hex).collect();
    set.settling = Some(unlike);
    let condition = format!("{condition} AND {those}");
    for part in received::parts(session, &ids).await? {
        match part {
            Part::Files(files) => {
                let mut found = Vec::new();
                for file in files {
                    received::register_file(session, &file)?;
                    read(session, set, &Source::File(&file), &condition, counted, want, &mut found).await?;
                }
                // Rows of one place keep the order in which the file has them.
                found.sort_by(|a, b| a.0.cmp(&b.0));
                for (_, span) in found {
                    set.push(span);
                }
            }
            Part::Memory(batch) => {
                received::register_batch(session, batch)?;
                read(session, set, &Source::Rows(received::PART), &condition, counted, want, &mut Vec::new()).await?;
            }
        }
        if set.settling.as_ref().is_none_or(HashSet::is_empty) {
            break;
        }
    }
    set.settling = None;
    Ok(())
}

/// Adds spans like [`load`]; those that are in already stay.
pub async fn load_more(
    session: &Session,
    set: &mut SpanSet,
    condition: &str,
    counted: &str,
    want: Want,
) -> Result<(), QueryError> {
    read(session, set, &Source::Rows("spans"), condition, counted, want, &mut Vec::new()).await
}

/// What is read.
enum Source<'a> {
    /// A table whose rows go into the set as they come.
    Rows(&'a str),
    /// A file in [`received::PART`], whose rows are found with their places.
    File(&'a DataFile),
}

async fn read(
    session: &Session,
    set: &mut SpanSet,
    source: &Source<'_>,
    condition: &str,
    counted: &str,
    want: Want,
    found: &mut Vec<(Place, NewSpan)>,
) -> Result<(), QueryError> {
    let mut columns = vec![
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
    if want.names {
        columns.push("name");
    }
    if want.semantics {
        columns.extend(["trace_state", "links"]);
        columns.extend(SEMANTIC_COLUMNS);
    }
    let table = match source {
        Source::Rows(table) => table,
        Source::File(_) => {
            columns.push(RECEIVED);
            received::PART
        }
    };
    let list = select_list(&columns);
    let query = format!(
        "SELECT {list}, COALESCE({counted}, false) AS counted FROM {table} AS spans \
         WHERE trace_id IS NOT NULL AND span_id IS NOT NULL AND ({condition})"
    );
    let mut stream = session.sql(&query).await?;
    let mut services = Services::default();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        match source {
            Source::Rows(_) => each_span(set, Columns(&batch), &mut services, want, |set, _, span| {
                set.push(span);
            })?,
            Source::File(file) => {
                let places = Places::of(Columns(&batch), file)?;
                each_span(set, Columns(&batch), &mut services, want, |set, i, span| {
                    if set.is_settling(&span) {
                        found.push((places.get(i), span));
                    }
                })?;
            }
        }
        if set.len() + found.len() > MAX_SPANS {
            return Err(QueryError::MemoryExceeded {
                message: format!("more than {MAX_SPANS} spans are needed at once"),
            });
        }
    }
    Ok(())
}

/// The SQL condition that a span is of one of the traces. Many of them are not named but selected by `or_those`, a
/// condition on spans of exactly these traces or more.
pub fn in_traces(traces: &HashSet<u128>, or_those: &str) -> String {
    if traces.len() > MAX_NAMED_TRACES {
        return format!("trace_id IN (SELECT trace_id FROM spans WHERE trace_id IS NOT NULL AND ({or_those}))");
    }
    let mut ids: Vec<String> = traces.iter().map(|t| format!("'{}'", trace_id_hex(*t))).collect();
    ids.sort_unstable();
    if ids.is_empty() { "false".to_owned() } else { format!("trace_id IN ({})", ids.join(",")) }
}

/// Service ids by name and namespace.
#[derive(Default)]
pub struct Services(HashMap<(Symbol, Symbol), Symbol>);

impl Services {
    /// `name`, or `namespace/name`.
    pub fn id(&mut self, set: &mut SpanSet, name: &str, namespace: &str) -> Symbol {
        let key = (set.symbols.intern(name), set.symbols.intern(namespace));
        if key.1 == 0 {
            return key.0;
        }
        *self.0.entry(key).or_insert_with(|| set.symbols.intern(&format!("{namespace}/{name}")))
    }
}

/// Gives each row that is a span, with its number, to `take`.
fn each_span(
    set: &mut SpanSet,
    batch: Columns<'_>,
    services: &mut Services,
    want: Want,
    mut take: impl FnMut(&mut SpanSet, usize, NewSpan),
) -> Result<(), QueryError> {
    let base = Base::of(batch)?;
    let names = if want.names { Some(batch.text("name")?) } else { None };
    let semantic = if want.semantics { Some(SemanticColumns::of(batch)?) } else { None };
    let links = if want.semantics { Some(Links::of(batch)?) } else { None };
    let states = if want.semantics { Some(batch.text("trace_state")?) } else { None };
    for i in 0..batch.0.num_rows() {
        let ids = base.trace_id.get(i).and_then(parse_trace_id).zip(base.span_id.get(i).and_then(parse_span_id));
        let Some((trace, span)) = ids else { continue };
        let kind = Kind::from_word(base.kind.or_empty(i));
        let semantics = semantic.as_ref().map_or_else(Semantics::default, |s| s.row(i, kind, set));
        let new = NewSpan {
            trace,
            span,
            parent: base.parent.get(i).and_then(parse_span_id).unwrap_or(0),
            kind,
            service: services.id(set, base.service.or_empty(i), base.namespace.or_empty(i)),
            name: names.as_ref().map_or(0, |n| set.symbols.intern(n.or_empty(i))),
            error: base.status.get(i) == Some("ERROR"),
            start_ns: base.start.or_zero(i),
            duration_ns: base.duration.or_zero(i),
            weight: states.as_ref().and_then(|s| s.get(i)).map_or(1.0, |s| sampling_weight(s) as f32),
            semantics,
            links: links.as_ref().map_or_else(Vec::new, |l| l.row(i)),
            counted: base.counted.value(i),
        };
        take(set, i, new);
    }
    Ok(())
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
            trace_id: batch.text("trace_id")?,
            span_id: batch.text("span_id")?,
            parent: batch.text("parent_span_id")?,
            kind: batch.text("kind")?,
            status: batch.text("status_code")?,
            service: batch.text("service_name")?,
            namespace: batch.text("service_namespace")?,
            start: batch.integers("timestamp")?,
            duration: batch.integers("duration_ns")?,
            counted: batch.bools("counted")?,
        })
    }
}

/// The columns of [`SEMANTIC_COLUMNS`], in their order.
struct SemanticColumns<'a>(Vec<Text<'a>>);

impl<'a> SemanticColumns<'a> {
    fn of(batch: Columns<'a>) -> Result<Self, QueryError> {
        SEMANTIC_COLUMNS.iter().map(|name| batch.text(name)).collect::<Result<_, _>>().map(Self)
    }

    fn row(&self, i: usize, kind: Kind, set: &mut SpanSet) -> Semantics {
        let text = |at: usize| self.0[at].get(i).filter(|t| !t.is_empty());
        let either = |at: usize| text(at).or_else(|| text(at + 1));
        if matches!(kind, Kind::Internal | Kind::Unspecified) && either(9).is_none() {
            return Semantics::default();
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
            client_address: if kind == Kind::Server { text(17).or(net_peer) } else { None },
        };
        raw.intern(&mut set.symbols)
    }
}

struct Links<'a> {
    list: &'a arrow::array::ListArray,
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

    fn row(&self, i: usize) -> Vec<LinkTarget> {
        range(self.list.value_offsets(), self.list.is_null(i), i)
            .filter_map(|at| {
                let trace = self.trace_id.get(at).and_then(parse_trace_id)?;
                Some(LinkTarget { trace, span: self.span_id.get(at).and_then(parse_span_id)? })
            })
            .collect()
    }
}
