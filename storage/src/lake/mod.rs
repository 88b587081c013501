//! The lake: the data files that the catalog names, and the way sealed batches become such files. Never holds rows in
//! memory, and never makes a file visible or takes one away except by one transaction of the catalog.

mod error;
mod expire;
mod learn;
mod steps;
mod torn;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use orrery_model::{SnapshotId, TableName, TenantId};
use tokio::sync::Mutex;

use crate::catalog::{Catalog, Committed};
use crate::fs::{FileSystem, RealFileSystem};
use crate::parquet::{FileName, FlushName, WRITER, WrittenFile, io, write_files};
use crate::{DataFile, FileFilter, Learned, Rollups, TraceFilters};

pub use error::{LakeError, LearnError};
pub use expire::Expired;
pub use steps::Steps;
pub(crate) use torn::unknown_files;

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
    /// The columns that the tables have learned.
    pub learned: Arc<Learned>,
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

/// The data files of a data folder and their catalog. Dropping it loses nothing.
pub struct Lake {
    /// What data files are written, synced and removed by.
    fs: Arc<dyn FileSystem>,
    data_path: PathBuf,
    epoch: u64,
    flushed_sequence: AtomicU64,
    settled_sequence: AtomicU64,
    view: ArcSwap<LakeView>,
    /// Held through a flush: flushes follow one another, and all other commits come between two of them.
    catalog: Arc<Mutex<Catalog>>,
    /// Files that are in no newer view, by id, for as long as they are on the disk: held by whoever still reads them.
    retired: parking_lot::Mutex<HashMap<i64, Weak<DataFile>>>,
    /// Files that are being written beside the flushes, and not in the catalog yet.
    writing: parking_lot::Mutex<HashSet<PathBuf>>,
    horizon: parking_lot::Mutex<expire::Horizon>,
    steps: Steps,
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
        Self::open_told(dir, fs, Steps::default()).await
    }

    /// Like [`Lake::open_on`], with a listener that is told of each step of a change.
    pub async fn open_told(dir: &Path, fs: Arc<dyn FileSystem>, steps: Steps) -> Result<Self, LakeError> {
        // Absolute, since DuckDB takes a relative one from its own working folder.
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let dir = dir.canonicalize().map_err(io("find", dir))?;
        let data_path = dir.join("data");
        fs.create_dir(&data_path).map_err(io("create", &data_path))?;
        let mut catalog = Catalog::open(&dir.join(CATALOG_FILE), &data_path, WRITER, steps.clone()).await?;
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
        torn::remove_torn_files(&*fs, &data_path, &referenced)?;
        let settled = if catalog.settle().await? { catalog.flushed_sequence } else { 0 };
        Ok(Self {
            fs,
            epoch: catalog.epoch,
            flushed_sequence: AtomicU64::new(catalog.flushed_sequence),
            settled_sequence: AtomicU64::new(settled),
            view: ArcSwap::from_pointee(view),
            catalog: Arc::new(Mutex::new(catalog)),
            retired: parking_lot::Mutex::default(),
            writing: parking_lot::Mutex::default(),
            horizon: parking_lot::Mutex::default(),
            steps,
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

    /// What is counted beforehand of the hours of spans.
    pub fn rollups(&self) -> Rollups {
        Rollups::new(self.data_path.parent().expect("the data files are in the lake's folder").join(CATALOG_FILE))
    }

    pub(crate) fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    pub(crate) fn data_path(&self) -> &Path {
        &self.data_path
    }

    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Files that are being written beside the flushes: no orphans.
    pub(crate) fn writing(&self) -> &parking_lot::Mutex<HashSet<PathBuf>> {
        &self.writing
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
        let (fs, data_path, learned) = (Arc::clone(&self.fs), self.data_path.clone(), catalog.learned());
        // The files' thread holds the catalog, so that a caller who goes away does not let a repeated flush write the same
        // files beside it.
        let (mut catalog, files) =
            tokio::task::spawn_blocking(move || (catalog, write_files(&*fs, &data_path, &name, sealed, &learned)))
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
        let view = Arc::new(edited(&current, committed.snapshot, &[], added(&committed, files)));
        self.view.store(Arc::clone(&view));
        self.flushed_sequence.store(through, Ordering::Release);
        Ok(view)
    }

    /// Takes files out of the lake at once: whole hours that need not be kept. They stay on the disk until
    /// [`Lake::expire`]. [`LakeError::LostRace`] where one is not live any more: then all stay.
    pub async fn remove(&self, ids: &[i64]) -> Result<Arc<LakeView>, LakeError> {
        self.replace(ids, Vec::new()).await
    }

    /// Puts files in the place of others at once, or changes nothing; then the written files are deleted.
    pub(crate) async fn replace(&self, removed: &[i64], written: Vec<WrittenFile>) -> Result<Arc<LakeView>, LakeError> {
        let mut catalog = Arc::clone(&self.catalog).lock_owned().await;
        let committed = match catalog.replace(removed, &written).await {
            Err(error @ LakeError::Database { .. }) => match catalog.find_replaced(removed, &written).await {
                Ok(Some(committed)) => Ok(committed),
                Ok(None) => Err(error),
                // It may have happened. The files stay: a later start or a search for orphans decides.
                Err(_) => return Err(error),
            },
            known => known,
        };
        let committed = committed.inspect_err(|_| {
            for file in &written {
                // One that cannot be deleted is an orphan.
                let _ = self.fs.unlink(&file.path);
            }
        })?;
        let current = self.view();
        // Where another program has written, the next flush must find out and read everything again.
        let id = if committed.parent == current.id { committed.snapshot } else { current.id };
        self.retire(&current, removed);
        let view = Arc::new(edited(&current, id, removed, added(&committed, written)));
        self.view.store(Arc::clone(&view));
        Ok(view)
    }

    /// Remembers who reads the files that are about to leave the view.
    fn retire(&self, view: &LakeView, removed: &[i64]) {
        let removed: HashSet<i64> = removed.iter().copied().collect();
        let mut retired = self.retired.lock();
        for file in view.tables.values().flatten().flat_map(|files| files.iter()) {
            if removed.contains(&file.id) {
                retired.insert(file.id, Arc::downgrade(file));
            }
        }
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

fn is_referenced(file: &DataFile, data_path: &Path, referenced: &HashSet<String>) -> bool {
    let relative = file.path.strip_prefix(data_path).ok().and_then(Path::to_str);
    relative.is_some_and(|path| referenced.contains(path))
}

/// How many of the last files a new one is compared with.
const ALIKE: usize = 16;

/// The files of a commit as readers see them.
fn added(committed: &Committed, files: Vec<WrittenFile>) -> Vec<(TenantId, TableName, DataFile)> {
    let with_id = |(&id, file): (&i64, WrittenFile)| {
        let data_file = DataFile {
            id,
            merged_from: FileName::of_path(&file.relative_path).and_then(|name| name.merged_from()),
            path: file.path,
            size_bytes: file.size_bytes,
            footer_bytes: file.footer_bytes,
            rows: file.rows,
            min_timestamp_ns: file.min_timestamp_ns,
            max_timestamp_ns: file.max_timestamp_ns,
            trace_filter: file.trace_filter.map(|filter| FileFilter::stored(&filter.to_bytes())),
            checksums: file.checksums,
            layout: Some(Arc::new(file.layout)),
        };
        (file.tenant, file.table, data_file)
    };
    committed.file_ids.iter().zip(files).map(with_id).collect()
}

/// The view without the files `removed` and with those that were added, whose ids are the greatest.
fn edited(before: &LakeView, id: SnapshotId, removed: &[i64], added: Vec<(TenantId, TableName, DataFile)>) -> LakeView {
    let mut view = LakeView { id, tables: before.tables.clone(), learned: Arc::clone(&before.learned) };
    let removed: HashSet<i64> = removed.iter().copied().collect();
    if !removed.is_empty() {
        for files in view.tables.values_mut().flatten() {
            if files.iter().any(|file| removed.contains(&file.id)) {
                Arc::make_mut(files).retain(|file| !removed.contains(&file.id));
            }
        }
    }
    for (tenant, table, mut file) in added {
        let of_table = Arc::make_mut(&mut view.tables.entry(tenant).or_default()[table.index()]);
        // The files of one stream are mostly alike, and share what is said of them.
        let mut last = of_table.iter().rev().take(ALIKE).map(|other| &other.layout);
        if let Some(layout) = last.find(|layout| **layout == file.layout) {
            file.layout.clone_from(layout);
        }
        of_table.push(Arc::new(file));
    }
    view
}
