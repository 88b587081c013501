//! The order in which spans were received, as far as it matters: copies of a span that differ. Files in the order of
//! their flushes, a file's rows in its own order, then the memory's batches as they were acknowledged. A file that was
//! merged from several flushes' says of each row which flush brought it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashSet;
use orrery_model::Signal;
use orrery_storage::{DataFile, MemoryBatch, RECEIVED, TableSnapshot};

use crate::columns::{Columns, Integers, Text};
use crate::{QueryError, Session};

/// The table that a part is while it is read.
pub const PART: &str = "spans_received_together";

/// Spans of which all were received before those of the next part.
pub enum Part {
    /// To be read one by one; the rows of all of them are then in order by their [`Place`].
    Files(Vec<Arc<DataFile>>),
    /// In order.
    Memory(RecordBatch),
}

/// Where a row of a file stands among those of its part: the flush that brought it, and its place in that flush's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    flush: i64,
    service_name: String,
    timestamp_ns: i64,
}

/// The places of a batch's rows, which has [`RECEIVED`] and the first columns of the order of files.
pub struct Places<'a> {
    /// NULL in a flush's own file.
    flush: Integers<'a>,
    service_name: Text<'a>,
    timestamp: Integers<'a>,
    file: i64,
}

impl<'a> Places<'a> {
    pub fn of(batch: Columns<'a>, file: &DataFile) -> Result<Self, QueryError> {
        Ok(Self {
            flush: batch.integers(RECEIVED)?,
            service_name: batch.text("service_name")?,
            timestamp: batch.integers("timestamp")?,
            file: file.id,
        })
    }

    pub fn get(&self, i: usize) -> Place {
        Place {
            flush: self.flush.get(i).unwrap_or(self.file),
            service_name: self.service_name.or_empty(i).to_owned(),
            timestamp_ns: self.timestamp.or_zero(i),
        }
    }
}

/// The spans table in parts, the earliest received first; only what may hold one of the traces.
pub async fn parts(session: &Session, trace_ids: &HashSet<String>) -> Result<Vec<Part>, QueryError> {
    let table = session.snapshot().table(Signal::Spans);
    let ids: Vec<&str> = trace_ids.iter().map(String::as_str).collect();
    let may_hold = session.trace_filters().may_hold(&table.files, &ids).await.map_err(QueryError::internal)?;
    let mut files: Vec<Arc<DataFile>> =
        table.files.iter().zip(may_hold).filter(|(_, may_hold)| *may_hold).map(|(file, _)| Arc::clone(file)).collect();
    files.sort_by_key(|file| file.received());
    let holds_one = |batch: &&Arc<MemoryBatch>| {
        let Ok(ids) = Columns(batch).text("trace_id") else { return true };
        (0..batch.num_rows()).any(|i| ids.get(i).is_some_and(|id| trace_ids.contains(id)))
    };
    let from_memory = table.memory.iter().filter(holds_one).map(|batch| Part::Memory((***batch).clone()));
    Ok(together(files).into_iter().map(Part::Files).chain(from_memory).collect())
}

/// Files that were merged from the same flushes, or from such between each other's, stay together.
fn together(files: Vec<Arc<DataFile>>) -> Vec<Vec<Arc<DataFile>>> {
    let mut groups: Vec<Vec<Arc<DataFile>>> = Vec::new();
    let mut last = i64::MIN;
    for file in files {
        let (from, to) = file.received();
        match groups.last_mut() {
            Some(group) if from <= last => group.push(file),
            _ => groups.push(vec![file]),
        }
        last = last.max(to);
    }
    groups
}

/// One file as a table of the session, with [`RECEIVED`] as a column.
pub fn register_file(session: &Session, file: &Arc<DataFile>) -> Result<(), QueryError> {
    session.register_received(PART, TableSnapshot { files: Arc::new(vec![Arc::clone(file)]), memory: Vec::new() })
}

/// A batch of the memory as a table of the session.
pub fn register_batch(session: &Session, batch: RecordBatch) -> Result<(), QueryError> {
    session.register_part(
        PART,
        Signal::Spans,
        TableSnapshot { files: Arc::default(), memory: MemoryBatch::all([batch]) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: i64, merged_from: Option<(i64, i64)>) -> Arc<DataFile> {
        Arc::new(DataFile {
            id,
            path: format!("/{id}").into(),
            size_bytes: 0,
            footer_bytes: 0,
            rows: 0,
            min_timestamp_ns: 0,
            max_timestamp_ns: 0,
            trace_filter: None,
            checksums: None,
            layout: None,
            merged_from,
        })
    }

    #[test]
    fn only_files_that_were_received_across_each_other_are_read_together() {
        let files = vec![
            file(1, None),
            file(9, Some((2, 4))),
            file(3, None),
            file(10, Some((4, 6))),
            file(7, None),
            file(11, Some((8, 8))),
        ];
        let groups: Vec<Vec<i64>> =
            together(files).iter().map(|group| group.iter().map(|file| file.id).collect()).collect();
        assert_eq!(groups, [vec![1], vec![9, 3, 10], vec![7], vec![11]]);
    }
}
