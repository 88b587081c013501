//! `/metrics` in Prometheus' text format: the receivers, the store, the queries, and the process itself. Reads counters, keeps none.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderMap, Uri};
use orrery_alert::Alerting;
use orrery_alert::notify::Notifiers;
use orrery_collector::{Collector, Metric};
use orrery_query::Engine;
use orrery_query::rollup::RollupCounters;
use orrery_storage::{Store, StoreStatus};

use super::{dashboard, process};

/// Whose counters are shown.
pub struct Sources {
    pub collector: Arc<Collector>,
    pub store: Arc<Store>,
    pub alerting: Arc<Alerting>,
    pub notifiers: Arc<Notifiers>,
    pub engine: Arc<Engine>,
    pub rollups: Arc<RollupCounters>,
}

pub fn router(sources: Sources) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(sources))
}

/// The dashboard has a page at this address too: a browser asks for that, a scraper for the text.
pub fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|item| item.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

async fn scrape(State(sources): State<Arc<Sources>>, uri: Uri, headers: HeaderMap) -> Response {
    if wants_page(&headers) {
        let mut page = dashboard::file(uri, headers).await;
        page.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        return page;
    }
    let mut text = Text::default();
    text.family("orrery_build_info", "gauge", "version of this server");
    text.sample("orrery_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    receivers(&mut text, &sources.collector);
    store(&mut text, &sources.store.status());
    rules(&mut text, &sources.alerting);
    notifiers(&mut text, &sources.notifiers);
    queries(&mut text, &sources.engine);
    rollups(&mut text, &sources.rollups);
    for (name, kind, help, value) in process::metrics() {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

fn receivers(text: &mut Text, collector: &Collector) {
    let mut shown: Option<Metric> = None;
    for sample in collector.samples() {
        let metric = sample.metric;
        if shown != Some(metric) {
            text.family(metric.name(), if metric.is_gauge() { "gauge" } else { "counter" }, metric.help());
            shown = Some(metric);
        }
        text.sample(metric.name(), &sample.labels, sample.value as f64);
    }
}

fn rules(text: &mut Text, alerting: &Alerting) {
    let mut shown = None;
    for sample in alerting.samples() {
        let metric = sample.metric;
        if shown.replace(metric) != Some(metric) {
            text.family(metric.name(), if metric.is_gauge() { "gauge" } else { "counter" }, metric.help());
        }
        let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        text.sample(metric.name(), &labels, sample.value);
    }
}

fn notifiers(text: &mut Text, notifiers: &Notifiers) {
    let mut shown = None;
    for sample in notifiers.samples() {
        let metric = sample.metric;
        if shown.replace(metric) != Some(metric) {
            text.family(metric.name(), if metric.is_gauge() { "gauge" } else { "counter" }, metric.help());
        }
        let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        text.sample(metric.name(), &labels, sample.value);
    }
}

/// What a metric reads from the store's status.
type Read = fn(&StoreStatus) -> f64;

/// Name, kind, help, value.
const STORE: &[(&str, &str, &str, Read)] = &[
    ("orrery_store_requests_total", "counter", "requests stored", |s| s.requests as f64),
    ("orrery_store_rows_total", "counter", "rows stored", |s| s.rows as f64),
    ("orrery_store_absorbed_total", "counter", "copies of requests that added nothing", |s| s.absorbed as f64),
    ("orrery_store_refused_no_space_total", "counter", "requests refused for lack of disk", |s| {
        s.refused_no_space as f64
    }),
    ("orrery_store_refused_overloaded_total", "counter", "requests refused for lack of memory", |s| {
        s.refused_overloaded as f64
    }),
    ("orrery_store_ingest_refused", "gauge", "1 while requests are refused", |s| {
        f64::from(u8::from(s.refusing.is_some()))
    }),
    ("orrery_store_memory_bytes", "gauge", "rows in memory", |s| {
        (s.memtable.active_bytes + s.memtable.sealed_bytes) as f64
    }),
    ("orrery_store_memory_rows", "gauge", "rows in memory", |s| {
        (s.memtable.active_rows + s.memtable.sealed_rows) as f64
    }),
    ("orrery_store_queued_bytes", "gauge", "rows on their way through the log", |s| s.queued_bytes as f64),
    ("orrery_store_files", "gauge", "Parquet files", |s| s.files as f64),
    ("orrery_store_file_bytes", "gauge", "size of the Parquet files", |s| s.file_bytes as f64),
    ("orrery_store_file_rows", "gauge", "rows in Parquet files", |s| s.file_rows as f64),
    ("orrery_store_mixed_hour_files", "gauge", "Parquet files with rows of several hours", |s| s.mixed_files as f64),
    ("orrery_store_flushes_total", "counter", "flushes", |s| s.flushes as f64),
    ("orrery_store_flushed_rows_total", "counter", "rows flushed", |s| s.flushed_rows as f64),
    ("orrery_store_flush_seconds_total", "counter", "time spent flushing", |s| s.flush_ns as f64 / 1e9),
    ("orrery_store_flush_failures_total", "counter", "flushes that failed", |s| s.flush_failures as f64),
    ("orrery_store_learned_columns", "gauge", "columns that tables have learned", |s| s.learned_columns as f64),
    ("orrery_store_learned_keys_total", "counter", "keys that got a column without being asked for", |s| {
        s.learned_keys as f64
    }),
    ("orrery_store_free_bytes", "gauge", "free space of the data volume", |s| {
        s.free_bytes.map_or(f64::NAN, |b| b as f64)
    }),
    ("orrery_compaction_merges_total", "counter", "merges of files", |s| s.compaction.runs as f64),
    ("orrery_compaction_files_total", "counter", "files merged into others", |s| s.compaction.files as f64),
    ("orrery_compaction_rows_total", "counter", "rows written again", |s| s.compaction.rows as f64),
    ("orrery_compaction_read_bytes_total", "counter", "size of merged files", |s| s.compaction.read_bytes as f64),
    ("orrery_compaction_written_bytes_total", "counter", "size of the files that came of them", |s| {
        s.compaction.written_bytes as f64
    }),
    ("orrery_compaction_seconds_total", "counter", "time spent merging", |s| s.compaction.duration_ns as f64 / 1e9),
    ("orrery_compaction_paused_seconds_total", "counter", "time that merges waited for ingest", |s| {
        s.compaction.paused_ns as f64 / 1e9
    }),
    ("orrery_compaction_running", "gauge", "1 while files are merged", |s| {
        f64::from(u8::from(matches!(s.compaction.state, "merging" | "paused")))
    }),
    ("orrery_compaction_lost_races_total", "counter", "merges that another commit had overtaken", |s| {
        s.compaction.lost_races as f64
    }),
    ("orrery_compaction_put_off_total", "counter", "merges that waited for memory or disk", |s| {
        s.compaction.put_off as f64
    }),
    ("orrery_compaction_failures_total", "counter", "merges that failed", |s| s.compaction.failures as f64),
    ("orrery_upkeep_expired_snapshots_total", "counter", "snapshots removed from the catalog", |s| {
        s.upkeep.expired_snapshots as f64
    }),
    ("orrery_upkeep_deleted_files_total", "counter", "files deleted from the disk", |s| s.upkeep.deleted_files as f64),
    ("orrery_upkeep_deleted_bytes_total", "counter", "size of these files", |s| s.upkeep.deleted_bytes as f64),
    ("orrery_upkeep_orphans_total", "counter", "files that were not in the catalog, deleted", |s| {
        s.upkeep.orphans as f64
    }),
    ("orrery_upkeep_failures_total", "counter", "rounds of upkeep that failed", |s| s.upkeep.failures as f64),
    ("orrery_upkeep_pending_bytes", "gauge", "files that no new query reads and that are to be deleted", |s| {
        s.upkeep.pending_bytes as f64
    }),
    ("orrery_wal_segments", "gauge", "segments of the write-ahead log", |s| s.wal_segments as f64),
    ("orrery_wal_bytes", "gauge", "size of the write-ahead log", |s| s.wal_bytes as f64),
    ("orrery_wal_records_total", "counter", "records written to the log", |s| s.wal_records as f64),
    ("orrery_wal_written_bytes_total", "counter", "bytes written to the log", |s| s.wal_written_bytes as f64),
    ("orrery_wal_syncs_total", "counter", "fdatasync calls on the log", |s| s.wal_syncs as f64),
    ("orrery_wal_sync_seconds_total", "counter", "time spent in fdatasync", |s| s.wal_sync_ns as f64 / 1e9),
    ("orrery_wal_quarantined_total", "counter", "damaged segments set aside", |s| s.wal_quarantined as f64),
    ("orrery_recovery_rows", "gauge", "rows read back from the log at the start", |s| s.recovery.rows as f64),
    ("orrery_recovery_missing_requests", "gauge", "requests that are neither in the log nor in a file", |s| {
        s.recovery.missing as f64
    }),
];

fn store(text: &mut Text, status: &StoreStatus) {
    for (name, kind, help, read) in STORE {
        text.family(name, kind, help);
        text.sample(name, &[], read(status));
    }
    for (what, (name, help)) in [
        ("orrery_retention_dropped_files_total", "files that need not be kept, dropped"),
        ("orrery_retention_dropped_rows_total", "rows of these files"),
        ("orrery_retention_dropped_bytes_total", "size of these files"),
    ]
    .into_iter()
    .enumerate()
    {
        text.family(name, "counter", help);
        for (why, counts) in &status.upkeep.dropped {
            text.sample(name, &[("why", why.word())], counts[what] as f64);
        }
    }
}

fn queries(text: &mut Text, engine: &Engine) {
    let (activity, caches) = (engine.activity(), engine.caches());
    for (name, help, value) in [
        ("orrery_query_sessions", "queries that run", activity.sessions as u64),
        ("orrery_query_memory_bytes", "working memory of queries and merges", activity.memory_bytes as u64),
        ("orrery_query_trace_filter_bytes", "filters of trace ids held in memory", caches.trace_filter_bytes),
        ("orrery_query_token_filter_bytes", "filters of words and of values held in memory", caches.token_filter_bytes),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[], value as f64);
    }
}

fn rollups(text: &mut Text, counters: &RollupCounters) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    for (name, kind, help, value) in [
        ("orrery_rollup_hours", "gauge", "hours of spans that were counted beforehand and hold", get(&counters.hours)),
        ("orrery_rollup_built_total", "counter", "hours counted beforehand", get(&counters.built)),
        ("orrery_rollup_spans_total", "counter", "spans counted beforehand", get(&counters.spans)),
        ("orrery_rollup_failures_total", "counter", "hours that could not be counted", get(&counters.failures)),
        ("orrery_rollup_seconds_total", "counter", "time spent counting", get(&counters.duration_ns) / 1e9),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
}

/// The exposition while it is written.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes any text");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (i, (label, value)) in labels.iter().enumerate() {
            let value = escaped(value);
            write!(self.0, "{}{label}=\"{value}\"", if i == 0 { '{' } else { ',' }).expect("a string takes any text");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").expect("a string takes any text");
    }
}

/// A label's value; files and groups are named by people.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_any_text_stay_one_value() {
        let mut text = Text::default();
        text.sample("x", &[("group", "say \"hi\"\\\n"), ("file", "a.yaml")], 1.0);
        assert_eq!(text.0, "x{group=\"say \\\"hi\\\"\\\\\\n\",file=\"a.yaml\"} 1\n");
    }

    #[test]
    fn browsers_get_the_page_and_scrapers_the_text() {
        for (accept, page) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1", false),
            ("*/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wants_page(&headers), page, "{accept}");
        }
    }
}
