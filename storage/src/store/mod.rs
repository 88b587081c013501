//! The store: takes accepted requests, makes them durable and visible, moves them into files, and gives snapshots of
//! both. The order for each request is log, sync, publish, acknowledge. Never decides what is accepted; never reads a
//! file for a query.

mod compress;
mod config;
mod error;
mod flusher;
mod keeper;
mod learner;
mod own;
mod replay;
mod space;
mod status;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use bytes::Bytes;
use orrery_model::{Clock, TableName, TenantId};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use compress::MAX_BODY_BYTES;
pub use config::StoreConfig;
pub use error::{AppendError, BoxError, StoreError};
pub use flusher::FlushReport;
pub(crate) use flusher::chain;
pub use keeper::{UpkeepCounters, Upkept};
pub use replay::Recovery;
pub use status::{CompactionStatus, Counters, StoreStatus, UpkeepStatus};
pub use target::FlushTarget;

use crate::compact::CompactionCounters;
use crate::dedup::{Claim, Claimed, Dedup, RequestKey};
use crate::fs::{FileSystem, RealFileSystem};
use crate::lake::{CATALOG_FILE, Lake};
use crate::lock::DataLock;
use crate::memtable::{Memtable, Rows, batch_bytes};
use crate::snapshot::Snapshot;
use crate::wal::{Entry, Outcome, Refused, Wal, WalConfig, WalError};
use crate::{Append, Appended, Decode, Rollups, TraceFilters};

/// Bodies above this are compressed on a blocking thread.
const COMPRESS_INLINE_BYTES: usize = 1 << 20;

/// An open data folder.
pub struct Store {
    shared: Arc<Shared>,
    wal: Arc<Wal<Ticket>>,
    dedup: Arc<Dedup>,
    flusher: Mutex<Option<tokio::task::JoinHandle<()>>>,
    learner: Mutex<Option<tokio::task::JoinHandle<()>>>,
    /// `None` where the files are no lake.
    keeper: Option<Arc<keeper::Keeper>>,
    coalescer: Mutex<Option<JoinHandle<()>>>,
}

/// What the appends, the log's writer and the flusher share.
struct Shared {
    config: StoreConfig,
    memtable: Memtable,
    target: Arc<dyn FlushTarget>,
    /// Bytes of rows on their way through the log.
    queued_bytes: AtomicUsize,
    space: space::SpaceGate,
    flush_wanted: Notify,
    flush_progress: watch::Sender<flusher::Progress>,
    /// Held while the catalog's files and the memtable's view of them change together.
    changing_files: tokio::sync::Mutex<()>,
    counters: Counters,
    compaction: Arc<CompactionCounters>,
    upkeep: UpkeepCounters,
    recovery: Recovery,
    /// Ends the flusher.
    stop: CancellationToken,
    /// Given back by `close`, or when the last user is gone.
    lock: Mutex<Option<DataLock>>,
}

/// What is to be logged, whatever its table.
struct Request {
    tenant: TenantId,
    table: TableName,
    received_ns: i64,
    body: Bytes,
    batch: RecordBatch,
    body_hash: Option<u128>,
}

/// What comes back from the log: the rows to publish and whom to tell.
struct Ticket {
    rows: Rows,
    claim: Option<Claim>,
    reply: oneshot::Sender<Result<(), Refused>>,
    queued: Queued,
}

/// Bytes counted as queued until dropped.
struct Queued {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.shared.queued_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Store {
    /// Takes the folder's lock, opens the lake and reads back what the log holds. The store is complete when this returns.
    pub async fn open(
        config: StoreConfig,
        decode: Arc<dyn Decode>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let lock = lock_dir(&config, &*clock)?;
        let lake = Arc::new(Lake::open(&config.dir).await?);
        let target = Arc::clone(&lake) as _;
        Self::start(config, lock, decode, clock, Arc::new(RealFileSystem), target, Some(lake)).await
    }

    /// Like [`Store::open`], with the log's file system and what is flushed to given by the caller, who keeps that: nothing
    /// is merged or dropped by itself. The lock is taken on the real folder all the same.
    pub async fn open_with(
        config: StoreConfig,
        decode: Arc<dyn Decode>,
        clock: Arc<dyn Clock>,
        fs: Arc<dyn FileSystem>,
        target: Arc<dyn FlushTarget>,
    ) -> Result<Arc<Self>, StoreError> {
        let lock = lock_dir(&config, &*clock)?;
        Self::start(config, lock, decode, clock, fs, target, None).await
    }

    async fn start(
        config: StoreConfig,
        lock: DataLock,
        decode: Arc<dyn Decode>,
        clock: Arc<dyn Clock>,
        fs: Arc<dyn FileSystem>,
        target: Arc<dyn FlushTarget>,
        lake: Option<Arc<Lake>>,
    ) -> Result<Arc<Self>, StoreError> {
        let wal_dir = make_wal_dir(&config, &fs).await?;
        let dedup = Arc::new(Dedup::new(config.absorb_window));
        let replayed = replay::replay(&config, &wal_dir, &fs, &decode, &*clock, &dedup, &target).await?;
        let flushed = target.flushed_sequence();
        let shared = Arc::new(Shared {
            space: space::SpaceGate::new(&config, Arc::clone(&fs)),
            memtable: replayed.memtable,
            target,
            queued_bytes: AtomicUsize::new(0),
            flush_wanted: Notify::new(),
            flush_progress: watch::Sender::new(flusher::Progress::new(flushed)),
            changing_files: tokio::sync::Mutex::default(),
            counters: Counters::default(),
            compaction: Arc::default(),
            upkeep: UpkeepCounters::default(),
            recovery: Recovery::new(&replayed.scan, replayed.requests, replayed.rows),
            stop: CancellationToken::new(),
            lock: Mutex::new(Some(lock)),
            config,
        });
        let wal = {
            let config = WalConfig { dir: wal_dir, segment_bytes: shared.config.wal_segment_bytes };
            let (shared, dedup, scan) = (Arc::clone(&shared), Arc::clone(&dedup), replayed.scan);
            let clock = Arc::clone(&clock);
            blocking(move || {
                let sink = move |outcome| shared.logged(outcome);
                Wal::start(fs, config, &scan, dedup, clock, sink)
            })
            .await?
        };
        let wal = Arc::new(wal);
        let coalescer = {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("orrery-coalesce".to_owned());
            thread.spawn(move || shared.memtable.coalesce()).map_err(StoreError::Thread)?
        };
        flusher::drop_segments(&shared, &wal).await;
        let flusher = tokio::spawn(flusher::run(Arc::clone(&shared), Arc::clone(&wal)));
        let learner = shared.config.learn.enabled.then(|| tokio::spawn(learner::run(Arc::clone(&shared))));
        let keeper = lake.map(|lake| keeper::Keeper::start(&shared, lake, clock));
        Ok(Arc::new(Self {
            shared,
            wal,
            dedup,
            flusher: Mutex::new(Some(flusher)),
            learner: Mutex::new(learner),
            keeper,
            coalescer: Mutex::new(Some(coalescer)),
        }))
    }

    /// Stores a request. When this gives `Ok` its rows are on stable storage and in every snapshot taken from then on. A
    /// caller that goes away while waiting changes nothing: the request is then stored or refused as if it had stayed.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        if append.batch.num_rows() == 0 {
            return Ok(Appended::Stored);
        }
        let table = TableName::from(append.signal);
        let claim = match append.body_hash {
            None => None,
            Some(hash) => {
                let key = RequestKey::new(&append.tenant, table, hash);
                match self.dedup.claim(key, append.received_ns).await {
                    Claimed::First(claim) => Some(claim),
                    Claimed::Absorbed => {
                        self.shared.counters.absorbed.fetch_add(1, Ordering::Relaxed);
                        return Ok(Appended::Absorbed);
                    }
                }
            }
        };
        let Append { tenant, received_ns, body, batch, body_hash, .. } = append;
        let request = Request { tenant, table, received_ns, body, batch, body_hash };
        self.log(request, claim).await.inspect_err(|error| self.shared.counters.refused(error))?;
        Ok(Appended::Stored)
    }

    /// Stores rows of one of Orrery's own tables (one that is no signal's), like [`Store::append`] in all but that copies
    /// are not absorbed. The batch has the table's schema.
    pub async fn append_own(
        &self,
        tenant: TenantId,
        table: TableName,
        received_ns: i64,
        batch: RecordBatch,
    ) -> Result<(), AppendError> {
        assert!(table.signal().is_none(), "the rows of {table} come from receivers");
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let body = own::encode(&batch).map_err(|error| AppendError::Fatal(error.to_string().into()))?;
        let request = Request { tenant, table, received_ns, body: body.into(), batch, body_hash: None };
        self.log(request, None).await.inspect_err(|error| self.shared.counters.refused(error))
    }

    async fn log(&self, request: Request, claim: Option<Claim>) -> Result<(), AppendError> {
        self.admit_or_wait().await?;
        let Request { tenant, table, received_ns, body, batch, body_hash } = request;
        let raw = body.len();
        if raw > MAX_BODY_BYTES {
            return Err(AppendError::TooLarge { bytes: raw, limit: MAX_BODY_BYTES });
        }
        let bytes = batch_bytes(&batch);
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let queued = Queued { shared: Arc::clone(&self.shared), bytes };
        let payload = compress_body(body).await?;
        let (reply, outcome) = oneshot::channel();
        let entry = Entry {
            tenant: tenant.clone(),
            table,
            received_ns,
            body_hash,
            rows: u32::try_from(batch.num_rows()).unwrap_or(u32::MAX),
            raw_len: u32::try_from(raw).expect("MAX_BODY_BYTES is below 4 GiB"),
            payload_crc: crc32c::crc32c(&payload),
            payload,
            ticket: Ticket { rows: Rows { tenant, table, batch: Arc::new(batch.into()), bytes }, claim, reply, queued },
        };
        self.wal.push(entry).map_err(|(_, why)| AppendError::from(why))?;
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(why.into()),
            Err(_) => Err(AppendError::Fatal("its writer is gone".into())),
        }
    }

    /// Waits for room in memory for as long as the settings say.
    async fn admit_or_wait(&self) -> Result<(), AppendError> {
        let mut progress = self.shared.flush_progress.subscribe();
        let deadline = tokio::time::Instant::now() + self.shared.config.overload_wait;
        loop {
            progress.mark_unchanged();
            match self.admit() {
                Err(AppendError::Overloaded) => {}
                verdict => return verdict,
            }
            if !matches!(tokio::time::timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
                return Err(AppendError::Overloaded);
            }
        }
    }

    /// Whether there is room, in memory and on disk.
    fn admit(&self) -> Result<(), AppendError> {
        if let Some(why) = self.wal.ended() {
            return Err(why.into());
        }
        if !self.shared.space.admits() {
            return Err(AppendError::NoSpace);
        }
        let bytes = self.shared.memtable.bytes() + self.shared.queued_bytes.load(Ordering::Relaxed);
        if bytes >= self.shared.config.overload_bytes() {
            return Err(AppendError::Overloaded);
        }
        Ok(())
    }

    /// One tenant's tables at this moment: every request acknowledged so far, each row once.
    pub fn snapshot(&self, tenant: &TenantId) -> Arc<Snapshot> {
        Arc::new(self.shared.memtable.snapshot(tenant))
    }

    /// The trace filters of the snapshots' files, of which at most about `cache_bytes` stay in memory.
    pub fn trace_filters(&self, cache_bytes: usize) -> TraceFilters {
        TraceFilters::new(self.shared.config.dir.join(CATALOG_FILE), cache_bytes)
    }

    /// What is counted beforehand of the hours of spans.
    pub fn rollups(&self) -> Rollups {
        Rollups::new(self.shared.config.dir.join(CATALOG_FILE))
    }

    /// Who has tables, whether there is anything in them or not.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.shared.memtable.view().tables.keys().cloned().collect()
    }

    /// Moves all that is acknowledged so far into files. Appends go on meanwhile.
    pub async fn flush(&self) -> Result<FlushReport, StoreError> {
        flusher::request(&self.shared).await
    }

    /// What is flushed to; `None` where that is only a model of a lake.
    pub fn lake(&self) -> Option<&Lake> {
        self.shared.target.lake()
    }

    pub fn status(&self) -> StoreStatus {
        StoreStatus::of(&self.shared, &self.wal, &self.dedup)
    }

    /// Takes no more appends, waits for those under way, flushes and gives the folder back. Where the flush fails, what
    /// was not flushed stays in the log.
    pub async fn close(&self) -> Result<(), StoreError> {
        if let Some(keeper) = &self.keeper {
            keeper.stop().await;
        }
        let wal = Arc::clone(&self.wal);
        blocking(move || wal.close()).await;
        let flushed = self.flush().await;
        self.shared.stop.cancel();
        let learner = self.learner.lock().take();
        if let Some(learner) = learner
            && learner.await.is_err()
        {
            tracing::error!("the learner of keys panicked");
        }
        let flusher = self.flusher.lock().take();
        if let Some(flusher) = flusher
            && flusher.await.is_err()
        {
            tracing::error!("the flusher panicked");
        }
        self.stop_coalescer();
        *self.shared.lock.lock() = None;
        flushed.map(|_| ())
    }

    fn stop_coalescer(&self) {
        self.shared.memtable.stop_coalescing();
        let thread = self.coalescer.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the coalescer panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.stop_coalescer();
    }
}

impl Shared {
    /// Whether ingest needs the machine more than anything that can wait.
    fn is_pressed(&self) -> bool {
        self.memtable.bytes() + self.queued_bytes.load(Ordering::Relaxed) >= self.config.pressed_bytes()
    }

    /// The log's sink, on its writer's thread: publish, then acknowledge.
    fn logged(self: &Arc<Self>, outcome: Outcome<Ticket>) {
        let (first, tickets) = match outcome {
            Outcome::Durable { first, tickets } => (first, tickets),
            Outcome::Refused { why, tickets } => {
                for ticket in tickets {
                    drop((ticket.claim, ticket.queued));
                    // The sender may have gone.
                    let _ = ticket.reply.send(Err(why.clone()));
                }
                return;
            }
        };
        let mut acknowledge = Vec::with_capacity(tickets.len());
        let rows = tickets.into_iter().map(|ticket| {
            acknowledge.push((ticket.claim, ticket.reply, ticket.queued));
            self.counters.stored(ticket.rows.batch.num_rows() as u64);
            ticket.rows
        });
        self.memtable.publish(first, rows);
        if self.memtable.active_bytes() >= self.config.memtable_bytes {
            self.memtable.seal();
            self.flush_wanted.notify_one();
        }
        for (sequence, (claim, reply, queued)) in (first..).zip(acknowledge) {
            if let Some(claim) = claim {
                claim.stored(sequence);
            }
            drop(queued);
            // The sender may have gone.
            let _ = reply.send(Ok(()));
        }
    }
}

fn lock_dir(config: &StoreConfig, clock: &dyn Clock) -> Result<DataLock, StoreError> {
    let dir = &config.dir;
    let failed = |operation| move |source| StoreError::Dir { operation, dir: dir.clone(), source };
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        created => {
            created.map_err(failed("create"))?;
            // The folder's own name must survive a power cut too.
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            RealFileSystem.sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed("make durable"))?;
        }
    }
    Ok(DataLock::take(&config.dir, clock)?)
}

async fn make_wal_dir(config: &StoreConfig, fs: &Arc<dyn FileSystem>) -> Result<PathBuf, StoreError> {
    let (dir, fs) = (config.dir.clone(), Arc::clone(fs));
    blocking(move || {
        let wal_dir = dir.join("wal");
        fs.create_dir(&wal_dir).map_err(WalError::io("create", &wal_dir))?;
        fs.sync_dir(&dir).map_err(WalError::io("sync", &dir))?;
        Ok(wal_dir)
    })
    .await
}

async fn compress_body(body: Bytes) -> Result<Vec<u8>, AppendError> {
    let compressed = if body.len() > COMPRESS_INLINE_BYTES {
        blocking(move || compress::compress(&body)).await
    } else {
        compress::compress(&body)
    };
    compressed.map_err(|error| AppendError::Fatal(format!("cannot compress: {error}").into()))
}

/// Runs what blocks on a thread made for it.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(run).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
