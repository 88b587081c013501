//! The order of rows in files: which hour a row belongs to and where it stands by the table's order. Rows are ordered
//! by integers (trace id or rank of each key word, the time), without copying or comparing a row. Never moves the data itself.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampNanosecondType;
use hashbrown::{HashMap, HashSet};
use orrery_model::{Order, Table};
use parquet::file::metadata::{FileMetaData, KeyValue};

use crate::HOUR_NS;

/// The key in the footer under which a file of a table that is sorted by second says so.
pub const ORDER_KEY: &str = "orrery.order";

/// How files of spans were sorted that say nothing of it.
const BY_SERVICE: Order = Order::by(&["service_name", "timestamp"]);

/// Hours of one table in a flush that have files of their own. Where rows lie in more, as those of a broken clock do, the
/// hours with the fewest rows share a file.
const MAX_HOURS: usize = 64;

/// In the place of an hour: several of them.
pub(crate) const MIXED: u32 = u32::MAX;

/// The rows of one hour, or of several that share a file, in the order of the file.
#[derive(Debug)]
pub(crate) struct Run {
    /// Since the Unix epoch, or [`MIXED`].
    pub(crate) hour: u32,
    /// Batch and row of each, as `arrow::compute::interleave` takes them.
    pub(crate) rows: Vec<(usize, usize)>,
    pub(crate) min_timestamp_ns: i64,
    pub(crate) max_timestamp_ns: i64,
}

/// What a file of the table says of its order, where `sorting_columns` cannot say it.
pub(super) fn said(table: &Table) -> Option<KeyValue> {
    table.order.by_second.then(|| KeyValue::new(ORDER_KEY.to_owned(), words_of(table.order)))
}

fn words_of(order: Order) -> String {
    format!("second,{}", order.columns.join(","))
}

/// How the rows of a file are sorted.
pub(crate) fn of_file(table: &Table, footer: &FileMetaData) -> Order {
    if !table.order.by_second {
        return table.order;
    }
    let mut said = footer.key_value_metadata().into_iter().flatten();
    let value = said.find(|entry| entry.key == ORDER_KEY).and_then(|entry| entry.value.as_deref());
    if value == Some(&*words_of(table.order)) { table.order } else { BY_SERVICE }
}

/// The second that a time is in.
pub(crate) const fn second_of(timestamp_ns: i64) -> i64 {
    timestamp_ns.div_euclid(1_000_000_000)
}

/// What rows are sorted by; the last two keep rows of equal keys in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hour: u32,
    /// 0 in tables that are not sorted by it.
    second: i64,
    words: [u64; 2],
    timestamp: i64,
    batch: u32,
    row: u32,
}

/// The hour that all times between the two lie in, or [`MIXED`].
pub(crate) fn hour_of(min_timestamp_ns: i64, max_timestamp_ns: i64) -> u32 {
    let (first, last) = (min_timestamp_ns / HOUR_NS, max_timestamp_ns / HOUR_NS);
    if first == last { u32::try_from(first).unwrap_or(0) } else { MIXED }
}

/// The rows of the batches by hour and the table's order. At most [`MAX_HOURS`] hours have a run each, in order of time;
/// the others share one, the last.
pub(crate) fn sorted_runs(table: &Table, batches: &[RecordBatch]) -> Vec<Run> {
    let mut keys = keys(table, batches);
    mix_small_hours(&mut keys);
    keys.sort_unstable();
    let run = |keys: &[Key]| {
        let times = keys.iter().map(|key| key.timestamp);
        let (min, max) = (times.clone().min(), times.max());
        let (min_timestamp_ns, max_timestamp_ns) = min.zip(max).expect("a run has rows");
        Run {
            hour: hour_of(min_timestamp_ns, max_timestamp_ns),
            rows: keys.iter().map(|key| (key.batch as usize, key.row as usize)).collect(),
            min_timestamp_ns,
            max_timestamp_ns,
        }
    };
    keys.chunk_by(|a, b| a.hour == b.hour).map(run).collect()
}

/// Puts the rows of all hours but those with the most rows into one.
fn mix_small_hours(keys: &mut [Key]) {
    let mut rows: HashMap<u32, usize> = HashMap::new();
    let mut last = None;
    for key in keys.iter() {
        // Most rows lie in the hour of the one before.
        match &mut last {
            Some((hour, count)) if *hour == key.hour => *count += 1,
            _ => {
                if let Some((hour, count)) = last.replace((key.hour, 1)) {
                    *rows.entry(hour).or_default() += count;
                }
            }
        }
    }
    if let Some((hour, count)) = last {
        *rows.entry(hour).or_default() += count;
    }
    if rows.len() <= MAX_HOURS {
        return;
    }
    let mut hours: Vec<(usize, u32)> = rows.into_iter().map(|(hour, rows)| (rows, hour)).collect();
    hours.sort_unstable();
    let small: HashSet<u32> = hours[..hours.len() + 1 - MAX_HOURS].iter().map(|(_, hour)| *hour).collect();
    for key in keys.iter_mut().filter(|key| small.contains(&key.hour)) {
        key.hour = MIXED;
    }
}

fn keys(table: &Table, batches: &[RecordBatch]) -> Vec<Key> {
    let words = table.order.words();
    assert!(words.len() <= 2, "rows are sorted by at most two words and the time");
    let timestamp = table.index_of("timestamp");
    let mut keys = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (index, batch) in (0_u32..).zip(batches) {
        let times = batch.column(timestamp).as_primitive::<TimestampNanosecondType>().values();
        keys.extend((0_u32..).zip(times).map(|(row, &timestamp)| Key {
            hour: u32::try_from(timestamp / HOUR_NS).unwrap_or(0),
            second: if table.order.by_second { second_of(timestamp) } else { 0 },
            words: [0; 2],
            timestamp,
            batch: index,
            row,
        }));
    }
    for (place, word) in words.iter().enumerate() {
        let column = table.index_of(word);
        let columns: Vec<&StringArray> = batches.iter().map(|batch| batch.column(column).as_string()).collect();
        if words.len() == 1 && *word == "trace_id" && columns.iter().all(|ids| are_ids(ids)) {
            let ids = columns.iter().flat_map(|ids| (0..ids.len()).map(|row| id_of(ids.value(row).as_bytes())));
            keys.iter_mut().zip(ids).for_each(|(key, id)| key.words = id);
            continue;
        }
        for (key, rank) in keys.iter_mut().zip(ranks(&columns)) {
            key.words[place] = rank.into();
        }
    }
    keys
}

/// Whether all are ids of traces as they are stored: 32 hexadecimal digits in lower case.
fn are_ids(ids: &StringArray) -> bool {
    let ends = ids.value_offsets();
    let bytes = &ids.value_data()[ends[0] as usize..ends[ends.len() - 1] as usize];
    ids.null_count() == 0
        && ends.windows(2).all(|ends| ends[1] - ends[0] == 32)
        && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The number that 32 digits are, which is ordered as they are.
fn id_of(digits: &[u8]) -> [u64; 2] {
    let number = |digits: &[u8]| {
        digits.iter().fold(0, |number, &digit| {
            let value = if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
            number << 4 | u64::from(value)
        })
    };
    let (high, low) = digits.split_at(16);
    [number(high), number(low)]
}

/// The rank of each row's word among the distinct words in byte order, 0 for NULL.
fn ranks(columns: &[&StringArray]) -> Vec<u32> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut words: Vec<&str> = Vec::new();
    let mut ranks = Vec::with_capacity(columns.iter().map(|column| column.len()).sum());
    for column in columns {
        // Neighbours are often of one resource.
        let mut last: Option<(&str, u32)> = None;
        for word in column.iter() {
            let number = match (word, last) {
                (None, _) => 0,
                (Some(word), Some((same, number))) if word == same => number,
                (Some(word), _) => {
                    let number = *numbers.entry(word).or_insert_with(|| {
                        words.push(word);
                        words.len() as u32
                    });
                    last = Some((word, number));
                    number
                }
            };
            ranks.push(number);
        }
    }
    let mut sorted: Vec<u32> = (1..=words.len() as u32).collect();
    sorted.sort_unstable_by_key(|number| words[*number as usize - 1]);
    let mut rank_of = vec![0; words.len() + 1];
    for (rank, number) in (1..).zip(sorted) {
        rank_of[number as usize] = rank;
    }
    ranks.iter_mut().for_each(|number| *number = rank_of[*number as usize]);
    ranks
}
