//! What was counted beforehand gives the same numbers as the spans: edge by edge, over every case of the graph's rules and
//! over generated traces, whatever came late, was merged, or is in memory still.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use orrery_api::{Edge, ServiceGraph, Services, Traces};
use orrery_model::{Identity, Signal, SnapshotId, TableName, TenantId};
use orrery_query::rollup::{RollupConfig, RollupKeeper};
use orrery_query::{Engine, QueryConfig, SnapshotSource};
use orrery_storage::{CompactionConfig, Lake, MemoryBatch, Rollups, SealedBatch, Snapshot, TableSnapshot};
use parking_lot::Mutex;

use super::graph::CASES;
use super::world::{At, MS, T0, World, id, spans, world_over};
use crate::fixture::config;

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
/// The hour that T0 lies in begins so many milliseconds before it.
pub const TO_HOUR: i64 = (T0 / 1_000_000) % HOUR;

/// A lake with roll-ups, and rows in memory.
struct Kept {
    lake: Arc<Lake>,
    memory: Mutex<Vec<RecordBatch>>,
}

impl SnapshotSource for Kept {
    fn snapshot(&self, tenant: &TenantId) -> Arc<Snapshot> {
        let view = self.lake.view();
        let mut tables: [TableSnapshot; TableName::COUNT] = Default::default();
        for table in TableName::ALL {
            tables[table.index()].files = view.files(tenant, table);
        }
        tables[TableName::Spans.index()].memory = MemoryBatch::all(self.memory.lock().clone());
        Arc::new(Snapshot { id: SnapshotId(1), tenant: tenant.clone(), sequence: 1, tables })
    }

    fn rollups(&self) -> Option<Rollups> {
        Some(self.lake.rollups())
    }
}

/// A lake, and an API over it.
struct Setup {
    kept: Arc<Kept>,
    world: World,
    engine: Arc<Engine>,
    /// Over the same lake, and never answers from what was counted beforehand.
    raw: Arc<Engine>,
    sequence: u64,
}

impl Setup {
    async fn new(now: i64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lake = Arc::new(Lake::open(folder.path()).await.expect("a new lake"));
        let kept = Arc::new(Kept { lake, memory: Mutex::default() });
        let config = QueryConfig { rollups: false, ..config(folder.path()) };
        let raw = Engine::new(Arc::clone(&kept) as _, config, Arc::new(At(T0 + now * MS))).expect("an engine");
        let (world, engine) = world_over(Arc::clone(&kept) as _, folder, now);
        Self { kept, world, engine, raw, sequence: 0 }
    }

    async fn flush(&mut self, batch: RecordBatch) {
        self.sequence += 1;
        let sealed = SealedBatch { tenant: TenantId::default(), table: TableName::Spans, batch };
        self.kept.lake.flush(self.sequence, self.sequence, vec![sealed]).await.expect("a flush");
    }

    async fn roll(&self) -> u64 {
        Self::roll_by(&self.engine).await
    }

    async fn roll_by(engine: &Arc<Engine>) -> u64 {
        let rolled = RollupKeeper::run_once(Arc::clone(engine), RollupConfig::default()).await;
        assert_eq!(rolled.failures, Vec::<String>::new());
        rolled.built
    }

    async fn merge(&self) {
        let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
        let done = self.kept.lake.compact(&config).await.expect("it merges");
        assert!(done.failures.is_empty() && done.merges > 0, "{done:?}");
    }

    async fn graph(&self, (start, end): (i64, i64), rollups: &str) -> ServiceGraph {
        let (start, end) = ((T0 + start * MS).to_string(), (T0 + end * MS).to_string());
        let asked = [("start", start.as_str()), ("end", end.as_str()), ("rollups", rollups)];
        self.world.get("service-graph", &asked).await
    }

    /// Asserts that both ways give the same; gives the minutes that roll-ups answered.
    async fn same(&self, window: (i64, i64), what: &str) -> u64 {
        let (rolled, raw) = (self.graph(window, "use").await, self.graph(window, "ignore").await);
        let what = format!("{what}, window {window:?}");
        assert_eq!(raw.receipt.minutes.map(|m| m.rollups), Some(0), "{what}");
        let of = |graph: &ServiceGraph, edge: &Edge| {
            graph.edges.iter().find(|e| e.id == edge.id).cloned().map(|e| format!("{e:?}"))
        };
        for edge in raw.edges.iter().chain(&rolled.edges) {
            assert_eq!(of(&rolled, edge), of(&raw, edge), "{what}: rolled up and raw");
        }
        assert_eq!(rolled.nodes, raw.nodes, "{what}");
        assert_eq!((rolled.completeness, rolled.pending), (raw.completeness, raw.pending), "{what}");
        assert_eq!(rolled.receipt.copies, raw.receipt.copies, "{what}");
        self.same_services(window, &what).await;
        rolled.receipt.minutes.expect("it says what answered").rollups
    }

    async fn same_services(&self, (start, end): (i64, i64), what: &str) {
        let (start, end) = ((T0 + start * MS).to_string(), (T0 + end * MS).to_string());
        let asked = async |rollups: &str| -> Services {
            let asked = [("start", start.as_str()), ("end", end.as_str()), ("rollups", rollups)];
            self.world.get("services", &asked).await
        };
        let (rolled, raw) = (asked("use").await, asked("ignore").await);
        for (rolled, raw) in rolled.services.iter().zip(&raw.services) {
            assert_eq!(rolled, raw, "{what}: rolled up and raw");
        }
        assert_eq!(rolled.services.len(), raw.services.len(), "{what}");
        assert_eq!(rolled.receipt.copies, raw.receipt.copies, "{what}");
        assert_eq!(raw.receipt.minutes.map(|m| m.rollups), Some(0), "{what}");
    }

    /// Asserts that a statement gives the same rows from both; gives how many.
    async fn same_rows(&self, query: &str, what: &str) -> usize {
        let rows = async |engine: &Engine| {
            let session = engine.session(&Identity::default()).await.expect("a session");
            let batches = session.collect(query).await.unwrap_or_else(|e| panic!("{what}: {query}: {e}")).0;
            let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            (rows, pretty_format_batches(&batches).expect("rows as text").to_string())
        };
        let (rolled, raw) = (rows(&self.engine).await, rows(&self.raw).await);
        assert_eq!(rolled, raw, "{what}: {query}");
        raw.0
    }

    /// The tables in SQL, histograms, exemplars and all.
    async fn same_tables(&self, what: &str) {
        let since = format!("timestamp >= arrow_cast({}, 'Timestamp(Nanosecond, None)')", T0 - HOUR * MS / 2);
        for (table, order) in [("service_edges", "edge"), ("service_operations", "service, name, kind")] {
            let all = format!("SELECT * FROM {table} ORDER BY timestamp, {order}");
            assert!(self.same_rows(&all, what).await > 0, "{what}: {table}");
            let some = format!("SELECT * FROM {table} WHERE {since} ORDER BY timestamp, {order}");
            self.same_rows(&some, what).await;
            let sums =
                format!("SELECT kind, sum(calls), sum(errors), sum(sum_ns) FROM {table} GROUP BY kind ORDER BY kind");
            self.same_rows(&sums, what).await;
        }
    }

    /// Windows of whole hours, of whole minutes and of neither, around T0.
    async fn same_in_all_windows(&self, what: &str) -> u64 {
        let hour = -TO_HOUR;
        let windows = [
            (hour, hour + HOUR),
            (hour - 3 * HOUR, hour + 2 * HOUR),
            (hour + 7 * MINUTE, hour + 14 * MINUTE),
            (hour - 10 * MINUTE, hour + 20 * MINUTE),
            (hour - 12_345, hour + 40 * MINUTE + 7),
            (-1_000_000, 1_000_000),
            (0, 100),
        ];
        let mut answered = 0;
        for window in windows {
            answered += self.same(window, what).await;
        }
        answered
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_graph_is_the_same_from_rollups() {
    for case in CASES {
        // Late enough that the hour is over.
        let mut setup = Setup::new(case.now.max(HOUR)).await;
        for line in case.spans {
            setup.flush(spans(&[line])).await;
        }
        assert!(setup.roll().await > 0, "{}", case.name);
        assert!(setup.same_in_all_windows(case.name).await > 0, "{}", case.name);
        setup.same(case.window, case.name).await;
    }
}

/// Numbers without a pattern, the same for a seed.
pub struct Seed(pub u64);

impl Seed {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// Traces of all shapes, a line a span: calls and fan-out, brokers with links, databases, externals, a service that is
/// down, copies, lost spans, parents hours before, thresholds of sampling, skewed clocks; near the ends of the hour more
/// than elsewhere.
pub fn generated(seed: &mut Seed, traces: u64) -> Vec<String> {
    const SERVICES: [&str; 6] = ["shop", "cart", "eu/stock", "us/stock", "pay", "mail"];
    const HOSTS: [&str; 6] = ["api.stripe.com", "cart", "stock", "down", "10.0.0.7", "cart.prod.svc.cluster.local"];
    let mut lines = Vec::new();
    for trace in 0..traces {
        let hour = [0, HOUR, 2 * HOUR][seed.below(3) as usize];
        let near_end = [0, 30_000, 59 * MINUTE + 58_000, 58 * MINUTE, seed.below(HOUR as u64) as i64];
        let start = -TO_HOUR - HOUR + hour + near_end[seed.below(5) as usize] + seed.below(3_000) as i64;
        let state = seed.one(&["", "", " state=ot=th:8", " state=ot=th:c", " state=ot=th:fd70a3d70a3d71"]);
        // Of each open span: name, service, start.
        let mut open: Vec<(String, &str, i64)> = vec![("-".to_owned(), "shop", start)];
        for i in 0..2 + seed.below(12) {
            let (parent, caller, at) = open[seed.below(open.len() as u64) as usize].clone();
            let skew = [0, 0, 0, -40_000, 100_000, -130_000, 200_000][seed.below(7) as usize];
            let begin = at + seed.below(400) as i64 + if seed.below(8) == 0 { skew } else { 0 };
            let took = [3, 40, 900, 30_000, 150_000, 7_200_000][(seed.below(60) / 11) as usize];
            let name = format!("{trace:x}.{i:x}");
            let error = seed.one(&["", "", "", " error"]);
            let callee = seed.one(&SERVICES);
            let (kind, service, words) = match seed.below(10) {
                0..=2 => ("S", callee, format!(" server.address={callee}.local")),
                3 => ("C", caller, format!(" server.address={}", seed.one(&HOSTS))),
                4 => ("C", caller, " db.system=redis db.name=zero".to_owned()),
                5 => ("I", caller, String::new()),
                6 => ("P", caller, " messaging.system=kafka messaging.destination.name=orders".to_owned()),
                7 => {
                    let operation = seed.one(&["receive", "process"]);
                    let to = seed.one(&["", " messaging.destination.name=orders"]);
                    ("K", callee, format!(" messaging.operation={operation} link=t{trace:x}/{trace:x}.0{to}"))
                }
                8 => ("K", callee, " messaging.destination.name=orders messaging.operation=process".to_owned()),
                _ => ("C", caller, String::new()),
            };
            let client = seed.one(&["1.2.3.4", "partner.example", "cart"]);
            let (version, instance) = (seed.below(2), seed.below(3));
            let words = format!(
                "{words}{error}{state} client.address={client} r:service.version=v{version} r:service.instance.id=i{instance}"
            );
            let line = format!("t{trace:x} {name}<{parent} {kind} {service} {begin}+{took}{words}");
            let copies = [1, 1, 1, 1, 1, 2][seed.below(6) as usize];
            // One in nine is lost.
            if seed.below(9) > 0 {
                lines.extend(std::iter::repeat_n(line.clone(), copies));
                if seed.below(40) == 0 {
                    lines.push(format!("t{trace:x} {name}<{parent} {kind} {service} {begin}+{}{words}", took + 1));
                }
            }
            // Zipkin's: the server has its client's id.
            if kind == "C" && seed.below(5) == 0 {
                lines.push(format!("t{trace:x} {name}<{parent} S {callee} {}+{took}{words}", begin + skew / 3));
            }
            open.push((name, service, begin));
        }
    }
    lines
}

fn batch(lines: &[String]) -> RecordBatch {
    spans(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_traces_are_the_same_from_rollups_whatever_comes_late_is_merged_or_in_memory() {
    let seeds = std::env::var("ORRERY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for number in 0..seeds {
        let mut seed = Seed(number);
        // All of it is over long since.
        let mut setup = Setup::new(10 * HOUR).await;
        let lines = generated(&mut seed, 60);
        let (most, late) = lines.split_at(lines.len() * 9 / 10);
        for lines in most.chunks(most.len().div_ceil(4)) {
            setup.flush(batch(lines)).await;
        }
        let what = |step: &str| format!("seed {number}, {step}");
        assert!(setup.roll().await >= 3, "{}", what("three hours"));
        let answered = setup.same_in_all_windows(&what("rolled up")).await;
        assert!(answered > 60, "{answered} minutes");
        setup.merge().await;
        let merged = setup.same_in_all_windows(&what("merged")).await;
        assert_eq!(merged, answered, "a merge changes nothing");
        assert_eq!(setup.roll().await, 0, "nor is anything to be counted again");
        setup.same_tables(&what("merged")).await;

        // A span far away disturbs no other hour; one more in memory disturbs its own hour only.
        *setup.kept.memory.lock() = vec![batch(&[format!("far f<- S shop {}+5", 5 * HOUR)])];
        assert_eq!(setup.same_in_all_windows(&what("a span elsewhere in memory")).await, answered);
        setup.kept.memory.lock().push(batch(&late[..late.len() / 2]));
        setup.same_in_all_windows(&what("late spans in memory")).await;
        setup.same_tables(&what("late spans in memory")).await;
        let memory = std::mem::take(&mut *setup.kept.memory.lock());
        for batch in memory {
            setup.flush(batch).await;
        }
        setup.flush(batch(&late[late.len() / 2..])).await;
        setup.same_in_all_windows(&what("late spans in files")).await;
        setup.roll().await;
        let again = setup.same_in_all_windows(&what("counted again")).await;
        assert!(again >= answered, "{again} of {answered} minutes");
        setup.same_tables(&what("counted again")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_that_are_counted_a_part_of_the_traces_at_a_time_are_kept_the_same() {
    for number in 0..3 {
        let mut seed = Seed(100 + number);
        let mut setup = Setup::new(10 * HOUR).await;
        let lines = generated(&mut seed, 60);
        for lines in lines.chunks(lines.len().div_ceil(4)) {
            setup.flush(batch(lines)).await;
        }
        let what = format!("seed {number}");
        assert!(Setup::roll_by(&setup.world.holding(25).1).await >= 3, "{what}");
        assert!(setup.same_in_all_windows(&what).await > 60, "{what}");
        setup.same_tables(&what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_arrives_later_in_another_hour_is_seen() {
    let mut setup = Setup::new(10 * HOUR).await;
    setup.flush(spans(&["t b<a S cart 0+5", "u x<- S shop 1+5"])).await;
    assert_eq!(setup.roll().await, 1);
    let whole = (-TO_HOUR, -TO_HOUR + HOUR);
    assert_eq!(setup.same(whole, "without the parent").await, 60);
    let parent = spans(&[&format!("t a<- C shop {}+7200000", -2 * HOUR)]);
    *setup.kept.memory.lock() = vec![parent.clone()];
    assert_eq!(setup.same(whole, "the parent is in memory").await, 0);
    setup.kept.memory.lock().clear();
    setup.flush(parent).await;
    assert_eq!(setup.same(whole, "the parent is in a file").await, 0);
    assert_eq!(setup.graph(whole, "use").await.edges.len(), 2);
    // Another hour's spans that are no parents change nothing, and the hour is counted again with the parent.
    setup.flush(spans(&[&format!("w y<- S shop {}+1", -3 * HOUR)])).await;
    assert_eq!(setup.roll().await, 3);
    assert_eq!(setup.same(whole, "counted again").await, 60);
    setup.flush(spans(&[&format!("w z<- S shop {}+1", -3 * HOUR + 1)])).await;
    assert_eq!(setup.same(whole, "a span of an earlier hour").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_that_was_dropped_is_not_answered_from_what_was_counted() {
    let mut setup = Setup::new(10 * HOUR).await;
    let hour = -TO_HOUR;
    setup.flush(spans(&[&format!("t a<- C shop {}+100", hour - 50), "u x<- S shop 1+5"])).await;
    setup.flush(spans(&[&format!("t b<a S cart {}+5", hour + 10)])).await;
    assert_eq!(setup.roll().await, 2);
    let window = (hour - HOUR, hour + HOUR);
    assert_eq!(setup.same(window, "both hours").await, 120);
    let files = setup.kept.lake.view().files(&TenantId::default(), Signal::Spans);
    let oldest = files.iter().min_by_key(|f| f.min_timestamp_ns).expect("files").id;
    setup.kept.lake.remove(&[oldest]).await.expect("the hour is dropped");
    // The later hour's call was counted with its caller, which is gone.
    assert_eq!(setup.same(window, "one is dropped").await, 0);
    assert_eq!(setup.roll().await, 1);
    assert_eq!(setup.same(window, "the other is counted again").await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_traces_says_what_the_search_for_traces_says() {
    let mut setup = Setup::new(10 * HOUR).await;
    // One span an hour later, one in memory, a copy, one whose parent was lost, and two roots.
    setup
        .flush(spans(&["t r<- S shop 0+90", "t a<r C shop 1+50 error", "u x<lost S eu/cart 5+7", "v y<- I cron 3+1"]))
        .await;
    setup.flush(spans(&[&format!("t b<a S cart {}+30", HOUR), "t a<r C shop 1+50 error", "v z<- S cron 4+900"])).await;
    *setup.kept.memory.lock() = vec![spans(&["t c<b I cart 70+5 error"])];
    let asked = [("start", (T0 - HOUR * MS).to_string()), ("end", (T0 + 2 * HOUR * MS).to_string())];
    let asked: Vec<(&str, &str)> = asked.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let mut found: Traces = setup.world.get("traces", &asked).await;
    found.traces.sort_by(|a, b| a.trace_id.cmp(&b.trace_id));
    let shown: Vec<String> = found
        .traces
        .iter()
        .map(|t| {
            format!(
                "{} {} {} {} {} {} {} [{}]",
                t.trace_id,
                t.start,
                t.duration_ns,
                t.spans,
                t.errors,
                t.service_name,
                t.name,
                t.services.join(", ")
            )
        })
        .collect();
    assert_eq!(shown.len(), 3);
    let session = setup.engine.session(&Identity::default()).await.expect("a session");
    let query = "SELECT trace_id || ' ' || CAST(timestamp AS VARCHAR) || 'Z ' || CAST(duration_ns AS VARCHAR) || ' ' || \
                 CAST(spans AS VARCHAR) || ' ' || CAST(errors AS VARCHAR) || ' ' || \
                 CASE WHEN service_namespace IS NULL THEN service_name ELSE service_namespace || '/' || service_name END || ' ' || \
                 name || ' [' || array_to_string(services, ', ') || ']' AS line FROM traces ORDER BY trace_id";
    let batches = session.collect(query).await.expect("rows").0;
    let lines: Vec<String> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let seconds = |line: &str| line.replace(".000000000Z", "Z").replace("000000Z", "Z");
    assert_eq!(
        lines.iter().map(|l| seconds(l)).collect::<Vec<_>>(),
        shown.iter().map(|l| seconds(l)).collect::<Vec<_>>()
    );
    let one = format!("SELECT spans, end_timestamp > timestamp FROM traces WHERE trace_id = '{}'", id("t", 32));
    let rows = session.collect(&one).await.expect("rows").0;
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}
