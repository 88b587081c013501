//! From the spans table to spans: batch by batch, only the columns that are asked for, each partition of the plan decoded
//! where it is read. Never holds a whole answer of the engine.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::StreamExt;
use hashbrown::HashSet;
use orrery_storage::{DataFile, RECEIVED};

pub use super::decode::Want;
use super::decode::{Decoder, columns};
use super::received::{self, Part, Place, Places};
use super::rows::Rows;
use super::words::SharedVocabulary;
use super::{LinkTarget, NewSpan, SpanSet, Vocabulary, trace_id_hex};
use crate::columns::Columns;
use crate::table::Reads;
use crate::{QueryError, Session};

/// Spans that the search for traces may hold at once. Beyond them it ends with `memory_exceeded`.
pub const MAX_SPANS: usize = 8_000_000;
/// Trace ids that are named one by one in a statement.
pub const MAX_NAMED_TRACES: usize = 5_000;
/// The table of the traces that are named, where they are more.
const NAMED_TRACES: &str = "traces_that_are_named";

/// Which spans are read, and what of them. The conditions are SQL.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub condition: &'a str,
    /// Whether the request takes a span in.
    pub counted: &'a str,
    pub want: Want,
}

impl Selection<'_> {
    /// Rows without ids are left out when they are decoded: as a condition, every id would be read twice.
    pub fn query(&self, table: &str, more: &[&str]) -> String {
        self.of(table, columns(self.want, false, more))
    }

    /// Like [`Selection::query`], of a table that has columns by number.
    pub fn query_coded(&self, table: &str) -> String {
        self.of(table, columns(self.want, true, &[]))
    }

    fn of(&self, table: &str, columns: String) -> String {
        let Self { condition, counted, .. } = self;
        format!("SELECT {columns}, COALESCE({counted}, false) AS counted FROM {table} AS spans WHERE {condition}")
    }
}

/// Adds the spans that meet a condition to a set, and of copies that differ the earliest received.
pub async fn load(session: &Session, set: &mut SpanSet, asked: Selection<'_>) -> Result<(), QueryError> {
    load_more(session, set, asked).await?;
    settle(session, set, asked).await
}

/// Adds spans to a set; those that are in already stay.
pub async fn load_more(session: &Session, set: &mut SpanSet, asked: Selection<'_>) -> Result<(), QueryError> {
    let vocabulary = share(&mut set.words);
    let add = |rows: Rows| {
        set.append(&rows, rows.runs());
        if set.len() > MAX_SPANS {
            return Err(QueryError::MemoryExceeded {
                message: format!("more than {MAX_SPANS} spans are needed at once"),
            });
        }
        Ok(())
    };
    read(session, &vocabulary, asked, add).await?;
    set.words = regain(&vocabulary);
    Ok(())
}

/// Takes the words out of where they are, for readers to add to.
pub fn share(words: &mut Vocabulary) -> SharedVocabulary {
    SharedVocabulary::new(std::mem::take(words).into())
}

/// The words, when no one reads any more.
pub fn regain(vocabulary: &SharedVocabulary) -> Vocabulary {
    std::mem::take(&mut *vocabulary.lock())
}

/// Gives the spans that meet a condition to `take`, in no order.
pub async fn read(
    session: &Session,
    vocabulary: &SharedVocabulary,
    asked: Selection<'_>,
    mut take: impl FnMut(Rows) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let decoding = || {
        let mut decoder = Decoder::new(asked.want, Arc::clone(vocabulary));
        move |batch: RecordBatch| Ok(decoder.rows(batch)?.0)
    };
    let mut rows = session.sql_mapped(&asked.query("spans", &[]), Reads::All, decoding).await?;
    while let Some(rows) = rows.next().await {
        take(rows?)?;
    }
    Ok(())
}

/// Puts the earliest received of copies that differ into the place of the one that came first. The condition and the words
/// are those that the set was filled by.
pub async fn settle(session: &Session, set: &mut SpanSet, asked: Selection<'_>) -> Result<(), QueryError> {
    let unlike: HashSet<_> = set.unlike.drain().collect();
    if unlike.is_empty() {
        return Ok(());
    }
    let traces: HashSet<u128> = unlike.iter().map(|key| key.0).collect();
    set.unlike_traces.extend(&traces);
    let those = named(session, &traces)?;
    let ids: HashSet<String> = traces.into_iter().map(trace_id_hex).collect();
    set.settling = Some(unlike);
    let condition = format!("{} AND {those}", asked.condition);
    let asked = Selection { condition: &condition, ..asked };
    for part in received::parts(session, &ids).await? {
        match part {
            Part::Files(files) => {
                let mut found = Vec::new();
                for file in files {
                    received::register_file(session, &file)?;
                    settle_part(session, set, asked, Some(&file), &mut found).await?;
                }
                // Rows of one place keep the order in which the file has them.
                found.sort_by(|a, b| a.place.cmp(&b.place));
                for Found { span, links, .. } in found {
                    set.push(&span, &links);
                }
            }
            Part::Memory(batch) => {
                received::register_batch(session, batch)?;
                settle_part(session, set, asked, None, &mut Vec::new()).await?;
            }
        }
        if set.settling.as_ref().is_none_or(HashSet::is_empty) {
            break;
        }
    }
    set.settling = None;
    Ok(())
}

/// A copy in a file.
struct Found {
    place: Place,
    span: NewSpan,
    links: Vec<LinkTarget>,
}

/// Reads [`received::PART`]: a file's copies are found with their places, rows of memory are taken as they come.
async fn settle_part(
    session: &Session,
    set: &mut SpanSet,
    asked: Selection<'_>,
    file: Option<&DataFile>,
    found: &mut Vec<Found>,
) -> Result<(), QueryError> {
    let more: &[&str] = if file.is_some() { &[RECEIVED] } else { &[] };
    let mut stream = session.sql_in_order(&asked.query(received::PART, more)).await?;
    let vocabulary = share(&mut set.words);
    let mut decoder = Decoder::new(asked.want, Arc::clone(&vocabulary));
    while let Some(batch) = stream.next().await {
        let (rows, batch) = decoder.rows(batch?)?;
        let places = match file {
            Some(file) => Some(Places::of(Columns(&batch), file)?),
            None => None,
        };
        for (i, (span, links)) in rows.iter().enumerate() {
            match &places {
                Some(places) if set.is_settling(&span) => {
                    found.push(Found { place: places.get(i), span, links: links.to_vec() });
                }
                Some(_) => {}
                None => {
                    set.push(&span, links);
                }
            }
        }
    }
    set.words = regain(&vocabulary);
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

/// The SQL condition that a span is of one of the traces, however many there are: many are a table of the session's, until
/// the next ones are.
pub fn named(session: &Session, traces: &HashSet<u128>) -> Result<String, QueryError> {
    if traces.len() <= MAX_NAMED_TRACES {
        return Ok(in_traces(traces, "false"));
    }
    let ids: ArrayRef = Arc::new(traces.iter().map(|t| Some(trace_id_hex(*t))).collect::<StringArray>());
    let batch = RecordBatch::try_from_iter([("trace_id", ids)])?;
    session.context().deregister_table(NAMED_TRACES)?;
    session.context().register_batch(NAMED_TRACES, batch)?;
    Ok(format!("trace_id IN (SELECT trace_id FROM {NAMED_TRACES})"))
}
