//! The order in which spans were received, as far as it matters: copies of a span that differ. Files in the order of
//! their flushes, then the memory's batches as they were acknowledged; no column says it.

use std::sync::Arc;

use hashbrown::HashSet;
use orrery_model::Signal;
use orrery_storage::{DataFile, TableSnapshot};

use crate::Session;
use crate::columns::Columns;

/// The table that a part is while it is read.
pub const PART: &str = "spans_received_together";

/// The spans table in parts, the earliest received first; only those parts that may hold one of the traces.
pub fn parts(session: &Session, trace_ids: &HashSet<String>) -> Vec<TableSnapshot> {
    let table = session.snapshot().table(Signal::Spans);
    let mut files: Vec<&Arc<DataFile>> = table
        .files
        .iter()
        .filter(|file| file.trace_filter.as_ref().is_none_or(|f| trace_ids.iter().any(|id| f.may_contain(id))))
        .collect();
    files.sort_by_key(|file| file.id);
    let from_files =
        files.into_iter().map(|file| TableSnapshot { files: Arc::new(vec![Arc::clone(file)]), memory: Vec::new() });
    let holds_one = |batch: &&arrow::array::RecordBatch| {
        let Ok(ids) = Columns(batch).text("trace_id") else { return true };
        (0..batch.num_rows()).any(|i| ids.get(i).is_some_and(|id| trace_ids.contains(id)))
    };
    let from_memory = table
        .memory
        .iter()
        .filter(holds_one)
        .map(|batch| TableSnapshot { files: Arc::default(), memory: vec![batch.clone()] });
    from_files.chain(from_memory).collect()
}
