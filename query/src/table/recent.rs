//! Rows of the last minutes that were read from files and are about to be asked for again: what alert rules look at, hundreds
//! of them every few seconds. Keeps them decoded, column by column as they were asked for, within a share of a lane's
//! memory. Never decides which rows exist: what is not kept here is read from its file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, kernels, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use hashbrown::{HashMap, HashSet};
use orrery_model::TableName;
use orrery_storage::{DataFile, HeldMemory, MemoryBatch, MemoryBudget};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::prune::Reach;

/// Queries over longer times read files.
const LONGEST_WINDOW_NS: i64 = 15 * 60 * 1_000_000_000;
/// Kept rows begin so long before the window that they were read for, for windows that end a little earlier.
const MARGIN_NS: i64 = 60 * 1_000_000_000;
/// Rows that no window reaches any more leave when they are of so much time.
const TRIM_NS: i64 = 3 * 60 * 1_000_000_000;
/// What nobody has asked for so long is forgotten.
const FORGET: Duration = Duration::from_secs(90);
/// Columns that nobody has asked for so long are not read with others.
const FORGET_COLUMN: Duration = Duration::from_secs(600);
/// Rows that did not fit are not tried again for so long.
const RETRY: Duration = Duration::from_secs(30);
/// A piece is rows of one service where it has so many.
const PIECE_ROWS: usize = 1024;
/// About what a value takes, to leave rows alone that would not fit.
const VALUE_BYTES: f64 = 12.0;

/// The rows that a lane keeps.
pub(crate) struct Recent {
    budgets: Budgets,
    state: Mutex<State>,
}

/// What the rows take their memory from.
#[derive(Clone)]
struct Budgets {
    own: Arc<MemoryBudget>,
    /// Of all queries of the lane.
    lane: Arc<MemoryBudget>,
}

impl Budgets {
    fn hold(&self, bytes: usize) -> Option<[HeldMemory; 2]> {
        Some([self.own.try_hold_all(bytes)?, self.lane.try_hold_all(bytes)?])
    }
}

#[derive(Default)]
struct State {
    files: HashMap<(TableName, i64), Slot>,
    /// When each column of a table was last asked for.
    columns: HashMap<TableName, BTreeMap<String, Instant>>,
    swept: Option<Instant>,
}

struct Slot {
    content: Arc<tokio::sync::Mutex<Content>>,
    used: Instant,
}

#[derive(Default)]
enum Content {
    #[default]
    Nothing,
    Rows(Arc<Rows>),
    TooMuch(Instant),
}

/// What there is of a file.
pub(super) enum Found {
    Rows(Arc<Rows>),
    /// To be read, by the one who asked; others wait for it.
    Absent(Vacant),
    /// The query reads the file itself.
    Nothing,
}

/// The place of rows that are being read.
pub(super) struct Vacant {
    content: OwnedMutexGuard<Content>,
    budgets: Budgets,
    /// Bytes that the rows may take.
    pub room_bytes: usize,
    /// The time of the first row to read, nanoseconds.
    pub since_ns: i64,
    /// The columns to read.
    pub columns: BTreeSet<String>,
}

/// A file's rows from a time on.
pub(super) struct Rows {
    since_ns: i64,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    _held: [HeldMemory; 2],
}

struct Piece {
    rows: MemoryBatch,
    /// The first and the last service by name; `None` where that is not known.
    services: Option<(String, String)>,
}

impl Recent {
    /// Keeps at most so many bytes, which it takes from the lane's.
    pub fn new(limit_bytes: usize, lane: Arc<MemoryBudget>) -> Self {
        let budgets = Budgets { own: Arc::new(MemoryBudget::new(limit_bytes)), lane };
        Self { budgets, state: Mutex::default() }
    }

    /// What is kept of a file of a table, whose files now these are, for a query over times of some columns.
    pub(super) async fn find(
        &self,
        table: TableName,
        files: &[Arc<DataFile>],
        file: &DataFile,
        reach: &Reach,
        needed: &[&str],
    ) -> Found {
        let window_ns = reach.max_ns.checked_sub(reach.min_ns);
        if reach.trace_ids.is_some() || window_ns.is_none_or(|ns| ns > LONGEST_WINDOW_NS) {
            return Found::Nothing;
        }
        let (content, columns) = self.slot(table, files, file, needed);
        let mut content = content.lock_owned().await;
        match &mut *content {
            Content::Rows(rows) if rows.since_ns <= reach.min_ns && rows.has(needed) => {
                if reach.min_ns - rows.since_ns > TRIM_NS
                    && let Some(trimmed) = rows.trimmed(reach.min_ns.saturating_sub(MARGIN_NS), &self.budgets)
                {
                    *rows = Arc::new(trimmed);
                }
                return Found::Rows(Arc::clone(rows));
            }
            Content::TooMuch(since) if since.elapsed() < RETRY => return Found::Nothing,
            _ => {}
        }
        // The old rows make room for the new.
        *content = Content::Nothing;
        let since_ns = reach.min_ns.saturating_sub(MARGIN_NS);
        let room_bytes = self.budgets.own.limit().saturating_sub(self.bytes());
        if expected_bytes(file, since_ns, columns.len()) > room_bytes as f64 {
            *content = Content::TooMuch(Instant::now());
            return Found::Nothing;
        }
        Found::Absent(Vacant { content, budgets: self.budgets.clone(), room_bytes, since_ns, columns })
    }

    /// The place of a file, and the columns that are worth reading with the needed ones.
    fn slot(
        &self,
        table: TableName,
        files: &[Arc<DataFile>],
        file: &DataFile,
        needed: &[&str],
    ) -> (Arc<tokio::sync::Mutex<Content>>, BTreeSet<String>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        // A file that is new may have been merged from others, whose rows are then there twice.
        let is_new = !state.files.contains_key(&(table, file.id));
        if is_new || state.swept.is_none_or(|swept| now - swept > FORGET / 8) {
            state.swept = Some(now);
            let live: HashSet<i64> = files.iter().map(|file| file.id).collect();
            let is_there = |(of, id): &(TableName, i64)| *of != table || live.contains(id);
            state.files.retain(|key, slot| is_there(key) && now - slot.used < FORGET);
        }
        let columns = state.columns.entry(table).or_default();
        columns.retain(|_, used| now - *used < FORGET_COLUMN);
        for &column in needed {
            match columns.get_mut(column) {
                Some(used) => *used = now,
                None => _ = columns.insert(column.to_owned(), now),
            }
        }
        let columns = columns.keys().cloned().collect();
        let slot = state.files.entry((table, file.id)).or_insert_with(|| Slot { content: Arc::default(), used: now });
        slot.used = now;
        (Arc::clone(&slot.content), columns)
    }

    /// What is kept, bytes.
    pub fn bytes(&self) -> usize {
        self.budgets.own.used()
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// As if a file's rows were even over its time.
fn expected_bytes(file: &DataFile, since_ns: i64, columns: usize) -> f64 {
    let span = (file.max_timestamp_ns as f64 - file.min_timestamp_ns as f64).max(1.0);
    let asked = file.max_timestamp_ns as f64 - since_ns.max(file.min_timestamp_ns) as f64;
    file.rows as f64 * (asked / span).clamp(0.0, 1.0) * columns as f64 * VALUE_BYTES
}

impl Vacant {
    /// Keeps the rows that were read; `None` where there is no memory for them, and they are to be read again.
    pub fn fill(mut self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Option<Arc<Rows>>, ArrowError> {
        let rows = Rows::new(self.since_ns, schema, batches, &self.budgets)?.map(Arc::new);
        *self.content = match &rows {
            Some(rows) => Content::Rows(Arc::clone(rows)),
            None => Content::TooMuch(Instant::now()),
        };
        Ok(rows)
    }

    /// Leaves the place empty for a while: the rows are too many.
    pub fn give_up(mut self) {
        *self.content = Content::TooMuch(Instant::now());
    }
}

impl Rows {
    /// `None` where there is no room.
    fn new(
        since_ns: i64,
        schema: &SchemaRef,
        batches: &[RecordBatch],
        budgets: &Budgets,
    ) -> Result<Option<Self>, ArrowError> {
        let all = by_service(&concat_batches(schema, batches)?)?;
        let Some(held) = budgets.hold(all.get_array_memory_size()) else { return Ok(None) };
        let pieces = cuts(&all).windows(2).map(|cut| Piece::new(all.slice(cut[0], cut[1] - cut[0]))).collect();
        Ok(Some(Self { since_ns, schema: Arc::clone(schema), pieces, _held: held }))
    }

    fn has(&self, needed: &[&str]) -> bool {
        needed.iter().all(|name| self.schema.index_of(name).is_ok())
    }

    /// Without the rows before a time; `None` where there is no memory to make that of.
    fn trimmed(&self, since_ns: i64, budgets: &Budgets) -> Option<Self> {
        let late = |piece: &Piece| {
            let times = piece.rows.column_by_name("timestamp")?.as_primitive_opt::<TimestampNanosecondType>()?;
            let from = arrow::array::TimestampNanosecondArray::new_scalar(since_ns);
            filter_record_batch(&piece.rows, &kernels::cmp::gt_eq(times, &from).ok()?).ok()
        };
        let batches = self.pieces.iter().map(late).collect::<Option<Vec<_>>>()?;
        Self::new(since_ns, &self.schema, &batches, budgets).ok().flatten()
    }

    /// The pieces that may hold rows within reach, with these columns in the order given.
    pub fn within(&self, reach: &Reach, columns: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
        let indices = columns.fields().iter().map(|field| self.schema.index_of(field.name()));
        let indices = indices.collect::<Result<Vec<_>, _>>()?;
        let project = |piece: &Piece| {
            let columns_of = indices.iter().map(|&index| Arc::clone(piece.rows.column(index))).collect();
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(piece.rows.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(columns), columns_of, &options)
        };
        self.pieces.iter().filter(|piece| piece.is_within(reach)).map(project).collect()
    }
}

impl Piece {
    fn new(rows: RecordBatch) -> Self {
        let names = rows.column_by_name("service_name").and_then(|names| names.as_string_opt::<i32>());
        let services = names.and_then(|names| {
            let known = || names.iter().map(Option::unwrap_or_default);
            Some((known().min()?.to_owned(), known().max()?.to_owned()))
        });
        Self { rows: rows.into(), services }
    }

    fn is_within(&self, reach: &Reach) -> bool {
        reach.meets(self.rows.min_timestamp_ns, self.rows.max_timestamp_ns)
            && match (&reach.services, &self.services) {
                (Some(asked), Some((first, last))) => asked.range(first.clone()..=last.clone()).next().is_some(),
                _ => true,
            }
    }
}

/// The rows with those of each service together, in the order of before.
fn by_service(all: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let Some(names) = all.column_by_name("service_name").and_then(|names| names.as_string_opt::<i32>()) else {
        return Ok(all.clone());
    };
    let mut services: Vec<Option<&str>> = names.iter().collect::<HashSet<_>>().into_iter().collect();
    services.sort_unstable();
    let numbers: HashMap<Option<&str>, u32> = services.into_iter().zip(0..).collect();
    let ranks: Vec<u32> = names.iter().map(|name| numbers[&name]).collect();
    if ranks.is_sorted() {
        return Ok(all.clone());
    }
    let mut order: Vec<u32> = (0..ranks.len() as u32).collect();
    order.sort_by_key(|&row| ranks[row as usize]);
    take_record_batch(all, &UInt32Array::from(order))
}

/// Where pieces begin, and the end: at another service, after so many rows at least.
fn cuts(all: &RecordBatch) -> Vec<usize> {
    let rows = all.num_rows();
    let mut cuts = vec![0];
    if let Some(names) = all.column_by_name("service_name").and_then(|names| names.as_string_opt::<i32>()) {
        let mut last = 0;
        for row in 1..rows {
            if row - last >= PIECE_ROWS && rows - row >= PIECE_ROWS && names.value(row) != names.value(row - 1) {
                cuts.push(row);
                last = row;
            }
        }
    }
    if rows > 0 {
        cuts.push(rows);
    }
    cuts
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampNanosecondArray};

    use super::*;

    const MINUTE_NS: i64 = 60 * 1_000_000_000;

    /// Sorted by service, then time: rows of each service from `from` on, a second apart.
    fn rows(services: &[(&str, usize)], from_ns: i64) -> RecordBatch {
        let of = |(name, rows): &(&str, usize)| (0..*rows).map(|i| ((*name).to_owned(), i as i64)).collect::<Vec<_>>();
        let all: Vec<(String, i64)> = services.iter().flat_map(of).collect();
        let times = TimestampNanosecondArray::from_iter_values(all.iter().map(|(_, i)| from_ns + i * 1_000_000_000));
        let names = StringArray::from_iter_values(all.iter().map(|(name, _)| name));
        let numbers = Int64Array::from_iter_values(0..all.len() as i64);
        let columns: [(&str, ArrayRef); 3] =
            [("timestamp", Arc::new(times)), ("service_name", Arc::new(names)), ("n", Arc::new(numbers))];
        RecordBatch::try_from_iter(columns).expect("columns of one length")
    }

    fn reach(min_ns: i64, max_ns: i64, services: Option<&[&str]>) -> Reach {
        let services = services.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Reach { min_ns, max_ns, trace_ids: None, services }
    }

    fn budgets(bytes: usize) -> Budgets {
        Budgets { own: Arc::new(MemoryBudget::new(bytes)), lane: Arc::new(MemoryBudget::new(bytes)) }
    }

    fn kept(rows: &Rows, reach: &Reach) -> usize {
        let columns = Arc::new(rows.schema.project(&[2, 0]).expect("two columns"));
        let batches = rows.within(reach, &columns).expect("batches");
        assert!(batches.iter().all(|batch| batch.schema() == columns));
        batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn pieces_are_of_one_service_where_it_has_many_rows_and_are_ruled_out_by_it_and_by_time() {
        let batch = rows(&[("a", 3000), ("b", 10), ("c", 10), ("d", 2000)], 0);
        assert_eq!(cuts(&batch), [0, 3000, 5020]);
        assert_eq!(cuts(&batch.slice(0, 0)), [0]);
        let all = Rows::new(0, &batch.schema(), &[batch.slice(0, 100), batch.slice(100, 4920)], &budgets(1 << 20));
        let all = all.expect("rows").expect("room");
        let always = (i64::MIN, i64::MAX);
        for (services, rows) in [
            (None, 5020),
            (Some(&["a"][..]), 3000),
            (Some(&["c"]), 2020),
            (Some(&["a", "d"]), 5020),
            (Some(&["e"]), 0),
            (Some(&[]), 0),
        ] {
            assert_eq!(kept(&all, &reach(always.0, always.1, services)), rows, "{services:?}");
        }
        assert_eq!(kept(&all, &reach(2500 * 1_000_000_000, i64::MAX, None)), 3000, "d ends after 2,000 s");
        assert_eq!(kept(&all, &reach(i64::MIN, -1, None)), 0);
    }

    #[test]
    fn rows_before_a_time_leave_and_give_their_memory_back() {
        let batch = rows(&[("a", 3000), ("b", 1000)], 0);
        let budgets = budgets(1 << 20);
        let all = Rows::new(0, &batch.schema(), &[batch], &budgets).expect("rows").expect("room");
        let before = budgets.own.used();
        let late = all.trimmed(10 * MINUTE_NS, &budgets).expect("room");
        assert_eq!(kept(&late, &reach(i64::MIN, i64::MAX, None)), 2400 + 400);
        drop(all);
        assert!(budgets.own.used() < before && budgets.own.used() == budgets.lane.used());
        drop(late);
        assert_eq!(budgets.lane.used(), 0);
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        let batch = rows(&[("a", 3000)], 0);
        let lane = Arc::new(MemoryBudget::new(1000));
        let budgets = Budgets { own: Arc::new(MemoryBudget::new(1 << 20)), lane };
        assert!(Rows::new(0, &batch.schema(), &[batch], &budgets).expect("rows").is_none());
        assert_eq!(budgets.own.used(), 0, "what the one gave goes back when the other has nothing");
    }
}
