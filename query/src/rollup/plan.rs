//! Which minutes of a window are answered by what was counted beforehand, and which spans are counted one by one. The rule
//! of validity is here: an hour holds while no flush has brought spans of it or of the minutes around it since, none of
//! them is in memory, nothing of it was dropped, and no parent has arrived that was missing.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use hashbrown::{HashMap, HashSet};
use orrery_api::Minutes;
use orrery_model::Signal;
use orrery_storage::{DataFile, RollupHead, RollupQuery, Rollups, StoredRollup, TableSnapshot};

use super::hours::{Hour, InMemory, newest_file, rows_of_hours};
use super::rows::{
    GraphRows, HOUR_PART, MINUTE_NS, MINUTES_PART, OPERATIONS_PART, Open, OperationRows, VERSION, parent_hash,
};
use crate::columns::Columns;
use crate::graph::scope::{AROUND_NS, Scope, Strays};
use crate::spans::{parse_span_id, parse_trace_id};
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// The table that spans are while a late parent is looked for among them.
const LATE: &str = "spans_that_came_late";

/// What an hour is kept as.
pub trait Part: Sized {
    /// Under which name a whole hour is, and minutes of one.
    const WHOLE: &'static str;
    const MINUTES: &'static str;

    fn decode(bytes: &[u8]) -> Option<Self>;
    fn open(&self) -> &Open;
}

impl Part for GraphRows {
    const WHOLE: &'static str = HOUR_PART;
    const MINUTES: &'static str = MINUTES_PART;

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }

    fn open(&self) -> &Open {
        &self.open
    }
}

impl Part for OperationRows {
    const WHOLE: &'static str = OPERATIONS_PART;
    const MINUTES: &'static str = OPERATIONS_PART;

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes)
    }

    fn open(&self) -> &Open {
        &self.open
    }
}

/// An hour, or minutes of it, that was counted beforehand.
#[derive(Debug)]
pub struct Used<P> {
    pub hour: Hour,
    pub minutes: Range<u8>,
    pub rows: P,
}

impl<P> Used<P> {
    pub fn window(&self) -> Window {
        Window { start_ns: self.minute_ns(self.minutes.start), end_ns: self.minute_ns(self.minutes.end) }
    }

    /// The start of a minute.
    pub const fn minute_ns(&self, minute: u8) -> i64 {
        self.hour.window().start_ns.saturating_add(minute as i64 * MINUTE_NS)
    }

    /// The minutes, a bit each.
    pub fn bits(&self) -> u64 {
        (((1_u128 << self.minutes.end) - 1) & !((1_u128 << self.minutes.start) - 1)) as u64
    }
}

/// How a window is answered.
#[derive(Debug)]
pub struct Plan<P> {
    pub used: Vec<Used<P>>,
    /// The rest, span by span.
    pub scope: Scope,
}

impl<P> Plan<P> {
    pub fn spans_only(window: Window) -> Self {
        Self { used: Vec::new(), scope: Scope::whole(window) }
    }

    /// How much of the window is answered by what; a begun minute counts.
    pub fn minutes(&self) -> Minutes {
        let rollups = self.used.iter().map(|used| u64::from(used.minutes.end - used.minutes.start)).sum();
        let spans: i64 = self.scope.stretches.iter().map(Window::width_ns).fold(0, i64::saturating_add);
        Minutes { rollups, spans: spans.cast_unsigned().div_ceil(MINUTE_NS.cast_unsigned()) }
    }
}

/// Finds what holds of a window. Whole hours come without their minutes, unless those are asked for.
pub async fn plan<P: Part>(session: &Session, window: Window, by_minute: bool) -> Result<Plan<P>, QueryError> {
    let Some(rollups) = session.rollups() else { return Ok(Plan::spans_only(window)) };
    let wanted = whole_minutes(window);
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(Plan::spans_only(window)) };
    let state = State::of(session);
    let mut kept: HashMap<i64, StoredRollup> = HashMap::new();
    let name = if by_minute { P::MINUTES } else { P::WHOLE };
    for stored in state.read(rollups, first.0..=last.0, name).await? {
        kept.insert(stored.head.hour, stored);
    }
    if name != P::MINUTES {
        for (hour, _) in wanted.iter().filter(|(_, minutes)| *minutes != (0..60)) {
            kept.remove(&hour.0);
            for stored in state.read(rollups, *hour..=*hour, P::MINUTES).await? {
                kept.insert(stored.head.hour, stored);
            }
        }
    }
    let mut used = Vec::new();
    let mut heads = Vec::new();
    for (hour, minutes) in wanted {
        let Some(stored) = kept.remove(&hour.0).filter(|stored| state.holds(stored)) else { continue };
        let Some(rows) = stored.part.as_deref().and_then(P::decode) else { continue };
        used.push(Used { hour, minutes, rows });
        heads.push(stored.head);
    }
    let suspects: Vec<_> = heads.iter().zip(&used).map(|(head, used)| (*head, used.rows.open())).collect();
    let overtaken = hours_with_late_parents(session, &state, &suspects).await?;
    used.retain(|used| !overtaken.contains(&used.hour));
    let scope = rest(window, &used);
    Ok(Plan { used, scope })
}

/// The hours of a window with the whole minutes of each that lie in it, in order.
fn whole_minutes(window: Window) -> Vec<(Hour, Range<u8>)> {
    let first = window.start_ns.div_euclid(MINUTE_NS) + i64::from(window.start_ns.rem_euclid(MINUTE_NS) != 0);
    let end = window.end_ns.div_euclid(MINUTE_NS);
    if first >= end {
        return Vec::new();
    }
    let within = |hour: i64| ((first - hour * 60).clamp(0, 60) as u8)..((end - hour * 60).clamp(0, 60) as u8);
    (first.div_euclid(60)..=(end - 1).div_euclid(60)).map(|hour| (Hour(hour), within(hour))).collect()
}

/// What is counted span by span beside the minutes that are used.
fn rest<P: Part>(window: Window, used: &[Used<P>]) -> Scope {
    let mut stretches = Vec::new();
    let mut at = window.start_ns;
    for stretch in used.iter().map(Used::window) {
        stretches.push(Window { start_ns: at, end_ns: stretch.start_ns });
        at = stretch.end_ns;
    }
    stretches.push(Window { start_ns: at, end_ns: window.end_ns });
    stretches.retain(|w| w.start_ns < w.end_ns);
    let strays = used.iter().filter(|used| !used.rows.open().strays.is_empty()).map(|used| Strays {
        stretch: used.window(),
        traces: used.rows.open().strays.iter().copied().collect::<HashSet<_>>(),
    });
    Scope { window, stretches, strays: strays.collect() }
}

/// What a snapshot says of all hours.
pub struct State<'a> {
    table: &'a TableSnapshot,
    session: &'a Session,
    rows: HashMap<Hour, i64>,
    pub newest_file: i64,
    pub memory: InMemory,
}

impl<'a> State<'a> {
    pub fn of(session: &'a Session) -> Self {
        let table = session.snapshot().table(Signal::Spans);
        Self {
            table,
            session,
            rows: rows_of_hours(&table.files),
            newest_file: newest_file(&table.files),
            memory: InMemory::of(table),
        }
    }

    /// Hours that have files of their own, with the rows in them.
    pub fn hours(&self) -> &HashMap<Hour, i64> {
        &self.rows
    }

    pub async fn read(
        &self,
        rollups: &Rollups,
        hours: std::ops::RangeInclusive<impl Into<i64> + Copy>,
        part: &'static str,
    ) -> Result<Vec<StoredRollup>, QueryError> {
        let hours = (*hours.start()).into()..=(*hours.end()).into();
        let query = RollupQuery { hours, part, newest_file: self.newest_file, around_ns: AROUND_NS };
        rollups.read(&self.session.snapshot().tenant, &query).await.map_err(QueryError::internal)
    }

    /// Whether an hour still holds, but for parents that came late.
    pub fn holds(&self, stored: &StoredRollup) -> bool {
        let head = &stored.head;
        let hour = Hour(head.hour);
        let rows = |hour: Hour| self.rows.get(&hour).copied().unwrap_or(0);
        head.version == VERSION
            && !stored.is_overtaken
            && head.through_file <= self.newest_file
            && head.rows == rows(hour)
            && head.before_rows <= rows(Hour(hour.0 - 1))
            && !self.memory.hours.contains(&hour)
    }

    /// Files that came after an hour was counted, with spans from before the time around it: a parent may be in them.
    pub fn late_files(&self, head: &RollupHead) -> impl Iterator<Item = &Arc<DataFile>> {
        let (before, through) = (before(Hour(head.hour)), head.through_file);
        self.table.files.iter().filter(move |file| file.received().1 > through && file.min_timestamp_ns < before)
    }
}

impl From<Hour> for i64 {
    fn from(hour: Hour) -> Self {
        hour.0
    }
}

/// Where the time around an hour begins.
fn before(hour: Hour) -> i64 {
    hour.window().start_ns.saturating_sub(AROUND_NS)
}

/// The hours of which a parent that was missing when they were counted is among the spans that came since.
pub async fn hours_with_late_parents(
    session: &Session,
    state: &State<'_>,
    hours: &[(RollupHead, &Open)],
) -> Result<HashSet<Hour>, QueryError> {
    let mut found = HashSet::new();
    let mut files: Vec<Arc<DataFile>> = Vec::new();
    let mut suspects: Vec<(Hour, i64, &Open)> = Vec::new();
    let mut in_memory = false;
    for (head, open) in hours.iter().filter(|(_, open)| !open.orphans.is_empty()) {
        let before = before(Hour(head.hour));
        let has_late_rows = state.memory.earliest_ns.is_some_and(|earliest| earliest < before);
        let known = files.len();
        files.extend(state.late_files(head).cloned());
        if has_late_rows || files.len() > known {
            suspects.push((Hour(head.hour), before, open));
            in_memory |= has_late_rows;
        }
    }
    let Some(until) = suspects.iter().map(|(_, before, _)| *before).max() else { return Ok(found) };
    files.sort_unstable_by_key(|file| file.id);
    files.dedup_by_key(|file| file.id);
    let memory = if in_memory { state.table.memory.clone() } else { Vec::new() };
    session.register_part(LATE, Signal::Spans, TableSnapshot { files: Arc::new(files), memory })?;
    let query = format!(
        "SELECT timestamp, trace_id, span_id FROM {LATE} \
         WHERE timestamp < {} AND trace_id IS NOT NULL AND span_id IS NOT NULL",
        timestamp_sql(until)
    );
    let mut stream = session.sql(&query).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let batch = Columns(&batch);
        let (time, trace, span) = (batch.integers("timestamp")?, batch.text("trace_id")?, batch.text("span_id")?);
        for row in 0..batch.0.num_rows() {
            let ids = trace.get(row).and_then(parse_trace_id).zip(span.get(row).and_then(parse_span_id));
            let Some(hash) = ids.map(|(trace, span)| parent_hash(trace, span)) else { continue };
            let is_one = |(_, before, open): &&(Hour, i64, &Open)| {
                time.or_zero(row) < *before && open.orphans.binary_search(&hash).is_ok()
            };
            found.extend(suspects.iter().filter(is_one).map(|(hour, _, _)| *hour));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup::rows::HOUR_NS;

    #[test]
    fn whole_minutes_are_split_by_hour() {
        let window = |start_ns, end_ns| whole_minutes(Window { start_ns, end_ns });
        assert_eq!(window(0, HOUR_NS), [(Hour(0), 0..60)]);
        assert_eq!(window(1, MINUTE_NS), []);
        assert_eq!(window(1, 2 * MINUTE_NS), [(Hour(0), 1..2)]);
        assert_eq!(window(-MINUTE_NS, HOUR_NS + MINUTE_NS), [(Hour(-1), 59..60), (Hour(0), 0..60), (Hour(1), 0..1)]);
        assert_eq!(window(HOUR_NS - 1, 2 * HOUR_NS + 1), [(Hour(1), 0..60)]);
        assert_eq!(window(5, 5), []);
    }
}
