//! The newest rows, and the oldest, are the same read slice by slice as all at once; and how little of files is read for
//! them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use orrery_api::Receipt;
use orrery_model::{Identity, Signal, SystemClock};
use orrery_query::formats::json_rows;
use orrery_query::{Activity, Engine, QueryConfig};
use orrery_storage::{MemoryBatch, TableSnapshot};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fixture::{self, Row, Value, rows::START_NS};

/// Files of so many rows, each overlapping the next by half; and as many rows of memory, which overlap the last one.
const FILES: usize = 6;
const ROWS: usize = 600;
/// Rows of a row group.
const GROUP: usize = 64;
/// Between rows of one time and those of the next.
const STEP_NS: i64 = 10_000_000;

/// Four rows have one time; some attributes are rare, some are missing.
fn row(part: usize, i: usize) -> Row {
    let n = part * ROWS + i;
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let at = i64::try_from(part * ROWS / 2 + i).expect("small") / 4 * STEP_NS;
    let id = Box::leak(format!("{n:016x}").into_boxed_str());
    let row = Row::default()
        .column("timestamp", Value::Int(START_NS + at))
        .column("time_source", Value::Text("sent"))
        .column("span_id", Value::Text(id))
        .column("name", Value::Text(["read", "write", "wait"][mixed % 3]))
        .column("duration_ns", Value::Int(i64::try_from(mixed % 1_000).expect("small")))
        .column("kind", Value::Text("SERVER"))
        .column("status_code", Value::Text("UNSET"))
        .resource("service.name", Value::Text(["cart", "pay", "ship", "web"][mixed / 3 % 4]))
        .item("color", Value::Text(["red", "green", "blue"][mixed / 12 % 3]));
    let row = if mixed.is_multiple_of(2) { row.item("http.route", Value::Text("/pay")) } else { row };
    if mixed.is_multiple_of(97) { row.item("rare", Value::Text("yes")) } else { row }
}

fn engine(folder: &std::path::Path, first_slice_rows: usize) -> Arc<Engine> {
    let batch = |part: usize| {
        let rows: Vec<_> = (0..ROWS).map(|i| row(part, i)).collect();
        fixture::batch(Signal::Spans, &rows)
    };
    let file = |part: usize| {
        let id = i64::try_from(part).expect("small");
        fixture::write(folder, id, Signal::Spans, &[batch(part)], GROUP)
    };
    let memory = batch(FILES);
    let memory = (0..ROWS).step_by(100).map(|at| memory.slice(at, 100));
    let spans = TableSnapshot { files: Arc::new((0..FILES).map(file).collect()), memory: MemoryBatch::all(memory) };
    let snapshot = fixture::snapshot([spans, TableSnapshot::default(), TableSnapshot::default()]);
    let config = QueryConfig { first_slice_rows, ..fixture::config(folder) };
    Engine::new(Arc::new(fixture::Fixed(snapshot)), config, Arc::new(SystemClock)).expect("an engine")
}

async fn ask(engine: &Engine, query: &str) -> (Vec<String>, Receipt) {
    let session = engine.session(&Identity::default()).await.expect("a session");
    let (batches, receipt) = session.collect(query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let rows = json_rows(&batches).expect("rows").into_iter();
    (rows.map(|row| serde_json::Value::Array(row).to_string()).collect(), receipt)
}

fn at(step: i64) -> String {
    format!("to_timestamp_nanos({})", START_NS + step * STEP_NS)
}

#[derive(Clone, Debug)]
struct Case {
    conditions: Vec<String>,
    descending: bool,
    limit: usize,
    offset: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let plain = prop::sample::select(vec![
        "attributes['color'] = 'red'",
        "attributes['color'] <> 'red'",
        "attributes['rare'] = 'yes'",
        "attributes['rare'] IS NULL",
        "attributes['nobody.sent'] = 'x'",
        "attributes['http.route'] = '/pay'",
        "attributes['http.route'] IS NULL",
        "service_name = 'pay'",
        "duration_ns > 990",
        "name LIKE 'w%'",
        "(service_name = 'pay' OR attributes['rare'] = 'yes')",
    ]);
    let steps = -10_i64..600;
    let timed = prop_oneof![
        steps.clone().prop_map(|step| format!("timestamp >= {}", at(step))),
        steps.clone().prop_map(|step| format!("timestamp < {}", at(step))),
        steps.clone().prop_map(|step| format!("timestamp = {}", at(step))),
        (steps, 0_i64..100).prop_map(|(step, more)| format!("timestamp BETWEEN {} AND {}", at(step), at(step + more))),
    ];
    let condition = prop_oneof![2 => plain.prop_map(str::to_owned), 1 => timed];
    let limit = prop_oneof![1_usize..30, Just(400), Just(2_000), Just(100_000)];
    let offset = prop_oneof![Just(0), 1_usize..20, Just(700), Just(9_999)];
    (prop::collection::vec(condition, 0..3), any::<bool>(), limit, offset)
        .prop_map(|(conditions, descending, limit, offset)| Case { conditions, descending, limit, offset })
}

#[test]
fn slices_give_the_rows_that_a_whole_scan_gives() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = engine(folder.path(), 0);
    let sliced = [20, 300, 1_500].map(|rows| engine(folder.path(), rows));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() });
    let check = |case: Case| {
        let Case { conditions, descending, limit, offset } = case;
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let order = if descending { "DESC" } else { "ASC" };
        let query = |columns: &str, keys: &str| {
            format!(
                "SELECT {columns} FROM spans WHERE {conditions} ORDER BY timestamp {order}{keys} LIMIT {limit} OFFSET {offset}"
            )
        };
        let all = format!("SELECT span_id, timestamp, attributes['color'] FROM spans WHERE {conditions}");
        runtime.block_on(async {
            let (all, _) = ask(&whole, &all).await;
            for query in [
                query("span_id, name, attributes", ", span_id"),
                query("name, attributes['rare'] AS r", ", duration_ns DESC, span_id"),
                query("count(*) OVER () AS n, timestamp", ""),
            ] {
                let (expected, _) = ask(&whole, &query).await;
                for sliced in &sliced {
                    prop_assert_eq!(&ask(sliced, &query).await.0, &expected, "{}", query);
                }
            }
            // Of rows with one time any may be the last.
            let query = query("span_id, timestamp, attributes['color']", "");
            let times =
                |rows: &[String]| rows.iter().map(|row| row.split(',').nth(1).map(str::to_owned)).collect::<Vec<_>>();
            let (expected, _) = ask(&whole, &query).await;
            for sliced in &sliced {
                let (mut rows, _) = ask(sliced, &query).await;
                prop_assert_eq!(times(&rows), times(&expected), "{}", query);
                rows.sort();
                rows.dedup();
                prop_assert_eq!(rows.len(), expected.len(), "each row once: {}", query);
                prop_assert!(rows.iter().all(|row| all.contains(row)), "{}", query);
            }
            Ok(())
        })
    };
    runner.run(&case(), check).unwrap_or_else(|error| panic!("{error}"));
}

async fn plan(engine: &Engine, query: &str) -> String {
    ask(engine, &format!("EXPLAIN {query}")).await.0.concat()
}

#[tokio::test]
async fn only_sorts_by_time_with_a_limit_over_plain_scans_are_sliced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (sliced, whole) = (engine(folder.path(), 100), engine(folder.path(), 0));
    for query in [
        "SELECT name FROM spans ORDER BY timestamp DESC LIMIT 5",
        "SELECT * FROM spans ORDER BY timestamp LIMIT 5",
        "SELECT timestamp AS t, name FROM spans WHERE attributes['color'] = 'red' ORDER BY t DESC LIMIT 5 OFFSET 20",
        "SELECT name, upper(name) FROM spans WHERE service_name = 'pay' ORDER BY timestamp, name LIMIT 5",
        "SELECT name FROM (SELECT * FROM spans WHERE duration_ns > 3) ORDER BY timestamp DESC LIMIT 5",
        "SELECT name, timestamp FROM spans UNION ALL SELECT service_name, timestamp FROM spans ORDER BY timestamp LIMIT 9",
        "SELECT a.name FROM (SELECT * FROM spans ORDER BY timestamp DESC, span_id LIMIT 50) a \
         JOIN spans b ON a.span_id = b.span_id ORDER BY a.span_id",
        "SELECT count(*) FROM (SELECT * FROM spans WHERE name = 'read' ORDER BY timestamp DESC LIMIT 50)",
    ] {
        let plan = plan(&sliced, query).await;
        assert!(plan.contains("TimeSlicesExec"), "{query}: {plan}");
        assert_eq!(ask(&sliced, query).await.0.len(), ask(&whole, query).await.0.len(), "{query}");
    }
    for query in [
        "SELECT name FROM spans ORDER BY timestamp",
        "SELECT name FROM spans LIMIT 5",
        "SELECT name FROM spans ORDER BY duration_ns DESC LIMIT 5",
        "SELECT name FROM spans ORDER BY name, timestamp LIMIT 5",
        "SELECT span_id FROM spans ORDER BY date_trunc('minute', timestamp), span_id LIMIT 5",
        "SELECT timestamp, count(*) FROM spans GROUP BY timestamp ORDER BY timestamp DESC LIMIT 5",
        "SELECT DISTINCT timestamp FROM spans ORDER BY timestamp DESC LIMIT 5",
        "SELECT span_id, row_number() OVER (PARTITION BY name ORDER BY duration_ns, span_id) AS n, timestamp FROM spans \
         ORDER BY timestamp, span_id LIMIT 5",
        "SELECT a.span_id FROM spans a JOIN spans b ON a.span_id = b.span_id ORDER BY a.timestamp DESC, a.span_id LIMIT 5",
        "SELECT timestamp FROM (SELECT timestamp FROM spans ORDER BY span_id LIMIT 90) ORDER BY timestamp DESC LIMIT 5",
        "SELECT timestamp + INTERVAL '1 second' AS timestamp FROM spans ORDER BY 1 DESC LIMIT 5",
        "SELECT timestamp FROM spans ORDER BY timestamp DESC LIMIT 4000",
    ] {
        let plan = plan(&sliced, query).await;
        assert!(!plan.contains("TimeSlicesExec"), "{query}: {plan}");
        let (found, expected) = (ask(&sliced, query).await.0, ask(&whole, query).await.0);
        assert_eq!(found.len(), expected.len(), "{query}");
        // Others leave open which rows they give.
        if query.contains("span_id") {
            assert_eq!(found, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn what_is_older_than_the_rows_found_is_left_unread() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (sliced, whole) = (engine(folder.path(), 100), engine(folder.path(), 0));
    let rows = ((FILES + 1) * ROWS) as u64;
    // The condition, the files read, and most rows.
    for (query, files, most) in [
        ("SELECT name FROM spans ORDER BY timestamp DESC LIMIT 9", 0, 200),
        ("SELECT name FROM spans ORDER BY timestamp LIMIT 9", 1, 600),
        ("SELECT name FROM spans WHERE attributes['color'] = 'red' ORDER BY timestamp DESC LIMIT 300", 2, 2_600),
        // Rows at the edge of a slice are looked at in both.
        ("SELECT name FROM spans WHERE attributes['rare'] = 'no' ORDER BY timestamp DESC LIMIT 9", 6, rows * 3 / 2),
    ] {
        let ((found, few), (expected, all)) = (ask(&sliced, query).await, ask(&whole, query).await);
        assert_eq!(found.len(), expected.len(), "{query}");
        assert!(few.files <= files, "{query}: {few:?}");
        assert_eq!(few.files + few.files_pruned, FILES as u64, "{query}: {few:?}");
        assert!(few.rows_scanned <= most, "{query}: {few:?} instead of {all:?}");
        assert_eq!(all.files, FILES as u64, "{query}: {all:?}");
    }
    let (plan, _) = ask(&sliced, "EXPLAIN ANALYZE SELECT name FROM spans ORDER BY timestamp DESC LIMIT 9").await;
    let plan = plan.concat();
    for part in ["slices_read=1", "rows_in_unread_slices=", "output_rows=9"] {
        assert!(plan.contains(part), "{part} is not in {plan}");
    }
}

#[tokio::test]
async fn a_prepared_query_is_sliced_each_time_it_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = engine(folder.path(), 50);
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = "SELECT timestamp, name FROM spans WHERE timestamp >= $start AND timestamp < $end \
        AND attributes['color'] = 'blue' ORDER BY timestamp DESC, span_id LIMIT 3";
    let prepared = session.prepare(query, &["start", "end"]).await.expect("a prepared query");
    for end in [500, 200, 900, 200] {
        let end = START_NS + end * STEP_NS;
        let session = engine.session(&Identity::default()).await.expect("a session");
        let stream = session.run_prepared(&prepared, &[START_NS, end]).await.expect("rows");
        let found = json_rows(&stream.collect().await.expect("rows")).expect("rows");
        let direct = query.replace("$start", &at(0)).replace("$end", &format!("to_timestamp_nanos({end})"));
        let expected = ask(&engine, &direct).await.0;
        let found: Vec<_> = found.into_iter().map(|row| serde_json::Value::Array(row).to_string()).collect();
        assert_eq!(found, expected, "until {end}");
        assert_eq!(found.len(), 3);
    }
}

#[tokio::test]
async fn a_client_that_goes_between_slices_stops_the_query() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = engine(folder.path(), 20);
    let session = engine.session(&Identity::default()).await.expect("a session");
    let query = "SELECT span_id FROM spans WHERE attributes['rare'] = 'yes' ORDER BY timestamp DESC LIMIT 1000";
    let mut stream = session.sql(query).await.expect("it starts");
    stream.next().await.expect("a batch").expect("rows");
    drop((stream, session));
    let deadline = Instant::now() + Duration::from_secs(20);
    while engine.activity() != (Activity { sessions: 0, tasks: 0, memory_bytes: 0 }) {
        assert!(Instant::now() < deadline, "still busy: {:?}", engine.activity());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
