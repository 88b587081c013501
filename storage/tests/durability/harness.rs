//! What the tests share: a request is its number, its rows are numbered log records; a model of the lake whose commits
//! the power can go at; and the reading of every row that a store shows.

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
use orrery_storage::{Append, AppendError, Appended, Decode, LakeView, SealedBatch, Store, StoreConfig, StoreError};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::disk::{Call, Disk};

pub const ROWS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(20);

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
        ("timestamp", _) => Arc::new(arrow::array::TimestampNanosecondArray::from(vec![received_ns; ROWS])),
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
        Arc::new(LakeView { id, tables: std::collections::HashMap::new() })
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

/// A store's surroundings, which outlive it.
pub struct Place {
    _dir: tempfile::TempDir,
    pub disk: Disk,
    pub lake: Arc<Mutex<ModelState>>,
    pub config: StoreConfig,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Self { disk: Disk::new(&config.dir), config, _dir: dir, lake: Arc::default() }
    }

    pub async fn open(&self) -> Result<Arc<Store>, StoreError> {
        self.open_at(NOW).await
    }

    pub async fn open_at(&self, now_ns: i64) -> Result<Arc<Store>, StoreError> {
        let fs: Arc<dyn FileSystem> = Arc::new(self.disk.clone());
        let lake = ModelLake::new(&self.disk, &self.lake);
        unlocked(|| {
            let (config, fs, lake) = (self.config.clone(), Arc::clone(&fs), Arc::clone(&lake));
            Store::open_with(config, Arc::new(Numbered), Arc::new(Still(now_ns)), fs, lake)
        })
        .await
    }

    /// How often each row is there, by `request/row`.
    pub fn rows(&self, store: &Store) -> BTreeMap<String, usize> {
        let snapshot = store.snapshot(&TenantId::default());
        let commits = usize::try_from(snapshot.id.0).unwrap();
        let lake = self.lake.lock().unwrap();
        let batches = lake.commits[..commits].iter().flatten().chain(&snapshot.table(Signal::Logs).memory);
        count(batches)
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
    let snapshot = store.snapshot(&TenantId::default());
    let logs = snapshot.table(Signal::Logs);
    let mut batches = logs.memory.clone();
    for file in logs.files.iter() {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
        batches.extend(reader.build().unwrap().map(Result::unwrap));
    }
    count(batches.iter())
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
