//! What the tests share: a request is its number, its rows are numbered log records; a model of the lake whose commits
//! the power can go at, or the real lake with its data files on the same disk as the log; and the reading of every row
//! that a store shows.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{ArrayData, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, make_array, new_null_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};
use futures::FutureExt;
use futures::future::BoxFuture;
use orrery_model::{Clock, Signal, SnapshotId, TenantId, table};
use orrery_storage::fs::FileSystem;
use orrery_storage::store::{BoxError, FlushTarget};
use orrery_storage::{
    Append, AppendError, Appended, Decode, Lake, LakeView, SealedBatch, Store, StoreConfig, StoreError,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use tokio::sync::OnceCell;

use super::disk::{Call, Disk};
use crate::torture::scratch;

pub const ROWS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(20);
const HOUR_NS: i64 = 3_600_000_000_000;

/// A clock that stands still.
pub struct Still(pub i64);

impl Clock for Still {
    fn now_ns(&self) -> i64 {
        self.0
    }
}

pub const NOW: i64 = 1_700_000_000_000_000_000;

/// Reads the bodies that [`request`] makes.
pub struct Numbered;

impl Decode for Numbered {
    fn decode(&self, signal: Signal, body: &[u8], received_ns: i64) -> Result<RecordBatch, String> {
        let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
        let id = text.split(' ').next().unwrap_or_default().parse().map_err(|_| format!("{text} has no number"))?;
        Ok(batch(signal, id, received_ns))
    }
}

/// A request of [`ROWS`] log records, and a body of a few hundred bytes that does not compress.
pub fn request(id: i64) -> Append {
    let mut noise = id.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut body = format!("{id} ");
    for _ in 0..40 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        body += &format!("{noise:x}");
    }
    Append {
        tenant: TenantId::default(),
        signal: Signal::Logs,
        received_ns: NOW,
        batch: batch(Signal::Logs, id, NOW),
        body_hash: Some(id.cast_unsigned().into()),
        body: body.into(),
    }
}

fn batch(signal: Signal, id: i64, received_ns: i64) -> RecordBatch {
    let schema = &table(signal).schema;
    let columns = schema.fields().iter().map(|field| column(field, id, received_ns)).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn column(field: &Field, id: i64, received_ns: i64) -> ArrayRef {
    match (field.name().as_str(), field.data_type()) {
        // Of two hours, so that a flush writes more than one file.
        ("timestamp", _) => {
            Arc::new(arrow::array::TimestampNanosecondArray::from(vec![received_ns - id % 2 * HOUR_NS; ROWS]))
        }
        ("body", _) => Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("{id}/{row}")))),
        (_, data_type) if field.is_nullable() => new_null_array(data_type, ROWS),
        (_, DataType::Utf8) => Arc::new(StringArray::from(vec!["x"; ROWS])),
        (_, DataType::Int64) => Arc::new(Int64Array::from(vec![0; ROWS])),
        (_, data_type @ (DataType::Map(child, _) | DataType::List(child))) => {
            let offsets = Buffer::from_vec(vec![0_i32; ROWS + 1]);
            let child = ArrayData::new_empty(child.data_type());
            let data = ArrayData::builder(data_type.clone()).len(ROWS).add_buffer(offsets).add_child_data(child);
            make_array(data.build().unwrap())
        }
        (name, data_type) => panic!("no default for {name}: {data_type}"),
    }
}

/// A lake in memory. A commit is one call of the disk: the power goes before it or after it.
pub struct ModelLake {
    disk: Disk,
    pub state: Arc<Mutex<ModelState>>,
}

#[derive(Default)]
pub struct ModelState {
    pub flushed: u64,
    pub commits: Vec<Vec<RecordBatch>>,
    /// Flushes fail while this is set.
    pub failing: bool,
}

impl ModelLake {
    pub fn new(disk: &Disk, state: &Arc<Mutex<ModelState>>) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), state: Arc::clone(state) })
    }
}

impl FlushTarget for ModelLake {
    fn flushed_sequence(&self) -> u64 {
        self.state.lock().unwrap().flushed
    }

    fn view(&self) -> Arc<LakeView> {
        let id = SnapshotId(i64::try_from(self.state.lock().unwrap().commits.len()).unwrap());
        Arc::new(LakeView { id, tables: std::collections::HashMap::new(), learned: Arc::default() })
    }

    fn flush(
        &self,
        first: u64,
        through: u64,
        sealed: Vec<SealedBatch>,
    ) -> BoxFuture<'_, Result<Arc<LakeView>, BoxError>> {
        async move {
            self.disk.step(Call::Commit, |_| {
                let mut state = self.state.lock().unwrap();
                if state.failing {
                    return Err(std::io::ErrorKind::StorageFull.into());
                }
                assert!(first > state.flushed && through >= first, "{first}..={through} after {}", state.flushed);
                state.flushed = through;
                state.commits.push(sealed.into_iter().map(|s| s.batch).collect());
                Ok(())
            })?;
            Ok(self.view())
        }
        .boxed()
    }
}

/// The lake, with the power going after a commit too. Before it the power goes with the last call that the files take.
struct Cut {
    lake: Lake,
    disk: Disk,
}

impl FlushTarget for Cut {
    fn flushed_sequence(&self) -> u64 {
        self.lake.flushed_sequence()
    }

    fn settled_sequence(&self) -> u64 {
        self.lake.settled_sequence()
    }

    fn view(&self) -> Arc<LakeView> {
        self.lake.view()
    }

    fn flush(
        &self,
        first: u64,
        through: u64,
        sealed: Vec<SealedBatch>,
    ) -> BoxFuture<'_, Result<Arc<LakeView>, BoxError>> {
        async move {
            let view = self.lake.flush(first, through, sealed).await?;
            self.disk.step(Call::Commit, |_| Ok(()))?;
            Ok(view)
        }
        .boxed()
    }
}

/// An empty catalog, which takes a while to make.
static CATALOG: OnceCell<Vec<u8>> = OnceCell::const_new();

async fn empty_catalog() -> Vec<u8> {
    let dir = scratch();
    Lake::open(dir.path()).await.unwrap().close().await.unwrap();
    std::fs::read(dir.path().join("catalog.sqlite")).unwrap()
}

/// A store's surroundings, which outlive it.
pub struct Place {
    _dir: tempfile::TempDir,
    pub disk: Disk,
    pub lake: Arc<Mutex<ModelState>>,
    pub config: StoreConfig,
    /// The real lake instead of the model of one.
    real: bool,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Self { disk: Disk::new(&config.dir), config, _dir: dir, lake: Arc::default(), real: false }
    }

    /// With the real lake. Its data files are on the disk; its catalog, which has its own way with power cuts, is a real
    /// file that loses nothing.
    pub async fn with_lake() -> Self {
        let dir = scratch();
        let config = config(&dir.path().canonicalize().unwrap());
        std::fs::create_dir(&config.dir).unwrap();
        std::fs::write(config.dir.join("catalog.sqlite"), CATALOG.get_or_init(empty_catalog).await).unwrap();
        let disk = Disk::new(&config.dir).mirroring(&config.dir.join("data"));
        Self { disk, config, _dir: dir, lake: Arc::default(), real: true }
    }

    pub async fn open(&self) -> Result<Arc<Store>, StoreError> {
        self.open_at(NOW).await
    }

    pub async fn open_at(&self, now_ns: i64) -> Result<Arc<Store>, StoreError> {
        unlocked(|| self.try_open(now_ns)).await
    }

    async fn try_open(&self, now_ns: i64) -> Result<Arc<Store>, StoreError> {
        let fs: Arc<dyn FileSystem> = Arc::new(self.disk.clone());
        let lake: Arc<dyn FlushTarget> = if self.real {
            let lake = Lake::open_on(&self.config.dir, Arc::clone(&fs)).await?;
            Arc::new(Cut { lake, disk: self.disk.clone() })
        } else {
            ModelLake::new(&self.disk, &self.lake)
        };
        Store::open_with(self.config.clone(), Arc::new(Numbered), Arc::new(Still(now_ns)), fs, lake).await
    }

    /// How often each row is there, by `request/row`.
    pub fn rows(&self, store: &Store) -> BTreeMap<String, usize> {
        self.read_rows(store).unwrap()
    }

    /// Like [`Place::rows`], or which file cannot be read.
    pub fn read_rows(&self, store: &Store) -> Result<BTreeMap<String, usize>, String> {
        if self.real {
            return read_rows_of(store);
        }
        let snapshot = store.snapshot(&TenantId::default());
        let commits = usize::try_from(snapshot.id.0).unwrap();
        let lake = self.lake.lock().unwrap();
        let batches = lake.commits[..commits]
            .iter()
            .flatten()
            .chain(snapshot.table(Signal::Logs).memory.iter().map(|batch| &***batch));
        Ok(count(batches))
    }
}

pub fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        dir: dir.join("data"),
        memtable_bytes: 64 << 20,
        flush_age: Duration::from_secs(3600),
        // A few requests a segment.
        wal_segment_bytes: 8 << 10,
        floor_free_bytes: 0,
        free_space_every: Duration::ZERO,
        flush_retry: Duration::from_millis(1),
        ..StoreConfig::default()
    }
}

/// Opens a store whose folder a dropped one may be just about to give back.
pub async fn unlocked<F: Future<Output = Result<Arc<Store>, StoreError>>>(
    open: impl Fn() -> F,
) -> Result<Arc<Store>, StoreError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match open().await {
            Err(StoreError::Lock(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// Waits for something that happens by itself.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub async fn send(store: &Store, id: i64) -> Result<Appended, AppendError> {
    store.append(request(id)).await
}

/// How often each row of a store on a real lake is there.
pub fn rows_of(store: &Store) -> BTreeMap<String, usize> {
    read_rows_of(store).unwrap()
}

fn read_rows_of(store: &Store) -> Result<BTreeMap<String, usize>, String> {
    let snapshot = store.snapshot(&TenantId::default());
    let logs = snapshot.table(Signal::Logs);
    let mut batches: Vec<RecordBatch> = logs.memory.iter().map(|batch| (***batch).clone()).collect();
    for file in logs.files.iter() {
        batches.extend(read_file(&file.path).map_err(|e| format!("{}: {e}", file.path.display()))?);
    }
    Ok(count(batches.iter()))
}

fn read_file(path: &Path) -> Result<Vec<RecordBatch>, BoxError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    Ok(reader.build()?.collect::<Result<_, _>>()?)
}

fn count<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for batch in batches {
        let body = batch.column_by_name("body").unwrap().as_string::<i32>();
        for row in body.iter() {
            *rows.entry(row.unwrap().to_owned()).or_default() += 1;
        }
    }
    rows
}

/// The rows of these requests, each once.
pub fn once(ids: impl IntoIterator<Item = i64>) -> BTreeMap<String, usize> {
    ids.into_iter().flat_map(|id| (0..ROWS).map(move |row| (format!("{id}/{row}"), 1))).collect()
}
