//! The merge itself: rows of sorted files in one order, window by window, into one file. A window is what can be written
//! because no row before its end is still unread. Never holds a whole file, and never looks at the catalog.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use orrery_model::{LearnedColumn, Table, TableName, TenantId, table};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::input::{Input, Keys, Need, Opened, unreadable};
use crate::fs::FileSystem;
use crate::lake::{LakeError, Steps};
use crate::parquet::{
    FileName, Gather, ROW_GROUP_BYTES, StreamWriter, Streamed, WrittenFile, create_folders, held_schema, io,
    keys_written, merged_schema, sync_folders,
};
use crate::{DataFile, FileFilter, FileLayout, LearnedColumns, VerifiedFile};

/// Rows of a batch that is read: more make the windows wider, and cost memory.
const MAX_BATCH_ROWS: usize = 8_192;
/// With fewer rows a batch, fewer files are merged at once instead.
const MIN_BATCH_ROWS: usize = 128;

/// What is to be merged, and into what.
pub(super) struct Job {
    pub(super) tenant: TenantId,
    pub(super) table: TableName,
    /// As in [`super::plan::HourId`].
    pub(super) hour: u32,
    /// Neighbours in the order of receipt.
    pub(super) files: Vec<Arc<DataFile>>,
    /// What the table has learned.
    pub(super) learned: Arc<LearnedColumns>,
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) data_path: PathBuf,
    pub(super) epoch: u64,
    /// Of this epoch's merges.
    pub(super) number: u32,
    pub(super) memory_bytes: usize,
}

/// Whom a merge tells and asks.
pub(super) struct Around<'a> {
    pub(super) steps: &'a Steps,
    /// Told of the file before it is made.
    pub(super) claim: &'a dyn Fn(&Path),
    /// Asked at every window; the merge stops where it says no.
    pub(super) goes_on: &'a dyn Fn() -> bool,
}

/// What a merge has written.
pub(super) struct Merged {
    pub(super) written: WrittenFile,
    /// The first of the job's files, as many as fitted into the memory.
    pub(super) files: Vec<Arc<DataFile>>,
}

impl Job {
    /// Writes the merged file to stable storage and reads its footer back. After an error the file is deleted.
    pub(super) fn run(mut self, around: &Around<'_>) -> Result<Merged, LakeError> {
        let mut opened: Vec<Opened> = self.files.iter().map(Opened::open).collect::<Result<_, _>>()?;
        let needs: Vec<Need> = opened.iter().map(|file| file.need(table(self.table))).collect();
        let (count, batch_rows) = fit(&needs, self.memory_bytes);
        opened.truncate(count);
        self.files.truncate(count);
        around.steps.reached("inputs are open");

        let relative_path = self.name().relative_path();
        let path = self.data_path.join(self.tenant.as_str()).join(self.table.as_str()).join(&relative_path);
        (around.claim)(&path);
        let learned = self.columns();
        let streamed = self.write(&path, opened, &learned, batch_rows, around).inspect_err(|_| {
            // One that cannot be deleted is an orphan.
            let _ = self.fs.unlink(&path);
        })?;
        let layout = FileLayout { map_keys: keys_written(&path), learned };
        let written = WrittenFile {
            tenant: self.tenant,
            table: self.table,
            path,
            relative_path,
            rows: streamed.rows,
            size_bytes: streamed.size_bytes,
            footer_bytes: streamed.footer_bytes,
            min_timestamp_ns: streamed.min_timestamp_ns,
            max_timestamp_ns: streamed.max_timestamp_ns,
            checksums: streamed.checksums,
            columns: streamed.columns,
            trace_filter: streamed.trace_filter,
            layout,
        };
        Ok(Merged { written, files: self.files })
    }

    fn name(&self) -> FileName {
        let first = self.files.iter().map(|file| file.received().0).min().expect("a job has files");
        let last = self.files.iter().map(|file| file.received().1).max().expect("a job has files");
        FileName::merged(self.epoch, (first, last), self.table, self.hour, self.number)
    }

    /// The learned columns of the merged file: those that a part has, and those whose keys may be in the maps of one.
    fn columns(&self) -> Vec<LearnedColumn> {
        let layouts = || self.files.iter().map(|file| file.layout.as_deref());
        let mut columns: BTreeSet<LearnedColumn> =
            layouts().flatten().flat_map(|layout| layout.learned.iter().cloned()).collect();
        let in_maps = |column: &LearnedColumn| {
            layouts().any(|layout| layout.is_none_or(|layout| !layout.lacks(column.scope, &column.key)))
        };
        columns.extend(self.learned.written().into_iter().filter(in_maps));
        columns.into_iter().collect()
    }

    fn write(
        &self,
        path: &Path,
        opened: Vec<Opened>,
        learned: &[LearnedColumn],
        batch_rows: usize,
        around: &Around<'_>,
    ) -> Result<Streamed, LakeError> {
        let table = table(self.table);
        let all = merged_schema(table, learned);
        let schema = held_schema(table, &all, |column| opened.iter().any(|file| file.holds(column)));
        let mut folders = BTreeSet::new();
        create_folders(&*self.fs, &self.data_path, path, &mut folders)?;
        let mut writer =
            StreamWriter::create(&*self.fs, path, table, Arc::clone(&schema), most_trace_ids(&self.files))?;
        let inputs = opened.into_iter().map(|file| file.read(table, &all, Arc::clone(&schema), learned, batch_rows));
        let mut inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
        let mut groups = 0;
        while let Some(window) = next_window(table, &mut inputs)? {
            if !(around.goes_on)() {
                return Err(LakeError::Stopped);
            }
            writer.write(&window.columns().map_err(|e| unreadable(path)(e.into()))?)?;
            if writer.row_groups() > groups {
                groups = writer.row_groups();
                around.steps.reached("a row group is written");
            }
        }
        drop(inputs);
        let streamed = writer.finish()?;
        around.steps.reached("the merge is written");
        streamed.sync().map_err(io("sync", path))?;
        sync_folders(&*self.fs, &folders)?;
        around.steps.reached("the merge is durable");
        verify(path, &self.files, &streamed)?;
        around.steps.reached("the merge is verified");
        Ok(streamed)
    }
}

/// How many of the files, the first ones, can be merged within the memory, and the rows of a batch. Two at least.
fn fit(needs: &[Need], memory_bytes: usize) -> (usize, usize) {
    let room = memory_bytes.saturating_sub(ROW_GROUP_BYTES);
    let batch_rows = |count: usize| {
        let needs = &needs[..count];
        let readers: usize = needs.iter().map(|need| need.reader_bytes).sum();
        // What is read, and once more while a window is put together.
        let row: usize = needs.iter().map(|need| 2 * need.row_bytes).sum();
        room.saturating_sub(readers) / row.max(1)
    };
    let count = (2..=needs.len()).rev().find(|count| batch_rows(*count) >= MIN_BATCH_ROWS).unwrap_or(2);
    (count.min(needs.len()), batch_rows(count.min(needs.len())).clamp(MIN_BATCH_ROWS, MAX_BATCH_ROWS))
}

/// Filters of ten bits an id say how many ids there are at most.
fn most_trace_ids(files: &[Arc<DataFile>]) -> usize {
    let of_file = |file: &Arc<DataFile>| {
        let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
        file.trace_filter.as_ref().map_or(0, FileFilter::most_ids).min(rows)
    };
    files.iter().map(of_file).sum()
}

/// Rows that come next, some of each of several batches.
struct Window {
    parts: Vec<RecordBatch>,
    /// Part and row of each; empty where there is one part, whose rows are in order.
    rows: Vec<(usize, usize)>,
}

impl Window {
    fn columns(&self) -> Result<Vec<ArrayRef>, arrow::error::ArrowError> {
        if self.rows.is_empty() {
            return Ok(self.parts[0].columns().to_vec());
        }
        let gather = Gather::new(&self.parts, &self.rows);
        (0..self.parts[0].num_columns()).map(|index| gather.read(&gather.column(index)?, 0..self.rows.len())).collect()
    }
}

/// Takes the rows that no unread row can stand before; `None` when all files are at their end.
fn next_window(table: &Table, inputs: &mut [Input]) -> Result<Option<Window>, LakeError> {
    inputs.iter_mut().try_for_each(Input::fill)?;
    let keys: Vec<Keys<'_>> = inputs.iter().map(Input::keys).collect();
    // The file whose last row that was read stands first: what follows it is not known.
    let unread = (0..inputs.len()).filter(|&i| !inputs[i].is_at_end);
    let end = unread.min_by(|&a, &b| keys[a].compare(keys[a].len() - 1, &keys[b], keys[b].len() - 1).then(a.cmp(&b)));
    let counts: Vec<usize> = (0..inputs.len())
        .map(|i| match end {
            None => keys[i].len(),
            Some(end) => rows_before(&keys[i], 0, &keys[end], keys[end].len() - 1, i <= end),
        })
        .collect();
    drop(keys);
    let parts: Vec<RecordBatch> =
        inputs.iter_mut().zip(counts).filter(|(_, count)| *count > 0).map(|(input, count)| input.take(count)).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let rows = if parts.len() == 1 { Vec::new() } else { merged_rows(table, &parts) };
    Ok(Some(Window { parts, rows }))
}

/// Part and row of all rows in order; rows of equal keys in the order of the parts.
fn merged_rows(table: &Table, parts: &[RecordBatch]) -> Vec<(usize, usize)> {
    let keys: Vec<Keys<'_>> = parts.iter().map(|part| Keys::of(table.order, part)).collect();
    let mut next = vec![0; parts.len()];
    // The parts by their next row.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|&a, &b| keys[a].compare(0, &keys[b], 0).then(a.cmp(&b)));
    let mut rows = Vec::with_capacity(parts.iter().map(RecordBatch::num_rows).sum());
    while let [first, others @ ..] = order.as_slice() {
        let (first, start) = (*first, next[*first]);
        let end = match others.first() {
            None => keys[first].len(),
            Some(&second) => start + rows_before(&keys[first], start, &keys[second], next[second], first < second),
        };
        rows.extend((start..end).map(|row| (first, row)));
        next[first] = end;
        if end == keys[first].len() {
            order.remove(0);
        } else {
            let place = others.partition_point(|&other| {
                keys[other].compare(next[other], &keys[first], end).then(other.cmp(&first)).is_lt()
            });
            order[..=place].rotate_left(1);
        }
    }
    rows
}

/// How many rows from `start` on stand before a bound, or are equal to it where that is `inclusive`. Few are found in few
/// steps, many in not many more.
fn rows_before(keys: &Keys<'_>, start: usize, bound: &Keys<'_>, bound_row: usize, inclusive: bool) -> usize {
    let is_before = |row: usize| {
        let order = keys.compare(row, bound, bound_row);
        order.is_lt() || inclusive && order.is_eq()
    };
    let len = keys.len() - start;
    let mut high = 1;
    while high <= len && is_before(start + high - 1) {
        high *= 2;
    }
    // Before `high / 2` all are, at `high - 1` none is any more.
    let (mut low, mut high) = (high / 2, (high - 1).min(len));
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(start + middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Reads the file back from the disk: every byte must be what was written, and the footer must say what the catalog is
/// about to say.
fn verify(path: &Path, files: &[Arc<DataFile>], streamed: &Streamed) -> Result<(), LakeError> {
    let written = Arc::new(DataFile {
        id: 0,
        path: path.to_owned(),
        size_bytes: streamed.size_bytes,
        footer_bytes: streamed.footer_bytes,
        rows: streamed.rows,
        min_timestamp_ns: streamed.min_timestamp_ns,
        max_timestamp_ns: streamed.max_timestamp_ns,
        trace_filter: None,
        checksums: streamed.checksums,
        merged_from: None,
        layout: None,
    });
    let file = VerifiedFile::open(&written).map_err(|error| unreadable(path)(error.into()))?;
    file.verify().map_err(|error| unreadable(path)(error.into()))?;
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&file)
        .map_err(unreadable(path))?;
    let merged: u64 = files.iter().map(|file| file.rows).sum();
    let in_groups: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    let times = files.iter().map(|file| (file.min_timestamp_ns, file.max_timestamp_ns));
    let (min, max) = (times.clone().map(|t| t.0).min(), times.map(|t| t.1).max());
    let in_footer = metadata.file_metadata().num_rows().cast_unsigned();
    let wrong = if [in_footer, in_groups.cast_unsigned(), streamed.rows].iter().any(|rows| *rows != merged) {
        Some(format!("it has {in_footer} rows, {in_groups} in row groups, and {merged} were to be merged"))
    } else if (min, max) != (Some(streamed.min_timestamp_ns), Some(streamed.max_timestamp_ns)) {
        Some("its times are others than those of its parts".to_owned())
    } else {
        None
    };
    wrong.map_or(Ok(()), |message| Err(unreadable(path)(ParquetError::General(message))))
}

#[cfg(test)]
mod tests;
