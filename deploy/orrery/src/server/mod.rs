//! The server: binds its addresses, opens the lake behind them, and stops in order. Never parses telemetry and never
//! plans a query; it only wires together those who do.

mod alerting;
mod columns;
mod compress;
mod dashboard;
mod door;
mod health;
mod host;
mod lake;
mod listener;
mod metrics;
mod process;
mod refuse;
mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::{Extension, Router};
use orrery_alert::Alerting;
use orrery_alert::notify::Notifiers;
use orrery_collector::decode::{DecodeLimits, OtlpDecoder};
use orrery_collector::{Collector, CollectorConfig};
use orrery_model::{Clock, SystemClock};
use orrery_query::rollup::{RollupConfig, RollupKeeper};
use orrery_query::{AlertSource, Engine, QueryConfig, StatusSource};
use orrery_storage::compact::LEAST_MEMORY_BYTES;
use orrery_storage::{CompactionConfig, LearnConfig, MemoryBudget, NotifierState, Store, StoreConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::Tokens;
use crate::config::{Config, Notifier};
use door::Door;
use health::{Health, Phase};
use host::HostCheck;
use listener::{Listener, bind};
pub use process::page_in;

/// How often a failure of the lake is looked for.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The longest that flushing may take at the stop, beyond `drain_timeout`; what is left then is in the log.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a server listens, with the ports it was given.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    tls: bool,
}

impl Addresses {
    pub fn url(&self, address: SocketAddr) -> String {
        // A client cannot connect to "any address".
        let host = match address.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".to_owned(),
            ip if ip.is_unspecified() => "[::1]".to_owned(),
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        format!("{}://{host}:{}", if self.tls { "https" } else { "http" }, address.port())
    }

    /// What a person sees when the server is ready, one address a line.
    pub fn banner(&self) -> String {
        format!(
            "Orrery {} is ready\n  dashboard  {}\n  OTLP/gRPC  {}\n  OTLP/HTTP  {}\n",
            env!("CARGO_PKG_VERSION"),
            self.url(self.http),
            self.url(self.otlp_grpc),
            self.url(self.otlp_http),
        )
    }
}

/// A server that takes requests.
pub struct Server {
    pub addresses: Addresses,
    store: Arc<Store>,
    alerting: Arc<Alerting>,
    notifiers: Arc<Notifiers>,
    rollups: Arc<RollupKeeper>,
    health: Health,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    drain_timeout: Duration,
}

impl Server {
    /// Binds, answers probes, opens the lake, and opens the doors. Ready when it returns.
    pub async fn start(config: &Config) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (health, stop) = (Health::default(), CancellationToken::new());
        let doors = Doors::new(config, health.clone())?;
        let (addresses, listeners) = listen(config, &doors, &stop).await?;
        // Of queries and merges together: a merge takes what queries leave.
        let memory = Arc::new(MemoryBudget::new(config.query.memory.as_usize()));
        let stored = store_config(config, Arc::clone(&memory));
        let store = Store::open(stored, Arc::new(OtlpDecoder), Arc::clone(&clock)).await?;
        let collector = Collector::new(Arc::clone(&store), collector_config(config), Arc::clone(&clock));
        let engine = Engine::sharing(Arc::clone(&store) as _, query_config(config), memory, Arc::clone(&clock))?;
        let rollups = Arc::new(RollupKeeper::start(Arc::clone(&engine), rollup_config(config)));
        let external_url = config.external_url.clone().unwrap_or_else(|| addresses.url(addresses.http));
        let external_url = external_url.trim_end_matches('/');
        let notifiers = Arc::new(start_notifiers(config, external_url, Arc::clone(&clock)).await?);
        let (queries, rows) = (Arc::clone(&engine), Arc::clone(&store));
        let alerting = alerting::start(config, external_url, queries, rows, Arc::clone(&notifiers) as _, clock).await?;
        let status = status::Status::new(Arc::clone(&store), addresses.clone(), config.data_dir.clone());
        let api = orrery_query::router(Arc::clone(&engine))
            .layer(Extension(Arc::new(status) as Arc<dyn StatusSource>))
            .layer(Extension(Arc::clone(&alerting) as Arc<dyn AlertSource>));
        let sources = metrics::Sources {
            collector,
            store: Arc::clone(&store),
            engine,
            alerting: Arc::clone(&alerting),
            notifiers: Arc::clone(&notifiers),
            rollups: Arc::clone(&rollups.counters),
        };
        doors.open(sources, api, addresses.otlp_grpc == addresses.otlp_http);
        health.set(Phase::Ready);
        Ok(Self {
            addresses,
            store,
            alerting,
            notifiers,
            rollups,
            health,
            stop,
            listeners,
            drain_timeout: config.drain_timeout.0,
        })
    }

    /// Looks at the rule files at once.
    pub fn reload(&self) {
        self.alerting.reload();
    }

    /// Returns when the lake has failed for good, with the reason.
    pub async fn failed(&self) -> String {
        loop {
            if let Some(orrery_storage::AppendError::Fatal(reason)) = self.store.status().refusing {
                self.health.set(Phase::Failed(reason.to_string()));
                return reason.to_string();
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Takes no more connections, lets requests under way finish, flushes, and unlocks the data folder; each step bounded
    /// in time. What is not flushed by then stays in the log.
    pub async fn stop(mut self) -> Result<()> {
        self.health.set(Phase::Draining);
        self.stop.cancel();
        self.store.stop_keeping();
        let drained = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain_timeout, drained).await.is_err() {
            tracing::warn!(timeout_ms = self.drain_timeout.as_millis(), "requests under way were cut short");
            self.listeners.abort_all();
        }
        self.alerting.stop().await;
        self.rollups.stop().await;
        self.notifiers.stop().await;
        tokio::time::timeout(CLOSE_TIMEOUT, self.store.close())
            .await
            .context("flushing took too long; what is not in files is in the log")?
            .context("flush at the stop; what is not in files is in the log")
    }
}

/// The two kinds of door, or three.
struct Doors {
    dashboard: Arc<Door>,
    otlp_grpc: Arc<Door>,
    otlp_http: Arc<Door>,
}

impl Doors {
    fn new(config: &Config, health: Health) -> Result<Self> {
        let tokens = Arc::new(Tokens::new(&config.tokens)?);
        let hosts = HostCheck::new(&config.allowed_hosts);
        Ok(Self {
            dashboard: Arc::new(Door::dashboard(Arc::clone(&tokens), hosts, health::router(health))),
            otlp_grpc: Arc::new(Door::otlp(Arc::clone(&tokens))),
            otlp_http: Arc::new(Door::otlp(tokens)),
        })
    }

    fn open(&self, sources: metrics::Sources, api: Router, one_port: bool) {
        let collector = Arc::clone(&sources.collector);
        let router = Router::new()
            .merge(api)
            .merge(lake::router(Arc::clone(&sources.store)))
            .merge(metrics::router(sources))
            .merge(dashboard::router())
            .layer(axum::middleware::from_fn(compress::gzip));
        self.dashboard.open(router);
        if one_port {
            self.otlp_grpc.open(orrery_collector::both_router(collector));
        } else {
            self.otlp_grpc.open(orrery_collector::grpc_router(Arc::clone(&collector)));
            self.otlp_http.open(orrery_collector::http_router(collector));
        }
    }
}

/// Binds the addresses and starts to accept; two equal OTLP addresses are one port for both protocols.
async fn listen(config: &Config, doors: &Doors, stop: &CancellationToken) -> Result<(Addresses, JoinSet<()>)> {
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let http = bind(config.http, "dashboard and API", "--http").await?;
    let grpc = bind(config.otlp_grpc, "OTLP/gRPC", "--otlp-grpc").await?;
    let one_port = config.otlp_grpc == config.otlp_http && config.otlp_grpc.port() != 0;
    let otlp_http = if one_port { None } else { Some(bind(config.otlp_http, "OTLP/HTTP", "--otlp-http").await?) };
    let addresses = Addresses {
        http: http.local_addr()?,
        otlp_grpc: grpc.local_addr()?,
        otlp_http: otlp_http.as_ref().map_or_else(|| grpc.local_addr(), TcpListener::local_addr)?,
        tls: tls.is_some(),
    };
    let bound = [(Some(http), &doors.dashboard), (Some(grpc), &doors.otlp_grpc), (otlp_http, &doors.otlp_http)];
    let mut listeners = JoinSet::new();
    for (socket, door) in bound {
        if let Some(socket) = socket {
            let listener =
                Listener { socket, door: Arc::clone(door), tls: tls.clone(), max_connections: config.max_connections };
            listeners.spawn(listener.run(stop.clone()));
        }
    }
    Ok((addresses, listeners))
}

/// Starts the notifiers on the state that the lake's catalog keeps for them; the lake is open.
async fn start_notifiers(config: &Config, external_url: &str, clock: Arc<dyn Clock>) -> Result<Notifiers> {
    let state = NotifierState::open(&config.data_dir).await?;
    let notifiers: Vec<_> = config.notifiers.iter().map(Notifier::config).collect();
    Ok(Notifiers::start(&notifiers, external_url, Arc::new(state), clock).await?)
}

fn store_config(config: &Config, memory: Arc<MemoryBudget>) -> StoreConfig {
    let compaction = CompactionConfig {
        enabled: config.compaction.enabled,
        // Whatever merges take, one query's share is left.
        memory_bytes: config.compaction.memory.as_usize().min(memory.limit() / 2).max(LEAST_MEMORY_BYTES),
        memory,
        target_bytes: config.compaction.target_size.0,
        max_bytes: config.compaction.max_size.0,
        many_files: config.compaction.min_files,
        settle: config.compaction.settle.0,
        floor_free_bytes: config.storage.min_free.0,
        ..CompactionConfig::default()
    };
    StoreConfig {
        compaction,
        retention: config.retention.config(config.storage.min_free),
        grace: config.grace(),
        dir: config.data_dir.clone(),
        memtable_bytes: config.storage.memtable.as_usize(),
        flush_age: config.storage.flush_age.0,
        wal_segment_bytes: config.storage.wal_segment.0,
        floor_free_bytes: config.storage.min_free.0,
        absorb_window: config.storage.absorb_window.0,
        learn: LearnConfig {
            enabled: config.storage.learn_keys,
            every: config.storage.learn_every.0,
            share: config.storage.learn_share,
            least_rows: config.storage.learn_rows,
            max_columns: config.storage.learn_columns,
        },
        ..StoreConfig::default()
    }
}

fn collector_config(config: &Config) -> CollectorConfig {
    let memory = config.ingest.memory.as_usize();
    let max_request = config.ingest.max_request.as_usize();
    CollectorConfig {
        max_request_bytes: max_request,
        in_flight_bytes: memory,
        // One tenant leaves room for the others.
        in_flight_bytes_per_tenant: (memory / 4 * 3).max(max_request),
        decode: DecodeLimits { hours: config.ingest.max_hours, ..DecodeLimits::default() },
        max_keys: config.ingest.max_keys,
        max_series: config.ingest.max_series,
        ..CollectorConfig::default()
    }
}

fn rollup_config(config: &Config) -> RollupConfig {
    let settle = config.query.rollup_settle.0;
    // Often enough that an hour does not wait for much longer than it must.
    let every = (settle / 4).clamp(Duration::from_secs(1), Duration::from_secs(15));
    RollupConfig { every, settle, ..RollupConfig::default() }
}

fn query_config(config: &Config) -> QueryConfig {
    let memory_bytes = config.query.memory.as_usize();
    QueryConfig {
        memory_bytes,
        query_memory_bytes: (memory_bytes / 2).max(1),
        deadline: config.query.deadline.0,
        max_concurrent: config.query.max_concurrent,
        temp_dir: config.data_dir.join("spill"),
        token_cache_bytes: config.query.token_filters.as_usize(),
        trace_filter_cache_bytes: config.query.trace_filters.as_usize(),
        rollups: config.query.rollups,
        ..QueryConfig::default()
    }
}
