//! Clock hours, and what a snapshot holds of each: what decides whether an hour that was counted beforehand still holds.
//! Opens no file.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use hashbrown::HashMap;
use orrery_storage::{DataFile, TableSnapshot};

use super::rows::{HOUR_NS, MINUTE_NS};
use crate::Window;
use crate::graph::scope::AROUND_NS;

/// A clock hour in UTC, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour(pub i64);

impl Hour {
    pub const fn of(ns: i64) -> Self {
        Self(ns.div_euclid(HOUR_NS))
    }

    pub const fn window(self) -> Window {
        let start_ns = self.0.saturating_mul(HOUR_NS);
        Window { start_ns, end_ns: start_ns.saturating_add(HOUR_NS) }
    }

    /// The hours that a time is near to.
    fn near(ns: i64) -> impl Iterator<Item = Self> {
        let (first, last) = (Self::of(ns.saturating_sub(AROUND_NS)), Self::of(ns.saturating_add(AROUND_NS)));
        (first.0..=last.0).map(Self)
    }
}

/// The last of the flushes' files that the files are made of; 0 for none.
pub fn newest_file(files: &[Arc<DataFile>]) -> i64 {
    files.iter().map(|file| file.received().1).max().unwrap_or(0)
}

/// The rows of each hour's own files. Merging them changes none of the numbers; files of several hours count for none.
pub fn rows_of_hours(files: &[Arc<DataFile>]) -> HashMap<Hour, i64> {
    let mut rows = HashMap::new();
    for file in files {
        let hour = Hour::of(file.min_timestamp_ns);
        if hour == Hour::of(file.max_timestamp_ns) {
            *rows.entry(hour).or_default() += file.rows.cast_signed();
        }
    }
    rows
}

/// What rows in memory say of hours.
#[derive(Debug, Default)]
pub struct InMemory {
    /// Hours with rows in memory, or around which there are some.
    pub hours: HashSet<Hour>,
    pub earliest_ns: Option<i64>,
}

impl InMemory {
    pub fn of(table: &TableSnapshot) -> Self {
        let mut found = Self::default();
        let mut last = None;
        for &time in table.memory.iter().flat_map(|batch| times(batch)) {
            found.earliest_ns = Some(found.earliest_ns.map_or(time, |earliest: i64| earliest.min(time)));
            // By minutes, since most rows are near to the one before.
            let minute = time.div_euclid(MINUTE_NS);
            if last.replace(minute) != Some(minute) {
                let first_ns = minute.saturating_mul(MINUTE_NS);
                found.hours.extend(Hour::near(first_ns).chain(Hour::near(first_ns.saturating_add(MINUTE_NS - 1))));
            }
        }
        found
    }
}

fn times(batch: &RecordBatch) -> &[i64] {
    let column = batch.column_by_name("timestamp").and_then(|c| c.as_primitive_opt::<TimestampNanosecondType>());
    column.map_or(&[], |column| column.values())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_near_to_its_own_hour_and_to_one_that_is_close() {
        let near = |ns: i64| Hour::near(ns).map(|h| h.0).collect::<Vec<_>>();
        assert_eq!(near(0), [-1, 0]);
        assert_eq!(near(HOUR_NS / 2), [0]);
        assert_eq!(near(HOUR_NS - 1), [0, 1]);
        assert_eq!(near(HOUR_NS - AROUND_NS), [0, 1]);
        assert_eq!(near(HOUR_NS - AROUND_NS - 1), [0]);
    }
}
