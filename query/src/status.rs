//! `GET /api/v1/status`: what the server is, what it holds, and whether it takes more. Reads the snapshot; what only the
//! server knows comes from a [`StatusSource`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::{Extension, Json};
use hashbrown::HashMap;
use orrery_api::{Status, TableStatus};
use orrery_model::{TableName, TenantId};
use orrery_storage::TableSnapshot;
use parking_lot::Mutex;

use crate::asked::Asked;
use crate::http::Caller;
use crate::time::rfc3339;
use crate::{Engine, QueryError};

/// Rates are over about this long.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Counts older than this say nothing of the present rate.
const RATE_FORGETS: Duration = Duration::from_secs(60);

/// What the server knows of itself.
#[derive(Clone, Debug, Default)]
pub struct ServerStatus {
    pub version: String,
    pub uptime_s: u64,
    pub data_dir: String,
    /// Where exporters on this machine send to.
    pub otlp_grpc: String,
    pub otlp_http: String,
    pub wal_bytes: u64,
    pub memtable_bytes: u64,
    pub free_bytes: u64,
    /// Why ingest is refused, if it is.
    pub refusing: Option<String>,
}

/// Put into the router as an `Extension<Arc<dyn StatusSource>>` by the server.
pub trait StatusSource: Send + Sync + 'static {
    fn server(&self) -> ServerStatus;
}

/// Rows of the tables at recent moments, by tenant; from these come the rates.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<TenantId, VecDeque<Moment>>>);

/// When, and the rows of each table then.
type Moment = (Instant, [u64; TableName::COUNT]);

impl Rates {
    /// Notes the rows of now, and gives each table's rows a second since about [`RATE_OVER`] ago.
    fn note(&self, tenant: &TenantId, rows: [u64; TableName::COUNT], now: Instant) -> [f64; TableName::COUNT] {
        let mut all = self.0.lock();
        let moments = all.entry(tenant.clone()).or_default();
        while moments.front().is_some_and(|m| now.duration_since(m.0) > RATE_FORGETS)
            || moments.get(1).is_some_and(|m| now.duration_since(m.0) >= RATE_OVER)
        {
            moments.pop_front();
        }
        let rates = moments.front().map_or([0.0; TableName::COUNT], |(then, before)| {
            let seconds = now.duration_since(*then).as_secs_f64().max(1e-3);
            std::array::from_fn(|t| rows[t].saturating_sub(before[t]) as f64 / seconds)
        });
        // A moment each second is enough.
        if moments.back().is_none_or(|m| now.duration_since(m.0) >= Duration::from_secs(1)) {
            moments.push_back((now, rows));
        }
        rates
    }
}

/// `GET /api/v1/status`.
pub async fn status(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    Extension(rates): Extension<Arc<Rates>>,
    source: Option<Extension<Arc<dyn StatusSource>>>,
    asked: Asked,
) -> Result<Json<Status>, QueryError> {
    asked.finish()?;
    let snapshot = engine.snapshot(&identity);
    let mut tables: Vec<TableStatus> =
        TableName::ALL.into_iter().map(|name| table_status(name, snapshot.table(name))).collect();
    let rows: [u64; TableName::COUNT] = std::array::from_fn(|t| tables[t].rows);
    for (table, rate) in tables.iter_mut().zip(rates.note(&identity.tenant, rows, Instant::now())) {
        table.rows_per_second = rate;
    }
    let server = source.map(|Extension(source)| source.server()).unwrap_or_default();
    let version = if server.version.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { server.version };
    Ok(Json(Status {
        version,
        uptime_s: server.uptime_s,
        data_dir: server.data_dir,
        otlp_grpc: server.otlp_grpc,
        otlp_http: server.otlp_http,
        snapshot: snapshot.id.0,
        tables,
        wal_bytes: server.wal_bytes,
        memtable_bytes: server.memtable_bytes,
        free_bytes: server.free_bytes,
        ingest: server.refusing.unwrap_or_else(|| "ok".to_owned()),
    }))
}

fn table_status(name: TableName, table: &TableSnapshot) -> TableStatus {
    let in_memory: u64 = table.memory.iter().map(|b| b.num_rows() as u64).sum();
    let mut oldest = table.files.iter().map(|f| f.min_timestamp_ns).min();
    let mut newest = table.files.iter().map(|f| f.max_timestamp_ns).max();
    for batch in table.memory.iter().filter(|batch| batch.num_rows() > 0) {
        oldest = Some(oldest.map_or(batch.min_timestamp_ns, |o| o.min(batch.min_timestamp_ns)));
        newest = Some(newest.map_or(batch.max_timestamp_ns, |n| n.max(batch.max_timestamp_ns)));
    }
    TableStatus {
        name: name.as_str().to_owned(),
        rows: in_memory + table.files.iter().map(|f| f.rows).sum::<u64>(),
        rows_in_memory: in_memory,
        files: table.files.len() as u64,
        file_bytes: table.files.iter().map(|f| f.size_bytes).sum(),
        oldest: oldest.map(rfc3339),
        newest: newest.map(rfc3339),
        rows_per_second: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_ten_seconds() {
        let rates = Rates::default();
        let (tenant, start) = (TenantId::default(), Instant::now());
        let at = |s: u64, rows: u64| rates.note(&tenant, [rows, 0, 0, 0], start + Duration::from_secs(s))[0];
        assert_eq!(at(0, 100), 0.0);
        assert_eq!(at(5, 150), 10.0);
        assert_eq!(at(10, 300), 20.0);
        assert_eq!(at(20, 300), 0.0);
        assert_eq!(at(200, 5_000), 0.0);
    }
}
