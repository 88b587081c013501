//! The order in which spans were received, as far as it matters: copies of a span that differ. Files in the order of
//! their flushes, then the memory's batches as they were acknowledged; no column says it.

use std::sync::Arc;

use hashbrown::HashSet;
use orrery_model::Signal;
use orrery_storage::{DataFile, TableSnapshot};

use crate::columns::Columns;
use crate::{QueryError, Session};

/// The table that a part is while it is read.
pub const PART: &str = "spans_received_together";

/// The spans table in parts, the earliest received first; only those parts that may hold one of the traces.
pub async fn parts(session: &Session, trace_ids: &HashSet<String>) -> Result<Vec<TableSnapshot>, QueryError> {
    let table = session.snapshot().table(Signal::Spans);
    let ids: Vec<&str> = trace_ids.iter().map(String::as_str).collect();
    let may_hold = session.trace_filters().may_hold(&table.files, &ids).await.map_err(QueryError::internal)?;
    let mut files: Vec<&Arc<DataFile>> =
        table.files.iter().zip(may_hold).filter(|(_, may_hold)| *may_hold).map(|(file, _)| file).collect();
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
    Ok(from_files.chain(from_memory).collect())
}
