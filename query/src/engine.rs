//! The query engine: what all sessions share (memory, spill files, footers, a runtime of their own) and how many run at
//! once. Never looks into a query; that is the session's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use orrery_model::{Clock, Identity, TenantId};
use orrery_storage::{MemoryBudget, Rollups, Snapshot, Store, TraceFilters};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::table::{FileKeys, FilterCache, Known, Recent};
use crate::{QueryError, Session};

/// Where snapshots come from: the store, or a test's own batches and files.
pub trait SnapshotSource: Send + Sync + 'static {
    /// One consistent moment of a tenant; cheap.
    fn snapshot(&self, tenant: &TenantId) -> Arc<Snapshot>;

    /// Where what is counted beforehand is kept, if anywhere.
    fn rollups(&self) -> Option<Rollups> {
        None
    }

    /// Whose snapshots there are.
    fn tenants(&self) -> Vec<TenantId> {
        vec![TenantId::default()]
    }

    /// The trace filters of all files of the snapshots, at most about so many bytes of them in memory.
    fn trace_filters(&self, _cache_bytes: usize) -> TraceFilters {
        TraceFilters::without_catalog()
    }
}

impl SnapshotSource for Store {
    fn snapshot(&self, tenant: &TenantId) -> Arc<Snapshot> {
        Self::snapshot(self, tenant)
    }

    fn rollups(&self) -> Option<Rollups> {
        Some(Self::rollups(self))
    }

    fn tenants(&self) -> Vec<TenantId> {
        Self::tenants(self)
    }

    fn trace_filters(&self, cache_bytes: usize) -> TraceFilters {
        Self::trace_filters(self, cache_bytes)
    }
}

/// What the engine is doing for everyone; lanes apart are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Sessions that hold a place.
    pub sessions: usize,
    /// Tasks of queries that are planned or run.
    pub tasks: usize,
    /// Working memory that queries hold, and whoever shares it with them, bytes.
    pub memory_bytes: usize,
}

/// What the engine remembers of files, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    pub token_filter_bytes: u64,
    pub trace_filter_bytes: u64,
}

/// The engine's limits.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// Working memory of all queries together, bytes. A query that cannot spill beyond it ends with `memory_exceeded`.
    pub memory_bytes: usize,
    /// Working memory of one query, bytes.
    pub query_memory_bytes: usize,
    /// How long a query may run, from its session's start to its last row.
    pub deadline: Duration,
    /// Queries at once; the next ones wait, at most their deadline.
    pub max_concurrent: usize,
    /// Where sorts and joins spill to.
    pub temp_dir: PathBuf,
    /// Spilled bytes of all queries together.
    pub spill_bytes: u64,
    /// Memory for the footers and page indexes of files, bytes.
    pub footer_cache_bytes: usize,
    /// Memory for the token filters of log files, bytes.
    pub token_cache_bytes: usize,
    /// Memory for the trace filters of files, bytes: about 1.25 a trace of a file.
    pub trace_filter_cache_bytes: usize,
    /// Whether what was counted beforehand answers where it holds.
    pub rollups: bool,
    /// About how many rows are read at first for an answer that is ordered by time and limited; more where they are too few.
    /// 0 reads all of them at once.
    pub first_slice_rows: usize,
    /// Spans that the graph and the services hold at once; of more they count a part of the traces at a time. `None` is as
    /// many as the query's memory has room for.
    pub spans_at_once: Option<usize>,
    /// Partitions of a plan and threads of the engine.
    pub threads: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            query_memory_bytes: 256 << 20,
            deadline: Duration::from_secs(60),
            max_concurrent: 8,
            temp_dir: std::env::temp_dir(),
            spill_bytes: 8 << 30,
            footer_cache_bytes: 64 << 20,
            token_cache_bytes: 64 << 20,
            trace_filter_cache_bytes: 128 << 20,
            rollups: true,
            first_slice_rows: 256 << 10,
            spans_at_once: None,
            threads: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        }
    }
}

/// What queries of one kind may take together, so that another kind's cannot starve them.
#[derive(Clone, Debug)]
pub struct LaneConfig {
    /// Working memory of all of them together, bytes.
    pub memory_bytes: usize,
    /// Working memory of one of them, bytes.
    pub query_memory_bytes: usize,
    /// How long one may run, from its session's start to its last row.
    pub deadline: Duration,
    /// How many may run at once; the next ones wait, at most their deadline.
    pub max_concurrent: usize,
    /// Partitions of a plan.
    pub partitions: usize,
    /// Of the memory, what rows of the last minutes may take that were read from files and are kept for the next query:
    /// for queries that look at the same rows again and again. 0 keeps none.
    pub recent_bytes: usize,
}

/// A kind of queries with places and memory of its own. Made by [`Engine::lane`].
#[derive(Debug)]
pub struct Lane {
    pub(crate) config: LaneConfig,
    pub(crate) budget: Arc<MemoryBudget>,
    permits: Arc<Semaphore>,
    pub(crate) recent: Option<Arc<Recent>>,
}

impl Lane {
    fn new(config: LaneConfig) -> Self {
        let budget = Arc::new(MemoryBudget::new(config.memory_bytes));
        Self::sharing(config, budget)
    }

    fn sharing(config: LaneConfig, budget: Arc<MemoryBudget>) -> Self {
        let permits = Arc::new(Semaphore::new(config.max_concurrent.max(1)));
        let recent = || Arc::new(Recent::new(config.recent_bytes, Arc::clone(&budget)));
        let recent = (config.recent_bytes > 0).then(recent);
        Self { budget, permits, recent, config }
    }

    /// What its queries hold of its memory and what it keeps of files, bytes.
    pub fn memory(&self) -> (usize, usize) {
        let kept = self.recent.as_ref().map_or(0, |recent| recent.bytes());
        (self.budget.used().saturating_sub(kept), kept)
    }

    fn taken(&self) -> usize {
        self.config.max_concurrent.max(1).saturating_sub(self.permits.available_permits())
    }
}

/// Makes sessions. One a process, shared by every door.
pub struct Engine {
    source: Arc<dyn SnapshotSource>,
    clock: Arc<dyn Clock>,
    config: QueryConfig,
    /// Footer cache, spill files, object stores; sessions put their own memory pool on top.
    shared: Arc<RuntimeEnv>,
    /// Of everyone's queries.
    everyone: Lane,
    known: Known,
    rollups: Option<Arc<Rollups>>,
    runtime: OwnRuntime,
}

impl Engine {
    /// Starts the engine's threads and makes sure that it can spill.
    pub fn new(
        source: Arc<dyn SnapshotSource>,
        config: QueryConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, QueryError> {
        let memory = Arc::new(MemoryBudget::new(config.memory_bytes));
        Self::sharing(source, config, memory, clock)
    }

    /// Like [`Engine::new`], with the memory of all queries given by the caller, in the place of `memory_bytes`: others take
    /// from it too.
    pub fn sharing(
        source: Arc<dyn SnapshotSource>,
        config: QueryConfig,
        memory: Arc<MemoryBudget>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, QueryError> {
        std::fs::create_dir_all(&config.temp_dir).map_err(|e| {
            QueryError::internal(format!("creating the spill folder {}: {e}", config.temp_dir.display()))
        })?;
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![config.temp_dir.clone()]))
            .with_max_temp_directory_size(config.spill_bytes);
        let shared = RuntimeEnvBuilder::new()
            .with_disk_manager_builder(disk)
            .with_metadata_cache_limit(config.footer_cache_bytes)
            .build_arc()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|e| QueryError::internal(format!("starting the query threads: {e}")))?;
        let everyone = LaneConfig {
            memory_bytes: memory.limit(),
            query_memory_bytes: config.query_memory_bytes,
            deadline: config.deadline,
            max_concurrent: config.max_concurrent,
            partitions: config.threads,
            recent_bytes: 0,
        };
        let everyone = Lane::sharing(everyone, memory);
        let known = Known {
            keys: Arc::new(FileKeys::default()),
            filters: Arc::new(FilterCache::new(config.token_cache_bytes)),
            trace_filters: Arc::new(source.trace_filters(config.trace_filter_cache_bytes)),
            recent: None,
        };
        let rollups = source.rollups().filter(|_| config.rollups).map(Arc::new);
        let runtime = OwnRuntime(Some(runtime));
        Ok(Arc::new(Self { source, clock, shared, everyone, known, rollups, runtime, config }))
    }

    /// A session for one request: pins the tenant's snapshot as it is when the query's turn has come. Waits for a free
    /// place at most the deadline, which is counted from here.
    pub async fn session(&self, identity: &Identity) -> Result<Session, QueryError> {
        self.session_in(&self.everyone, identity).await
    }

    /// Places and memory apart from everyone's. The threads, the footers and the spill files stay common.
    pub fn lane(&self, config: LaneConfig) -> Lane {
        Lane::new(config)
    }

    /// Like [`Engine::session`], within a lane and under its deadline.
    pub async fn session_in(&self, lane: &Lane, identity: &Identity) -> Result<Session, QueryError> {
        let started = Instant::now();
        let waiting = tokio::time::timeout(lane.config.deadline, Arc::clone(&lane.permits).acquire_owned());
        let permit = waiting
            .await
            .map_err(|_| QueryError::Overloaded(lane.config.max_concurrent))?
            .map_err(|_| QueryError::internal("the engine is closed"))?;
        Session::new(self, lane, self.source.snapshot(&identity.tenant), permit, started)
    }

    /// Does a request's work on the engine's threads; it stops when the caller goes.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        AbortOnDropHandle::new(self.handle().spawn(work)).await.map_err(QueryError::internal)?
    }

    /// A tenant's snapshot as it is now, for what is read without a query.
    pub fn snapshot(&self, identity: &Identity) -> Arc<Snapshot> {
        self.source.snapshot(&identity.tenant)
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub const fn config(&self) -> &QueryConfig {
        &self.config
    }

    /// What runs at this moment.
    pub fn activity(&self) -> Activity {
        Activity {
            sessions: self.everyone.taken(),
            tasks: self.handle().metrics().num_alive_tasks(),
            memory_bytes: self.everyone.budget.used(),
        }
    }

    /// What is remembered of files at this moment.
    pub fn caches(&self) -> Caches {
        Caches { token_filter_bytes: self.known.filters.bytes(), trace_filter_bytes: self.known.trace_filters.bytes() }
    }

    pub(crate) const fn rollups(&self) -> Option<&Arc<Rollups>> {
        self.rollups.as_ref()
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        self.source.tenants()
    }

    pub(crate) const fn shared(&self) -> &Arc<RuntimeEnv> {
        &self.shared
    }

    pub(crate) const fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn handle(&self) -> Handle {
        self.runtime.0.as_ref().expect("the runtime lives as long as the engine").handle().clone()
    }
}

/// Threads apart from those that receive telemetry, so that a heavy query delays no acknowledgement. Shut down without
/// waiting, since the engine may be dropped by an asynchronous task.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
