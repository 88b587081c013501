//! `GET /api/v1/logs`: the newest records that match, page by page, with a histogram. Pages neither skip nor repeat a
//! record, however many carry one time.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use orrery_api::{LogRecord, Logs};
use orrery_model::{Scope, Signal};

use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::records::{Attributes, attribute_columns, select_list};
use crate::services::is_service;
use crate::spans::node::service_id;
use crate::time::{rfc3339, timestamp_sql};
use crate::{Engine, QueryError, Session, Window, quote};

const LIMIT: usize = 100;
const MAX_LIMIT: usize = 5_000;
/// Steps of the histogram.
const STEPS: i64 = 60;
/// Records with one time that are put in order at most.
const MAX_TIES: usize = 100_000;

const COLUMNS: &[&str] = &[
    "timestamp",
    "time_source",
    "observed_timestamp",
    "trace_id",
    "span_id",
    "flags",
    "severity_number",
    "severity_text",
    "body",
    "body_type",
    "event_name",
    "scope_name",
    "scope_version",
];

/// Where a page ended: the time of its last record, a hash of it, and how many records with this time and hash were
/// given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    time_ns: i64,
    hash: u64,
    given: usize,
    /// Records with this time that were given, whatever their hash.
    ties: usize,
}

impl Cursor {
    fn text(self) -> String {
        format!("{:x}-{:x}-{:x}-{:x}", self.time_ns, self.hash, self.given, self.ties)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let cursor = Self {
            time_ns: i64::from_str_radix(parts.next()?, 16).ok()?,
            hash: u64::from_str_radix(parts.next()?, 16).ok()?,
            given: usize::from_str_radix(parts.next()?, 16).ok()?,
            ties: usize::from_str_radix(parts.next()?, 16).ok()?,
        };
        (parts.next().is_none() && cursor.ties <= MAX_TIES).then_some(cursor)
    }
}

/// What a request asks for, as SQL.
struct Search {
    /// `None` where a trace is asked for and no window.
    window: Option<Window>,
    condition: String,
    limit: usize,
    cursor: Option<Cursor>,
}

/// `GET /api/v1/logs`.
pub async fn logs(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<Logs>, QueryError> {
    let now_ns = engine.clock().now_ns();
    let (start, end) = (asked.take("start")?, asked.take("end")?);
    let mut conditions: Vec<String> = Vec::new();
    let trace_id = asked.take("trace_id")?;
    let bounded = trace_id.is_none() || start.is_some() || end.is_some();
    let window = if bounded { Some(crate::time::WindowParams { start, end }.resolve(now_ns)?) } else { None };
    conditions.extend(hex_id("trace_id", trace_id, 32)?);
    conditions.extend(hex_id("span_id", asked.take("span_id")?, 16)?);
    conditions.extend(asked.take("service")?.map(|id| is_service(&id)));
    conditions
        .extend(asked.take("text")?.map(|text| format!("body ILIKE {}", quote(&format!("%{}%", escaped(&text))))));
    let filter = asked.take("filter")?;
    let limit = asked.limit("limit", LIMIT, MAX_LIMIT)?;
    let cursor = asked.take("cursor")?;
    asked.finish()?;
    let cursor = match cursor {
        Some(text) => Some(Cursor::parse(&text).ok_or_else(|| {
            QueryError::bad_request("cursor is not one that an earlier page gave")
                .with_hint("leave it out for the first page")
        })?),
        None => None,
    };
    let work = Arc::clone(&engine);
    let answer = async move {
        let session = work.session(&identity).await?;
        if let Some(text) = filter {
            conditions.push(session.filter(Signal::Logs, &text).await?.sql().to_owned());
        }
        conditions.extend(window.map(|w| w.sql("timestamp")));
        let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        find(&session, Search { window, condition, limit, cursor }).await
    };
    engine.run(answer).await.map(Json)
}

fn hex_id(name: &str, value: Option<String>, digits: usize) -> Result<Option<String>, QueryError> {
    let Some(value) = value else { return Ok(None) };
    let value = value.to_ascii_lowercase();
    if value.len() != digits || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(QueryError::bad_request(format!("{name} is not {digits} hexadecimal digits")));
    }
    Ok(Some(format!("{name} = '{value}'")))
}

/// A text within a `LIKE` pattern, standing for itself.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

async fn find(session: &Session, search: Search) -> Result<Logs, QueryError> {
    let first = search.cursor.is_none();
    let (histogram, total) = if first { histogram(session, &search).await? } else { (Vec::new(), None) };
    let (mut records, more, partial) = page(session, &search).await?;
    let cursor = if more { records.last().map(|last| after(&records, last, search.cursor).text()) } else { None };
    let mut receipt = session.receipt();
    receipt.sql =
        Some(format!("SELECT * FROM logs WHERE {} ORDER BY timestamp DESC LIMIT {}", search.condition, search.limit));
    receipt.partial = partial;
    Ok(Logs { logs: records.drain(..).map(|r| r.record).collect(), cursor, histogram, total, receipt })
}

/// A record with what it is ordered by.
struct Found {
    time_ns: i64,
    hash: u64,
    record: LogRecord,
}

/// The cursor behind `last`, the last of a page.
fn after(page: &[Found], last: &Found, before: Option<Cursor>) -> Cursor {
    let same_time = page.iter().filter(|r| r.time_ns == last.time_ns).count();
    let same = page.iter().filter(|r| r.time_ns == last.time_ns && r.hash == last.hash).count();
    // The page may have begun among the records of this very time.
    let earlier = before.filter(|c| c.time_ns == last.time_ns);
    Cursor {
        time_ns: last.time_ns,
        hash: last.hash,
        given: same + earlier.filter(|c| c.hash == last.hash).map_or(0, |c| c.given),
        ties: same_time + earlier.map_or(0, |c| c.ties),
    }
}

/// One page, newest first, records of one time by their hash; and whether there are more. First only the times are read,
/// to learn how far back the page reaches; then all records of that stretch, so that none of the last time is cut off
/// by chance.
async fn page(session: &Session, search: &Search) -> Result<(Vec<Found>, bool, Option<String>), QueryError> {
    let mut condition = search.condition.clone();
    if let Some(cursor) = search.cursor {
        condition = format!("{condition} AND timestamp <= {}", timestamp_sql(cursor.time_ns));
    }
    let reach = search.limit + 1 + search.cursor.map_or(0, |c| c.ties);
    let query = format!("SELECT timestamp FROM logs WHERE {condition} ORDER BY timestamp DESC LIMIT {reach}");
    let mut oldest = None;
    for batch in session.collect(&query).await?.0 {
        let times = Columns(&batch).integers("timestamp")?;
        oldest = (0..batch.num_rows()).filter_map(|i| times.get(i)).chain(oldest).min();
    }
    let Some(oldest) = oldest else { return Ok((Vec::new(), false, None)) };
    let attributes = Scope::ALL.into_iter().flat_map(|scope| attribute_columns(Signal::Logs, scope));
    let columns = select_list(COLUMNS.iter().map(|c| (*c).to_owned()).chain(attributes));
    let most = reach + MAX_TIES;
    let query = format!(
        "SELECT {columns} FROM logs WHERE {condition} AND timestamp >= {} ORDER BY timestamp DESC LIMIT {most}",
        timestamp_sql(oldest)
    );
    let mut found = Vec::new();
    for batch in session.collect(&query).await?.0 {
        read(Columns(&batch), &mut found)?;
    }
    let cut = found.len() == most;
    found.sort_by_key(|r| (Reverse(r.time_ns), r.hash));
    if let Some(cursor) = search.cursor {
        let mut same = 0;
        found.retain(|r| {
            if r.time_ns != cursor.time_ns || r.hash > cursor.hash {
                return r.time_ns <= cursor.time_ns;
            }
            same += usize::from(r.hash == cursor.hash);
            r.hash == cursor.hash && same > cursor.given
        });
    }
    let more = found.len() > search.limit || cut;
    found.truncate(search.limit);
    let partial = cut.then(|| format!("more than {MAX_TIES} records carry one time; of these some may be missing"));
    Ok((found, more, partial))
}

fn read(batch: Columns<'_>, found: &mut Vec<Found>) -> Result<(), QueryError> {
    let text = |name| batch.text(name);
    let (time, observed) = (batch.integers("timestamp")?, batch.integers("observed_timestamp")?);
    let (severity, flags) = (batch.integers("severity_number")?, batch.integers("flags")?);
    let (source, trace, span, severity_text) =
        (text("time_source")?, text("trace_id")?, text("span_id")?, text("severity_text")?);
    let (body, body_type, event) = (text("body")?, text("body_type")?, text("event_name")?);
    let (scope_name, scope_version) = (text("scope_name")?, text("scope_version")?);
    let (service, namespace) = (text("service_name")?, text("service_namespace")?);
    let attributes = |scope| Attributes::of(batch, Signal::Logs, scope);
    let (item, resource, scope) = (attributes(Scope::Item)?, attributes(Scope::Resource)?, attributes(Scope::Scope)?);
    for i in 0..batch.0.num_rows() {
        let time_ns = time.or_zero(i);
        let record = LogRecord {
            timestamp: rfc3339(time_ns),
            observed_timestamp: observed.get(i).map(rfc3339),
            time_source: source.or_empty(i).to_owned(),
            severity_number: severity.or_zero(i),
            severity_text: severity_text.owned(i),
            body: body.owned(i),
            body_type: body_type.owned(i),
            event_name: event.owned(i),
            service_name: service_id(service.or_empty(i), namespace.get(i)),
            trace_id: trace.owned(i),
            span_id: span.owned(i),
            flags: flags.or_zero(i),
            scope_name: scope_name.owned(i),
            scope_version: scope_version.owned(i),
            attributes: item.row(i),
            resource_attributes: resource.row(i),
            scope_attributes: scope.row(i),
        };
        let hash = hash(&record)?;
        found.push(Found { time_ns, hash, record });
    }
    Ok(())
}

/// FNV-1a of the whole record, so that only records equal in everything share one.
fn hash(record: &LogRecord) -> Result<u64, QueryError> {
    let text = serde_json::to_vec(record).map_err(QueryError::internal)?;
    Ok(text.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
}

/// Counts by step and severity class, and the number of all.
async fn histogram(session: &Session, search: &Search) -> Result<(Vec<[u64; 4]>, Option<u64>), QueryError> {
    // Without a window there are no steps, only the classes' sums.
    let (origin, step, steps) = match search.window {
        Some(w) => (w.start_ns, ((w.width_ns() + STEPS - 1) / STEPS).max(1), STEPS as usize),
        None => (0, i64::MAX, 1),
    };
    let query = format!(
        "SELECT (CAST(timestamp AS BIGINT) - {origin}) / {step} AS step, \
         CASE WHEN severity_number >= 17 THEN 3 WHEN severity_number >= 13 THEN 2 WHEN severity_number BETWEEN 1 AND 8 THEN 0 ELSE 1 END AS class, \
         count(*) AS n FROM logs WHERE {} GROUP BY 1, 2",
        search.condition
    );
    let mut counts = vec![[0_u64; 4]; steps];
    let mut total = 0;
    for batch in session.collect(&query).await?.0 {
        let batch = Columns(&batch);
        let (at, class, n) = (batch.integers("step")?, batch.integers("class")?, batch.integers("n")?);
        for i in 0..batch.0.num_rows() {
            let n = n.or_zero(i).max(0) as u64;
            let at = usize::try_from(at.or_zero(i)).unwrap_or(0).min(steps - 1);
            counts[at][usize::try_from(class.or_zero(i)).unwrap_or(1).min(3)] += n;
            total += n;
        }
    }
    Ok((if search.window.is_some() { counts } else { Vec::new() }, Some(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        let cursor = Cursor { time_ns: 1_674_981_729_479_000_000, hash: u64::MAX, given: 2, ties: 40 };
        assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        for bad in ["", "1-2-3", "1-2-3-4-5", "x-1-1-1", "1-1-1-ffffffff"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
        assert_eq!(escaped(r"50%_\"), r"50\%\_\\");
    }
}
