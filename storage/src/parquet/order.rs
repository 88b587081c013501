//! The order of rows in files: which hour a row belongs to and where it stands by the table's sort key. Rows are ordered
//! by integers (the rank of each key word, the time), without copying or comparing a row. Never moves the data itself.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampNanosecondType;
use hashbrown::HashMap;
use orrery_model::Table;

const HOUR_NS: i64 = 3_600_000_000_000;

/// The rows of one hour in the order of the file.
#[derive(Debug)]
pub(crate) struct Run {
    /// Since the Unix epoch.
    pub(crate) hour: u32,
    /// Batch and row of each, as `arrow::compute::interleave` takes them.
    pub(crate) rows: Vec<(usize, usize)>,
    pub(crate) min_timestamp_ns: i64,
    pub(crate) max_timestamp_ns: i64,
}

/// What rows are sorted by; the last two keep rows of equal keys in the order in which they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    hour: u32,
    words: u64,
    timestamp: i64,
    batch: u32,
    row: u32,
}

/// The rows of the batches by hour and the table's sort key. Every hour that has a row has a run, in order of time.
pub(crate) fn sorted_runs(table: &Table, batches: &[RecordBatch]) -> Vec<Run> {
    let mut keys = keys(table, batches);
    keys.sort_unstable();
    keys.chunk_by(|a, b| a.hour == b.hour)
        .map(|keys| Run {
            hour: keys[0].hour,
            rows: keys.iter().map(|key| (key.batch as usize, key.row as usize)).collect(),
            min_timestamp_ns: keys.iter().map(|key| key.timestamp).min().expect("a run has rows"),
            max_timestamp_ns: keys.iter().map(|key| key.timestamp).max().expect("a run has rows"),
        })
        .collect()
}

fn keys(table: &Table, batches: &[RecordBatch]) -> Vec<Key> {
    let (last, words) = table.sort_key.split_last().expect("a table has a sort key");
    assert!(*last == "timestamp" && words.len() <= 2, "the sort key is at most two words and the time");
    let timestamp = table.index_of("timestamp");
    let mut keys = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (index, batch) in (0_u32..).zip(batches) {
        let times = batch.column(timestamp).as_primitive::<TimestampNanosecondType>().values();
        keys.extend((0_u32..).zip(times).map(|(row, &timestamp)| Key {
            hour: u32::try_from(timestamp / HOUR_NS).unwrap_or(0),
            words: 0,
            timestamp,
            batch: index,
            row,
        }));
    }
    for word in words {
        let column = table.index_of(word);
        let columns: Vec<&StringArray> = batches.iter().map(|batch| batch.column(column).as_string()).collect();
        for (key, rank) in keys.iter_mut().zip(ranks(&columns)) {
            key.words = key.words << 32 | u64::from(rank);
        }
    }
    keys
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
