//! Parquet files: the sealed batches of a flush in, durable sorted files out, one a table and hour; and rows that come
//! sorted, as one file. Never touches the catalog, so a file means nothing until a commit names it.

mod encode;
mod encoders;
mod gather;
mod held;
mod learned;
mod map_keys;
mod name;
mod order;
mod properties;
mod received;
mod stream;
mod text;
mod tokens;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use orrery_model::{TableName, TenantId};

pub(crate) use gather::Gather;
pub(crate) use held::is_null_in;
pub(crate) use learned::learn;
pub(crate) use map_keys::keys_written;
pub use map_keys::{MapKeys, map_keys};
pub(crate) use name::{FileName, WRITER};
pub use order::ORDER_KEY;
pub(crate) use order::{MIXED, hour_of, of_file, second_of};
pub use properties::always_there;
pub use received::{RECEIVED, spans_received};
pub(crate) use received::{held_schema, merged_schema};
pub(crate) use stream::{ROW_GROUP_BYTES, StreamWriter, Streamed};

use crate::checksum::Checksums;
use crate::fs::{File, FileSystem};
use crate::lake::{LakeError, SealedBatch};
use crate::{FileLayout, Learned, TraceFilter};

/// A file on stable storage that no snapshot names yet.
#[derive(Debug)]
pub(crate) struct WrittenFile {
    pub(crate) tenant: TenantId,
    pub(crate) table: TableName,
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Below the table's folder, with `/`.
    pub(crate) relative_path: String,
    pub(crate) rows: u64,
    pub(crate) size_bytes: u64,
    /// Of the footer's Thrift structure, without the eight bytes that end the file.
    pub(crate) footer_bytes: u64,
    pub(crate) min_timestamp_ns: i64,
    pub(crate) max_timestamp_ns: i64,
    /// Of the columns that prune.
    pub(crate) columns: Vec<ColumnStatistics>,
    pub(crate) trace_filter: Option<TraceFilter>,
    pub(crate) checksums: Option<Checksums>,
    pub(crate) layout: FileLayout,
}

#[derive(Debug)]
pub(crate) struct ColumnStatistics {
    /// Of the column in the table's schema.
    pub(crate) index: usize,
    /// Compressed.
    pub(crate) size_bytes: u64,
    pub(crate) nulls: u64,
    pub(crate) range: ColumnRange,
}

/// Smallest and greatest value, inclusive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ColumnRange {
    Timestamp(i64, i64),
    Text(String, String),
    /// All NULL, or too long to be worth keeping.
    Unknown,
}

/// How many files of a flush are open at a time, before they are synced together.
const MAX_UNSYNCED: usize = 64;

/// What the names of a flush's files say.
#[derive(Clone, Debug)]
pub(crate) struct FlushName {
    pub(crate) writer: String,
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Writes the files of a flush below `data_path`, and the folders that hold them, to stable storage, with the columns that
/// their tables have learned. Batches of a tenant and table are released as soon as their files are written. After an error none of the files is left, so that a full
/// disk has its room back.
pub(crate) fn write_files(
    fs: &dyn FileSystem,
    data_path: &Path,
    name: &FlushName,
    sealed: Vec<SealedBatch>,
    learned: &Learned,
) -> Result<Vec<WrittenFile>, LakeError> {
    let mut paths = Vec::new();
    let written = write_groups(fs, data_path, name, sealed, learned, &mut paths);
    if written.is_err() {
        for path in paths {
            // One that cannot be removed either is removed by the next start.
            let _ = fs.unlink(&path);
        }
    }
    written
}

/// Writes the files and puts the path of each in `paths` before it is there.
fn write_groups(
    fs: &dyn FileSystem,
    data_path: &Path,
    name: &FlushName,
    sealed: Vec<SealedBatch>,
    learned: &Learned,
    paths: &mut Vec<PathBuf>,
) -> Result<Vec<WrittenFile>, LakeError> {
    let mut groups: BTreeMap<(TenantId, TableName), Vec<RecordBatch>> = BTreeMap::new();
    for SealedBatch { tenant, table, batch } in sealed {
        if batch.num_rows() > 0 {
            groups.entry((tenant, table)).or_default().push(batch);
        }
    }
    let mut files = Vec::new();
    let mut unsynced = Vec::new();
    let mut folders = BTreeSet::new();
    while let Some(((tenant, table), batches)) = groups.pop_first() {
        let described = orrery_model::table(table);
        let folder = data_path.join(tenant.as_str()).join(table.as_str());
        let fail = |error: ArrowError| LakeError::Parquet { path: folder.clone(), source: error.into() };
        let (batches, columns) = learned::learn_all(batches, &learned.of(&tenant, table).written()).map_err(fail)?;
        for run in order::sorted_runs(described, &batches) {
            let relative_path = FileName::new(name, table, run.hour).relative_path();
            let path = folder.join(&relative_path);
            create_folders(fs, data_path, &path, &mut folders)?;
            paths.push(path.clone());
            let encoded = encode::write_run(fs, &path, described, &columns, &batches, &run)?;
            unsynced.push((path.clone(), encoded.file));
            if unsynced.len() == MAX_UNSYNCED {
                sync_files(&mut unsynced)?;
            }
            let layout = FileLayout { map_keys: keys_written(&path), learned: columns.clone() };
            files.push(WrittenFile {
                tenant: tenant.clone(),
                table,
                path,
                relative_path,
                rows: run.rows.len() as u64,
                size_bytes: encoded.size_bytes,
                footer_bytes: encoded.footer_bytes,
                min_timestamp_ns: run.min_timestamp_ns,
                max_timestamp_ns: run.max_timestamp_ns,
                columns: encoded.columns,
                trace_filter: encoded.trace_filter,
                checksums: encoded.checksums,
                layout,
            });
        }
    }
    sync_files(&mut unsynced)?;
    sync_folders(fs, &folders)?;
    Ok(files)
}

/// One after another, but none before all are written: the first to be synced takes most of the others' work with it.
pub(crate) fn sync_files(files: &mut Vec<(PathBuf, Box<dyn File>)>) -> Result<(), LakeError> {
    files.drain(..).try_for_each(|(path, file)| file.sync_data().map_err(io("sync", &path)))
}

/// Makes the folders that a data file lies in, from the data folder down, and puts them, the data folder too, in
/// `folders`, by which each is made once.
pub(crate) fn create_folders(
    fs: &dyn FileSystem,
    data_path: &Path,
    file: &Path,
    folders: &mut BTreeSet<PathBuf>,
) -> Result<(), LakeError> {
    let above: Vec<_> = file.ancestors().skip(1).take_while(|folder| folder.starts_with(data_path)).collect();
    for folder in above.into_iter().rev() {
        if folders.insert(folder.to_owned()) && folder != data_path {
            fs.create_dir(folder).map_err(io("create a folder for", file))?;
        }
    }
    Ok(())
}

/// A new file's name is durable only when its folder is, up to the data folder.
pub(crate) fn sync_folders(fs: &dyn FileSystem, folders: &BTreeSet<PathBuf>) -> Result<(), LakeError> {
    // Parents sort before their children; the innermost goes first.
    folders.iter().rev().try_for_each(|folder| fs.sync_dir(folder).map_err(io("sync", folder)))
}

/// Names the operation and the path that an I/O error broke.
pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LakeError {
    let path = path.to_owned();
    move |source| LakeError::Io { operation, path, source }
}
