//! One request's view of the lake: a pinned snapshot as SQL tables, a memory share, a deadline. Runs statements in a
//! sandbox; never changes anything.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{DiskManager, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{Stream, StreamExt};
use orrery_api::Receipt;
use orrery_model::{Signal, TableName};
use orrery_storage::{Rollups, Snapshot, TableSnapshot, TraceFilters};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::memory::QueryPool;
use crate::prepared::Bound;
use crate::rollup::{Derived, DerivedTable};
use crate::table::{Cost, Known, LakeTable, PrunedFiles, Ran, Reads};
use crate::{Engine, Filter, Lane, Prepared, QueryError, prepared, sandbox};

/// Batches that wait for a slow reader before the query does.
const BATCHES_AHEAD: usize = 2;
/// The same of what is made of them for one of the engine's own readers, who now and then counts for a while.
const MAPPED_AHEAD: usize = 6;

/// Made by [`Engine::session`]. Cloning it is cheap and shares the snapshot, the deadline and the receipt.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    context: SessionContext,
    /// The context's, to plan by; a copy of it costs more than many a plan.
    state: Arc<SessionState>,
    task: Arc<TaskContext>,
    snapshot: Arc<Snapshot>,
    pruned: Arc<PrunedFiles>,
    known: Known,
    rollups: Option<Arc<Rollups>>,
    /// The plans that were run, for the receipt.
    plans: Mutex<Vec<Ran>>,
    /// See [`QueryConfig::spans_at_once`](crate::QueryConfig::spans_at_once).
    spans_at_once: Option<usize>,
    started: Instant,
    deadline: Duration,
    runtime: Handle,
    /// The place among the queries that run at once; given back with the session and its last stream.
    permit: Arc<OwnedSemaphorePermit>,
}

/// A session that may be over.
#[derive(Clone)]
pub(crate) struct WeakSession(Weak<Inner>);

impl WeakSession {
    pub fn upgrade(&self) -> Result<Session, QueryError> {
        let inner = self.0.upgrade().ok_or_else(|| QueryError::internal("the session of a table is over"))?;
        Ok(Session { inner })
    }
}

impl Session {
    pub(crate) fn new(
        engine: &Engine,
        lane: &Lane,
        snapshot: Arc<Snapshot>,
        permit: OwnedSemaphorePermit,
        started: Instant,
    ) -> Result<Self, QueryError> {
        let config = &lane.config;
        let pool = QueryPool::new(config.query_memory_bytes, Arc::clone(&lane.budget));
        let runtime =
            RuntimeEnvBuilder::from_runtime_env(engine.shared()).with_memory_pool(Arc::new(pool)).build_arc()?;
        let state =
            sandbox::state(runtime, config.partitions, config.query_memory_bytes, engine.config().first_slice_rows);
        let context = SessionContext::new_with_state(state);
        let pruned = Arc::new(PrunedFiles::default());
        let known = Known { recent: lane.recent.clone(), ..engine.known().clone() };
        for name in TableName::ALL {
            let table = LakeTable::new(name, snapshot.table(name).clone(), Arc::clone(&pruned), known.clone());
            context.register_table(name.as_str(), Arc::new(table))?;
        }
        let inner = Inner {
            state: Arc::new(context.state()),
            task: context.task_ctx(),
            context,
            snapshot,
            pruned,
            known,
            rollups: engine.rollups().cloned(),
            plans: Mutex::default(),
            spans_at_once: engine.config().spans_at_once,
            started,
            deadline: config.deadline,
            runtime: engine.handle(),
            permit: Arc::new(permit),
        };
        let session = Self { inner: Arc::new(inner) };
        for derived in Derived::ALL {
            let table = DerivedTable::new(derived, session.downgrade(), Arc::clone(engine.clock()));
            session.inner.context.register_table(derived.name(), Arc::new(table))?;
        }
        Ok(session)
    }

    /// The same snapshot, place and memory once more, with the deadline from now: for statements that belong together. They
    /// run one after another, while this session lives. Files left unopened count in the receipts of all of them.
    pub fn again(&self) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                context: inner.context.clone(),
                state: Arc::clone(&inner.state),
                task: Arc::clone(&inner.task),
                snapshot: Arc::clone(&inner.snapshot),
                pruned: Arc::clone(&inner.pruned),
                known: inner.known.clone(),
                rollups: inner.rollups.clone(),
                plans: Mutex::default(),
                spans_at_once: inner.spans_at_once,
                started: Instant::now(),
                deadline: inner.deadline,
                runtime: inner.runtime.clone(),
                permit: Arc::clone(&inner.permit),
            }),
        }
    }

    /// The session as its own tables hold it.
    pub(crate) fn downgrade(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.inner))
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.inner.snapshot
    }

    /// What is counted beforehand, where it is to be used.
    pub(crate) fn rollups(&self) -> Option<&Rollups> {
        self.inner.rollups.as_deref()
    }

    pub(crate) fn trace_filters(&self) -> &TraceFilters {
        &self.inner.known.trace_filters
    }

    pub(crate) fn memory_pool(&self) -> &Arc<dyn MemoryPool> {
        self.inner.task.memory_pool()
    }

    pub(crate) fn disk_manager(&self) -> Arc<DiskManager> {
        Arc::clone(&self.inner.task.runtime_env().disk_manager)
    }

    /// Partitions of a plan.
    pub(crate) fn threads(&self) -> usize {
        self.inner.state.config().target_partitions()
    }

    pub(crate) fn spans_at_once(&self) -> Option<usize> {
        self.inner.spans_at_once
    }

    /// The DataFusion context, for plans made without SQL; run them with [`Session::run`], which applies the deadline.
    pub fn context(&self) -> &SessionContext {
        &self.inner.context
    }

    /// Makes some files or batches of a signal an SQL table of their own, in the place of the last one of that name: for
    /// what depends on where a row lies.
    pub(crate) fn register_part(&self, name: &str, signal: Signal, part: TableSnapshot) -> Result<(), QueryError> {
        let table = LakeTable::new(signal.table(), part, Arc::clone(&self.inner.pruned), self.inner.known.clone());
        self.replace(name, table)
    }

    /// Like [`Session::register_part`], of spans, with the column that says which flush brought a row.
    pub(crate) fn register_received(&self, name: &str, part: TableSnapshot) -> Result<(), QueryError> {
        let table = LakeTable::received(part, Arc::clone(&self.inner.pruned), self.inner.known.clone());
        self.replace(name, table)
    }

    /// Makes a signal's table one more table, for statements that read a part of it each: the files that one leaves out are
    /// not counted as left out. It has some columns as dictionaries, too.
    pub(crate) fn register_for_parts(
        &self,
        name: &str,
        signal: Signal,
        coded: impl Iterator<Item = &'static str>,
    ) -> Result<(), QueryError> {
        let (table, pruned) = (self.inner.snapshot.table(signal).clone(), Arc::default());
        let table = LakeTable::new(signal.table(), table, pruned, self.inner.known.clone());
        self.replace(name, table.with_coded(coded))
    }

    fn replace(&self, name: &str, table: LakeTable) -> Result<(), QueryError> {
        self.inner.context.deregister_table(name)?;
        self.inner.context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    /// One signal's table as a data frame.
    pub async fn table(&self, signal: Signal) -> Result<DataFrame, QueryError> {
        Ok(self.inner.context.table(signal.table_name()).await?)
    }

    /// Plans and starts one read-only statement. Anything that would write, read other files or change the session is a
    /// `bad_request`.
    pub async fn sql(&self, query: &str) -> Result<SqlStream, QueryError> {
        let (state, query) = (Arc::clone(&self.inner.state), query.to_owned());
        let plan = self.within_deadline(async move { sandbox::plan(&state, &query).await }).await?;
        self.start(Bound { plan, is_optimized: false }).await
    }

    /// Like [`Session::sql`], with the rows of one file or batch in the order that it has them, for what is read in one
    /// pass.
    pub(crate) async fn sql_in_order(&self, query: &str) -> Result<SqlStream, QueryError> {
        let mut state = SessionState::clone(&self.inner.state);
        // Even one file's batches overtake each other where several threads have a part in them.
        state.config_mut().options_mut().execution.target_partitions = 1;
        let (state, query) = (Arc::new(state), query.to_owned());
        let planning = async move {
            let plan = sandbox::plan(&state, &query).await?;
            cooperative(state.create_physical_plan(&plan).await?)
        };
        self.execute(self.within_deadline(planning).await?)
    }

    /// Plans a read-only query with parameters, which stand in it as `$name` and are times. It may be run again and again, by
    /// other sessions too.
    pub async fn prepare(&self, query: &str, names: &'static [&'static str]) -> Result<Prepared, QueryError> {
        let (state, query) = (Arc::clone(&self.inner.state), query.to_owned());
        self.within_deadline(async move { prepared::prepare(&state, &query, names).await }).await
    }

    /// Starts a prepared query over this session's snapshot, with a time (nanoseconds since the Unix epoch) for each of
    /// its parameters in their order.
    pub async fn run_prepared(&self, prepared: &Prepared, times_ns: &[i64]) -> Result<SqlStream, QueryError> {
        let (context, prepared, times) = (self.inner.context.clone(), prepared.clone(), times_ns.to_vec());
        let bound = self.within_deadline(async move { prepared.bind(&context, &times).await }).await?;
        self.start(bound).await
    }

    /// Like [`Session::sql`], with times for `$name`.
    pub async fn sql_with_params(
        &self,
        query: &str,
        names: &'static [&'static str],
        times_ns: &[i64],
    ) -> Result<SqlStream, QueryError> {
        let prepared = self.prepare(query, names).await?;
        self.run_prepared(&prepared, times_ns).await
    }

    /// Starts a data frame that came from this session's context.
    pub async fn run(&self, frame: DataFrame) -> Result<SqlStream, QueryError> {
        self.start(Bound { plan: frame.into_unoptimized_plan(), is_optimized: false }).await
    }

    /// All rows of a statement, with what the session has cost so far.
    pub async fn collect(&self, query: &str) -> Result<(Vec<RecordBatch>, Receipt), QueryError> {
        let batches = self.sql(query).await?.collect().await?;
        Ok((batches, self.receipt()))
    }

    /// Parses and checks a `filter` against a signal's table.
    pub async fn filter(&self, signal: Signal, text: &str) -> Result<Filter, QueryError> {
        Filter::parse(&self.inner.context, signal, text).await
    }

    /// What all statements of the session have cost so far.
    pub fn receipt(&self) -> Receipt {
        let cost = Cost::of(&self.inner.plans.lock(), &self.inner.pruned);
        Receipt {
            elapsed_ms: (self.inner.started.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            rows_scanned: cost.rows,
            bytes_scanned: cost.bytes,
            files: cost.files,
            files_pruned: self.inner.pruned.count() + cost.files_unread,
            pruned: cost.pruned,
            ..Receipt::default()
        }
    }

    /// Like [`Session::sql`], with each of the plan's partitions read on its own: every one has a function of its own, and
    /// what that makes of the partition's batches comes in no order.
    pub(crate) async fn sql_mapped<T, F>(
        &self,
        query: &str,
        reads: Reads,
        mut mapping: impl FnMut() -> F,
    ) -> Result<SqlStream<T>, QueryError>
    where
        T: Send + 'static,
        F: FnMut(RecordBatch) -> Result<T, QueryError> + Send + 'static,
    {
        let (state, query) = (Arc::clone(&self.inner.state), query.to_owned());
        let plan = self.within_deadline(async move { sandbox::plan(&state, &query).await }).await?;
        let physical = self.physical(Bound { plan, is_optimized: false }).await?;
        let streams = {
            let _guard = self.inner.runtime.enter();
            execute_stream_partitioned(Arc::clone(&physical), Arc::clone(&self.inner.task))?
        };
        self.inner.plans.lock().push(Ran { plan: Arc::clone(&physical), reads });
        let with_mapping = streams.into_iter().map(|stream| (stream, mapping())).collect();
        Ok(self.stream(physical.schema(), with_mapping, MAPPED_AHEAD))
    }

    /// Columns of a stored table's rows that meet a condition, in no order, planned without a look at anything else: of a
    /// hundred columns the optimizer's many passes take longer than reading a trace does.
    pub(crate) async fn rows(
        &self,
        table: &'static str,
        columns: Vec<String>,
        condition: Expr,
    ) -> Result<SqlStream, QueryError> {
        let (state, context) = (Arc::clone(&self.inner.state), self.inner.context.clone());
        let planning = async move {
            let provider = context.table_provider(table).await?;
            let schema = provider.schema();
            let indices = columns.iter().map(|column| schema.index_of(column)).collect::<Result<_, _>>();
            let indices: Vec<usize> = indices.map_err(DataFusionError::from)?;
            let plan = provider.scan(&*state, Some(&indices), &[condition], None).await?;
            cooperative(FilterPushdown::new().optimize(plan, state.config_options())?)
        };
        self.execute(self.within_deadline(planning).await?)
    }

    async fn start(&self, bound: Bound) -> Result<SqlStream, QueryError> {
        let physical = self.physical(bound).await?;
        self.execute(physical)
    }

    fn execute(&self, physical: Arc<dyn ExecutionPlan>) -> Result<SqlStream, QueryError> {
        let stream = {
            let _guard = self.inner.runtime.enter();
            execute_stream(Arc::clone(&physical), Arc::clone(&self.inner.task))?
        };
        self.inner.plans.lock().push(Ran { plan: physical, reads: Reads::All });
        Ok(self.stream(stream.schema(), vec![(stream, Ok)], BATCHES_AHEAD))
    }

    async fn physical(&self, bound: Bound) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
        let state = Arc::clone(&self.inner.state);
        let planning = async move {
            let plan = if bound.is_optimized { bound.plan } else { state.optimize(&bound.plan)? };
            cooperative(state.query_planner().create_physical_plan(&plan, &*state).await?)
        };
        self.within_deadline(planning).await
    }

    /// Reads streams, each in a task of its own.
    fn stream<T, F>(
        &self,
        schema: SchemaRef,
        streams: Vec<(SendableRecordBatchStream, F)>,
        ahead: usize,
    ) -> SqlStream<T>
    where
        T: Send + 'static,
        F: FnMut(RecordBatch) -> Result<T, QueryError> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(ahead * streams.len().max(1));
        let read =
            |(stream, map)| AbortOnDropHandle::new(self.inner.runtime.spawn(forward(stream, map, sender.clone())));
        SqlStream {
            schema,
            receiver,
            deadline: Box::pin(tokio::time::sleep(self.remaining())),
            ended: false,
            tasks: streams.into_iter().map(read).collect(),
            session: self.clone(),
        }
    }

    fn remaining(&self) -> Duration {
        self.inner.deadline.saturating_sub(self.inner.started.elapsed())
    }

    fn overdue(&self) -> QueryError {
        QueryError::DeadlineExceeded { deadline_ms: u64::try_from(self.inner.deadline.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Runs planning on the engine's threads; it stops when the caller goes or the deadline has come.
    async fn within_deadline<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, QueryError> {
        let task = AbortOnDropHandle::new(self.inner.runtime.spawn(work));
        match tokio::time::timeout(self.remaining(), task).await {
            Ok(Ok(done)) => done,
            Ok(Err(join)) => Err(QueryError::internal(join)),
            Err(_) => Err(self.overdue()),
        }
    }
}

/// Lets every join give way now and then: from one batch they can make work for minutes, in which nothing could stop
/// them.
fn cooperative(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, QueryError> {
    let wrapped = plan.transform_up(|node| {
        Ok(if node.name().contains("Join") {
            Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(wrapped.data)
}

async fn forward<T>(
    mut stream: SendableRecordBatchStream,
    mut map: impl FnMut(RecordBatch) -> Result<T, QueryError>,
    sender: mpsc::Sender<Result<T, QueryError>>,
) {
    while let Some(batch) = stream.next().await {
        if sender.send(batch.map_err(QueryError::from).and_then(&mut map)).await.is_err() {
            return;
        }
    }
}

/// The rows of one statement as they come, or what is made of them. Dropping it stops the work; after an error it ends.
pub struct SqlStream<T = RecordBatch> {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Result<T, QueryError>>,
    deadline: Pin<Box<tokio::time::Sleep>>,
    ended: bool,
    /// Those that are not known to be done.
    tasks: Vec<AbortOnDropHandle<()>>,
    session: Session,
}

impl SqlStream {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All rows that are left.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// What the session has cost so far; final once the stream has ended.
    pub fn receipt(&self) -> Receipt {
        self.session.receipt()
    }
}

impl<T> Stream for SqlStream<T> {
    type Item = Result<T, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Err(self.session.overdue())));
        }
        let mut next = std::task::ready!(self.receiver.poll_recv(cx));
        // Rows that a panic took with it are missing, and nothing else says so.
        while next.is_none()
            && let Some(task) = self.tasks.last_mut()
        {
            let done = std::task::ready!(Pin::new(task).poll(cx));
            self.tasks.pop();
            next = done.err().map(|panic| Err(QueryError::internal(panic)));
        }
        self.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

/// A text as an SQL string literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
