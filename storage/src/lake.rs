//! The lake: the data files that the catalog names, and the way sealed batches become such files. Never holds rows in
//! memory, and never makes a file visible except by the one transaction of a flush.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use orrery_model::{SnapshotId, TableName, TenantId};
use tokio::sync::Mutex;

use crate::catalog::{Catalog, Committed};
use crate::fs::{FileSystem, RealFileSystem};
use crate::parquet::{FileName, FlushName, WrittenFile, io, write_files};
use crate::{DataFile, FileFilter, TraceFilters};

/// The name of the only writer of a lake with a local catalog.
const WRITER: &str = "local";

/// Within the lake's folder.
pub(crate) const CATALOG_FILE: &str = "catalog.sqlite";

/// Rows of one request on their way into files.
#[derive(Clone, Debug)]
pub struct SealedBatch {
    pub tenant: TenantId,
    pub table: TableName,
    /// With the table's schema.
    pub batch: RecordBatch,
}

/// The live data files of one catalog snapshot.
#[derive(Clone, Debug)]
pub struct LakeView {
    pub id: SnapshotId,
    /// Indexed by [`TableName::index`], files in the order of their ids.
    pub tables: HashMap<TenantId, [Arc<Vec<Arc<DataFile>>>; TableName::COUNT]>,
}

impl LakeView {
    /// The files of all tenants and tables, in no order.
    pub fn all_files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.tables.values().flatten().flat_map(|files| files.iter())
    }

    /// The files of a table; none for a tenant without any.
    pub fn files(&self, tenant: &TenantId, table: impl Into<TableName>) -> Arc<Vec<Arc<DataFile>>> {
        self.tables.get(tenant).map(|tables| Arc::clone(&tables[table.into().index()])).unwrap_or_default()
    }
}

/// Why the lake could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("could not {operation}")]
    Database { operation: &'static str, source: sqlx::Error },
    #[error("could not {operation} {path}")]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
    #[error("could not write the data file {path}")]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("the catalog has format version {found}, and this Orrery knows {supported} and older: use a newer Orrery")]
    NewerFormat { found: i64, supported: i64 },
    #[error("the catalog is a DuckLake that Orrery did not create: use another data folder")]
    Foreign,
    #[error(
        "column {column} of table {table} is not the one that this Orrery writes: the data folder is another version's"
    )]
    SchemaMismatch { table: String, column: String },
    #[error("the catalog is damaged: {0}")]
    Corrupt(String),
    #[error(
        "writer {writer} of epoch {epoch} is no longer the one that may write this lake, or has flushed this before"
    )]
    Fenced { writer: String, epoch: u64 },
    #[error("the flush was given sequences {first} to {through}, which is no range after {flushed}")]
    Sequence { first: u64, through: u64, flushed: u64 },
}

impl LakeError {
    /// Whether the same call may succeed later: a full disk, a locked database.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Io { .. } | Self::Parquet { .. })
    }
}

/// The data files of a data folder and their catalog. Dropping it loses nothing.
pub struct Lake {
    /// What data files are written, synced and removed by.
    fs: Arc<dyn FileSystem>,
    data_path: PathBuf,
    epoch: u64,
    flushed_sequence: AtomicU64,
    settled_sequence: AtomicU64,
    view: ArcSwap<LakeView>,
    /// Held through a flush: flushes follow one another.
    catalog: Arc<Mutex<Catalog>>,
}

impl Lake {
    /// Opens `dir/catalog.sqlite` and `dir/data/`, creating what is missing, and removes the files that a torn flush left.
    /// The caller holds the folder's lock.
    pub async fn open(dir: &Path) -> Result<Self, LakeError> {
        Self::open_on(dir, Arc::new(RealFileSystem)).await
    }

    /// Like [`Lake::open`], with the file system that changes below `data/` go through. What it writes must be readable
    /// at the same path; the catalog is a real file.
    pub async fn open_on(dir: &Path, fs: Arc<dyn FileSystem>) -> Result<Self, LakeError> {
        // Absolute, since DuckDB takes a relative one from its own working folder.
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let dir = dir.canonicalize().map_err(io("find", dir))?;
        let data_path = dir.join("data");
        fs.create_dir(&data_path).map_err(io("create", &data_path))?;
        let mut catalog = Catalog::open(&dir.join(CATALOG_FILE), &data_path, WRITER).await?;
        fs.sync_dir(&dir).map_err(io("sync", &dir))?;
        // Read, and with that checked, before anything is removed by what the catalog says.
        let view = catalog.load_view(&data_path).await?;
        let referenced = catalog.referenced_paths().await?;
        if let Some(file) = view.all_files().find(|file| !is_referenced(file, &data_path, &referenced)) {
            return Err(LakeError::Corrupt(format!(
                "the folders of data file {} have other names",
                file.path.display()
            )));
        }
        remove_torn_files(&*fs, &data_path, &referenced)?;
        let settled = if catalog.settle().await? { catalog.flushed_sequence } else { 0 };
        Ok(Self {
            fs,
            epoch: catalog.epoch,
            flushed_sequence: AtomicU64::new(catalog.flushed_sequence),
            settled_sequence: AtomicU64::new(settled),
            view: ArcSwap::from_pointee(view),
            catalog: Arc::new(Mutex::new(catalog)),
            data_path,
        })
    }

    /// The sequence up to which the log is in the files.
    pub fn flushed_sequence(&self) -> u64 {
        self.flushed_sequence.load(Ordering::Acquire)
    }

    /// The sequence up to which the log is in the files beyond doubt: not only committed, but in the catalog file itself. A
    /// damaged log of SQLite's takes back what was committed since, and then the log has it.
    pub fn settled_sequence(&self) -> u64 {
        self.settled_sequence.load(Ordering::Acquire)
    }

    /// How often this lake has been opened for writing, this time included.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The trace filters of this lake's files, of which at most about `cache_bytes` stay in memory.
    pub fn trace_filters(&self, cache_bytes: usize) -> TraceFilters {
        let folder = self.data_path.parent().expect("the data files are in the lake's folder");
        TraceFilters::new(folder.join(CATALOG_FILE), cache_bytes)
    }

    /// The files of the newest snapshot.
    pub fn view(&self) -> Arc<LakeView> {
        self.view.load_full()
    }

    /// Writes the batches of the sequences `first..=through` as files and commits them with the watermark: all of it is in
    /// the lake when this returns, or none. May be repeated after an error; what had been committed after all is then
    /// not written again.
    pub async fn flush(&self, first: u64, through: u64, sealed: Vec<SealedBatch>) -> Result<Arc<LakeView>, LakeError> {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let flushed = catalog.read_watermark().await?;
        if flushed == through && first <= through && self.flushed_sequence() < first {
            return self.reload(&mut catalog).await;
        }
        if first <= flushed || through < first {
            return Err(LakeError::Sequence { first, through, flushed });
        }
        let name = FlushName { writer: WRITER.to_owned(), epoch: self.epoch, first, last: through };
        let (fs, data_path) = (Arc::clone(&self.fs), self.data_path.clone());
        // The files' thread holds the catalog, so that a caller who goes away does not let a repeated flush write the same
        // files beside it.
        let (mut catalog, files) =
            tokio::task::spawn_blocking(move || (catalog, write_files(&*fs, &data_path, &name, sealed)))
                .await
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let files = files?;
        let committed = catalog.commit(first, through, &files).await?;
        match catalog.settle().await {
            Ok(true) => self.settled_sequence.store(through, Ordering::Release),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the catalog's log is kept until the next flush"),
        }
        let current = self.view();
        if committed.parent != current.id {
            return self.reload(&mut catalog).await;
        }
        let view = Arc::new(with_files(&current, &committed, files));
        self.view.store(Arc::clone(&view));
        self.flushed_sequence.store(through, Ordering::Release);
        Ok(view)
    }

    /// Closes the catalog, so that its file holds everything and no log stands beside it.
    pub async fn close(self) -> Result<(), LakeError> {
        match Arc::into_inner(self.catalog) {
            Some(catalog) => catalog.into_inner().close().await,
            // An abandoned flush is still writing; it drops the catalog when it ends.
            None => Ok(()),
        }
    }

    async fn reload(&self, catalog: &mut Catalog) -> Result<Arc<LakeView>, LakeError> {
        catalog.reload_tenants().await?;
        let view = Arc::new(catalog.load_view(&self.data_path).await?);
        self.view.store(Arc::clone(&view));
        self.flushed_sequence.store(catalog.flushed_sequence, Ordering::Release);
        Ok(view)
    }
}

fn is_referenced(file: &DataFile, data_path: &Path, referenced: &std::collections::HashSet<String>) -> bool {
    let relative = file.path.strip_prefix(data_path).ok().and_then(Path::to_str);
    relative.is_some_and(|path| referenced.contains(path))
}

/// The view after a commit: the files before it and the new ones.
fn with_files(before: &LakeView, committed: &Committed, files: Vec<WrittenFile>) -> LakeView {
    let mut view = LakeView { id: committed.snapshot, tables: before.tables.clone() };
    for (&id, file) in committed.file_ids.iter().zip(files) {
        let tables = view.tables.entry(file.tenant).or_default();
        Arc::make_mut(&mut tables[file.table.index()]).push(Arc::new(DataFile {
            id,
            path: file.path,
            size_bytes: file.size_bytes,
            footer_bytes: file.footer_bytes,
            rows: file.rows,
            min_timestamp_ns: file.min_timestamp_ns,
            max_timestamp_ns: file.max_timestamp_ns,
            trace_filter: file.trace_filter.map(|filter| FileFilter::stored(&filter.to_bytes())),
            checksums: file.checksums,
        }));
    }
    view
}

/// Removes this writer's files that no snapshot names. The rows of a file that was never committed are in the log.
/// Files whose names are not ours are left alone.
fn remove_torn_files(
    fs: &dyn FileSystem,
    data_path: &Path,
    referenced: &std::collections::HashSet<String>,
) -> Result<(), LakeError> {
    let mut folders = vec![data_path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(io("list", &folder))? {
            let entry = entry.map_err(io("list", &folder))?;
            let path = entry.path();
            if entry.file_type().map_err(io("look at", &path))?.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(data_path).expect("the file was found below the data folder");
            let (Some(relative), Some(name)) = (relative.to_str(), path.file_name().and_then(|name| name.to_str()))
            else {
                continue;
            };
            let ours = FileName::parse(name).is_some_and(|name| name.writer == WRITER);
            if ours && !referenced.contains(relative) {
                fs.unlink(&path).map_err(io("remove the torn file", &path))?;
                tracing::info!(file = relative, "removed a data file that was never committed");
            }
        }
    }
    Ok(())
}
