//! Counts hours beforehand, in the background: each once it is over and quiet, the newest first, one at a time and never
//! for more than half of the time. Within a lane of its own, so that it takes no query's place or memory. What fails is
//! left alone for a while; answers come from spans meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use orrery_model::{Identity, TenantId};
use orrery_storage::{MAX_PART_BYTES, Rollups, StoredRollup};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::build::{Built, build};
use super::hours::Hour;
use super::plan::{Part, State, hours_with_late_parents};
use super::rows::{GraphRows, HOUR_PART, KNOWN_PART, MINUTES_PART, OPERATIONS_PART};
use crate::graph::scope::AROUND_NS;
use crate::{Engine, Lane, LaneConfig, QueryError, Session};

/// How long an hour that could not be counted, or did not hold for long, is left alone at first; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How hours are counted beforehand.
#[derive(Clone, Debug)]
pub struct RollupConfig {
    /// How often it looks for an hour to count.
    pub every: Duration,
    /// An hour is quiet when no span of it has come for so long.
    pub settle: Duration,
    /// What counting takes.
    pub lane: LaneConfig,
}

impl Default for RollupConfig {
    fn default() -> Self {
        let lane = LaneConfig {
            recent_bytes: 0,
            memory_bytes: 128 << 20,
            query_memory_bytes: 128 << 20,
            deadline: Duration::from_secs(600),
            max_concurrent: 1,
            partitions: 1,
        };
        Self { every: Duration::from_secs(15), settle: Duration::from_secs(60), lane }
    }
}

/// Counted since the start; `hours` is of this moment.
#[derive(Debug, Default)]
pub struct RollupCounters {
    pub built: AtomicU64,
    pub spans: AtomicU64,
    pub failures: AtomicU64,
    pub duration_ns: AtomicU64,
    /// Hours that hold.
    pub hours: AtomicU64,
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    pub built: u64,
    /// What went wrong, a message an hour.
    pub failures: Vec<String>,
}

/// Counts the hours of all tenants until it is stopped.
pub struct RollupKeeper {
    pub counters: Arc<RollupCounters>,
    stop: CancellationToken,
    task: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl RollupKeeper {
    /// Begins; does nothing over a source that keeps no roll-ups.
    pub fn start(engine: Arc<Engine>, config: RollupConfig) -> Self {
        let (counters, stop) = (Arc::new(RollupCounters::default()), CancellationToken::new());
        let every = config.every;
        let mut keeping = Keeping::new(Arc::clone(&engine), config, Arc::clone(&counters));
        let stopped = stop.clone();
        let task = engine.handle().spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
                tokio::select! {
                    () = stopped.cancelled() => return,
                    _ = keeping.run(false) => {}
                }
            }
        });
        Self { counters, stop, task: parking_lot::Mutex::new(Some(task)) }
    }

    /// Counts every hour that is over and does not hold, however lately spans of it came; for tests and tools.
    pub async fn run_once(engine: Arc<Engine>, config: RollupConfig) -> Rolled {
        Keeping::new(engine, config, Arc::default()).run(true).await
    }

    /// Stops; an hour under way is given up.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the task that counts roll-ups panicked");
        }
    }
}

/// An hour of a tenant's.
type HourOf = (TenantId, Hour);

struct Keeping {
    engine: Arc<Engine>,
    lane: Lane,
    config: RollupConfig,
    counters: Arc<RollupCounters>,
    /// The rows of each hour, and since when there are so many.
    rows: HashMap<HourOf, (i64, Instant)>,
    /// Hours that are left alone until then, and for how long the next time.
    resting: HashMap<HourOf, (Instant, Duration)>,
}

impl Keeping {
    fn new(engine: Arc<Engine>, config: RollupConfig, counters: Arc<RollupCounters>) -> Self {
        let lane = engine.lane(config.lane.clone());
        Self { engine, lane, config, counters, rows: HashMap::new(), resting: HashMap::new() }
    }

    /// Counts until there is nothing to count.
    async fn run(&mut self, all: bool) -> Rolled {
        let mut done = Rolled::default();
        let Some(rollups) = self.engine.rollups().cloned() else { return done };
        let mut holding = 0;
        for tenant in self.engine.tenants() {
            loop {
                let next = match self.next(&rollups, &tenant, all).await {
                    Ok((next, hours)) => {
                        if next.is_none() {
                            holding += hours;
                        }
                        next
                    }
                    Err(error) => {
                        self.fail(&error, &mut done);
                        None
                    }
                };
                let Some(hour) = next else { break };
                let started = Instant::now();
                match self.count(&rollups, &tenant, hour).await {
                    Ok(spans) => {
                        done.built += 1;
                        self.counted(&tenant, hour, spans, started.elapsed());
                    }
                    Err(error) => self.fail(&error, &mut done),
                }
                self.rest(tenant.clone(), hour);
                if !all {
                    tokio::time::sleep(started.elapsed()).await;
                }
            }
        }
        self.counters.hours.store(holding, Ordering::Relaxed);
        done
    }

    /// The hour to count next, and how many hold. What the lake does not have any more is forgotten.
    async fn next(
        &mut self,
        rollups: &Rollups,
        tenant: &TenantId,
        all: bool,
    ) -> Result<(Option<Hour>, u64), QueryError> {
        let session = self.session(tenant).await?;
        let state = State::of(&session);
        let mut hours: Vec<Hour> = state.hours().keys().copied().collect();
        hours.sort_unstable_by(|a, b| b.cmp(a));
        let kept = state.read(rollups, i64::MIN..=i64::MAX, "").await?;
        let gone: Vec<i64> =
            kept.iter().map(|k| k.head.hour).filter(|h| !state.hours().contains_key(&Hour(*h))).collect();
        rollups.forget(tenant, &gone).await.map_err(QueryError::internal)?;
        if let Some(oldest) = hours.last().filter(|_| !gone.is_empty()) {
            rollups.forget_files(tenant, oldest.0, state.newest_file).await.map_err(QueryError::internal)?;
        }
        let kept: HashMap<i64, StoredRollup> = kept.into_iter().map(|k| (k.head.hour, k)).collect();
        let (now, now_ns) = (Instant::now(), self.engine.clock().now_ns());
        self.rows.retain(|(of, hour), _| of != tenant || state.hours().contains_key(hour));
        let (mut next, mut holding) = (None, 0);
        for hour in hours {
            let key = (tenant.clone(), hour);
            let rows = state.hours()[&hour];
            let since = match self.rows.get(&key) {
                Some((known, since)) if *known == rows => *since,
                _ => now,
            };
            self.rows.insert(key.clone(), (rows, since));
            let stored = kept.get(&hour.0).filter(|stored| state.holds(stored));
            if let Some(stored) = stored
                && self.still_holds(&session, &state, rollups, stored).await?
            {
                holding += 1;
                continue;
            }
            let is_over = now_ns >= hour.window().end_ns.saturating_add(AROUND_NS);
            let is_quiet = all || now.duration_since(since) >= self.config.settle;
            let rests = self.resting.get(&key).is_some_and(|(until, _)| *until > now);
            if next.is_none() && is_over && is_quiet && !rests && !state.memory.hours.contains(&hour) {
                next = Some(hour);
            }
        }
        self.resting.retain(|(of, hour), _| of != tenant || state.hours().contains_key(hour));
        Ok((next, holding))
    }

    /// Looks for late parents among the files that came since the hour was looked at last.
    async fn still_holds(
        &self,
        session: &Session,
        state: &State<'_>,
        rollups: &Rollups,
        stored: &StoredRollup,
    ) -> Result<bool, QueryError> {
        if state.late_files(&stored.head).next().is_none() {
            return Ok(true);
        }
        let hour = Hour(stored.head.hour);
        let Some(whole) = state.read(rollups, hour..=hour, HOUR_PART).await?.into_iter().next() else {
            return Ok(false);
        };
        let rows = whole.part.as_deref().and_then(GraphRows::decode);
        let open = rows.as_ref().map(Part::open).cloned().unwrap_or_default();
        if !state.holds(&whole) || !hours_with_late_parents(session, state, &[(whole.head, &open)]).await?.is_empty() {
            return Ok(false);
        }
        let mut head = whole.head;
        head.through_file = state.newest_file;
        rollups.advance(&session.snapshot().tenant, &head).await.map_err(QueryError::internal)?;
        Ok(true)
    }

    /// Counts an hour and keeps it. Gives its spans.
    async fn count(&self, rollups: &Rollups, tenant: &TenantId, hour: Hour) -> Result<u64, QueryError> {
        let session = self.session(tenant).await?;
        if State::of(&session).memory.hours.contains(&hour) {
            return Ok(0);
        }
        let Built { head, graph, operations, spans } = build(&session, hour, self.engine.clock().now_ns()).await?;
        drop(session);
        let mut parts = Vec::new();
        match graph {
            Some(graph) => {
                parts.push((HOUR_PART, graph.whole().encode()));
                parts.push((KNOWN_PART, graph.encode_known()));
                parts.push((MINUTES_PART, graph.encode()));
            }
            None => tracing::info!(%tenant, rollup.hour = hour.0, "an hour has too much to be counted beforehand"),
        }
        parts.extend(operations.map(|operations| (OPERATIONS_PART, operations.encode())));
        parts.retain(|(_, bytes)| bytes.len() <= MAX_PART_BYTES);
        rollups.save(tenant, &head, &parts).await.map_err(QueryError::internal)?;
        Ok(spans)
    }

    async fn session(&self, tenant: &TenantId) -> Result<Session, QueryError> {
        let identity = Identity { tenant: tenant.clone(), ..Identity::default() };
        self.engine.session_in(&self.lane, &identity).await
    }

    fn counted(&self, tenant: &TenantId, hour: Hour, spans: u64, elapsed: Duration) {
        self.counters.built.fetch_add(1, Ordering::Relaxed);
        self.counters.spans.fetch_add(spans, Ordering::Relaxed);
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.counters.duration_ns.fetch_add(elapsed_ns, Ordering::Relaxed);
        tracing::info!(%tenant, rollup.hour = hour.0, rollup.spans = spans, rollup.ms = elapsed.as_millis(), "counted an hour");
    }

    fn fail(&self, error: &QueryError, done: &mut Rolled) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "an hour could not be counted beforehand; it is tried again");
        done.failures.push(error.to_string());
    }

    fn rest(&mut self, tenant: TenantId, hour: Hour) {
        let key = (tenant, hour);
        let wait = self.resting.get(&key).map_or(FIRST_WAIT, |(_, wait)| *wait);
        self.resting.insert(key, (Instant::now() + wait, (wait * 2).min(LONGEST_WAIT)));
    }
}
