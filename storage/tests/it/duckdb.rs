//! DuckDB, a program that knows nothing of Orrery, reads the lake by its DuckLake catalog while it is being written.
//! Runs in a process of its own: two SQLite libraries in one crash each other.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use orrery_model::{Signal, TableName, TenantId, table};
use orrery_storage::{Lake, SealedBatch};

use crate::duckdb_shell::DuckDb;
use crate::support::{self, HOUR, Rows, SECOND, START, Seed};

fn seal(table: impl Into<TableName>, batch: &RecordBatch) -> SealedBatch {
    SealedBatch { tenant: TenantId::default(), table: table.into(), batch: batch.clone() }
}

fn column<'a>(batch: &'a RecordBatch, signal: Signal, name: &str) -> &'a dyn Array {
    batch.column(table(signal).index_of(name)).as_ref()
}

fn sum_of_durations(batch: &RecordBatch) -> i64 {
    column(batch, Signal::Spans, "duration_ns").as_primitive::<Int64Type>().iter().flatten().sum()
}

/// How many spans fulfil a test of (timestamp, service, route).
fn count(batches: &[RecordBatch], test: impl Fn(i64, &str, Option<&str>) -> bool) -> usize {
    batches
        .iter()
        .map(|batch| {
            let times = column(batch, Signal::Spans, "timestamp").as_primitive::<TimestampNanosecondType>();
            let services = column(batch, Signal::Spans, "service_name").as_string::<i32>();
            let routes = column(batch, Signal::Spans, "attributes.http.route").as_string::<i32>();
            (0..batch.num_rows())
                .filter(|&i| test(times.value(i), services.value(i), routes.is_valid(i).then(|| routes.value(i))))
                .count()
        })
        .sum()
}

#[tokio::test]
async fn counts_sums_and_filters_agree() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    for signal in Signal::ALL {
        assert_eq!(duckdb.row(&format!("SELECT count(*) FROM lake.{signal}_full")), ["0"], "an empty lake");
    }

    // Commits of growing times, over an hour's end, and the same hour of the next day.
    let starts = [START, START + SECOND, START + HOUR - SECOND / 20, START + 24 * HOUR, START + 24 * HOUR + SECOND];
    let mut spans = Vec::new();
    let mut seed = Seed(11);
    let (logs, metrics) = (support::logs(&mut seed, 700, START), support::metrics(&mut seed, 900, 9, START));
    let alerts = support::alerts(&mut seed, 40, START);
    for (sequence, start) in (1..).zip(starts) {
        let batch = support::load_b(&mut seed, 500, start);
        let mut flush = vec![seal(Signal::Spans, &batch)];
        if sequence == 2 {
            flush.extend([
                seal(Signal::Logs, &logs),
                seal(Signal::Metrics, &metrics),
                seal(TableName::Alerts, &alerts),
            ]);
        }
        lake.flush(sequence, sequence, flush).await.expect("a flush");
        spans.push(batch);
    }

    let check = |duckdb: &mut DuckDb, filter: &str, expected: usize| {
        let sql = format!("SELECT count(*) FROM lake.spans WHERE {filter}");
        assert_eq!(duckdb.row(&sql), [expected.to_string()], "{sql}");
    };
    let all = [
        spans.iter().map(RecordBatch::num_rows).sum::<usize>().to_string(),
        spans.iter().map(sum_of_durations).sum::<i64>().to_string(),
    ];
    assert_eq!(duckdb.row("SELECT count(*), sum(duration_ns) FROM lake.spans"), all);
    let values: f64 = column(&metrics, Signal::Metrics, "value").as_primitive::<Float64Type>().values().iter().sum();
    let row = duckdb.row("SELECT count(*), sum(value), count(DISTINCT series_id) FROM lake.metrics");
    assert_eq!((row[0].as_str(), row[2].as_str()), ("900", "9"));
    assert!((row[1].parse::<f64>().expect("a sum") - values).abs() < 1e-3, "{row:?} of {values}");
    let severities: i64 =
        column(&logs, Signal::Logs, "severity_number").as_primitive::<Int64Type>().values().iter().sum();
    assert_eq!(
        duckdb.row("SELECT count(*), sum(severity_number) FROM lake.logs"),
        ["700".to_owned(), severities.to_string()]
    );

    let services: usize = alerts
        .column_by_name("service_name")
        .expect("a column")
        .as_string::<i32>()
        .iter()
        .filter(|s| *s == Some("cart"))
        .count();
    assert_eq!(
        duckdb.row(
            "SELECT count(*), count(*) FILTER (labels['service_name'] = 'cart') FROM lake.alerts WHERE state = 'firing'"
        ),
        ["40".to_owned(), services.to_string()]
    );

    check(
        &mut duckdb,
        "timestamp > TIMESTAMP_NS '2026-03-14 09:00:00.9'",
        count(&spans, |t, _, _| t > START + SECOND / 10 * 9),
    );
    check(&mut duckdb, "timestamp >= TIMESTAMP_NS '2026-03-15 00:00:00'", 1000);
    let nine = count(&spans, |t, _, _| t < START + HOUR);
    check(
        &mut duckdb,
        "timestamp >= TIMESTAMP_NS '2026-03-14 09:00:00' AND timestamp < TIMESTAMP_NS '2026-03-14 10:00:00'",
        nine,
    );
    check(&mut duckdb, "hour(timestamp) = 9", nine + 1000);
    check(&mut duckdb, "hour(timestamp) = 9 AND day(timestamp) = 15", 1000);
    check(&mut duckdb, "hour(timestamp) = 10", 1500 - nine);
    check(&mut duckdb, "service_name = 'cart'", count(&spans, |_, service, _| service == "cart"));
    check(&mut duckdb, "service_name = 'nobody'", 0);
    check(
        &mut duckdb,
        "\"attributes.http.route\" = '/api/cart'",
        count(&spans, |_, _, route| route == Some("/api/cart")),
    );
    let last = column(&spans[4], Signal::Spans, "timestamp").as_primitive::<TimestampNanosecondType>();
    let ns = last.value(499) % SECOND;
    check(
        &mut duckdb,
        &format!("epoch_ns(timestamp) % 1000000000 = {ns} AND timestamp > TIMESTAMP_NS '2026-03-15'"),
        1,
    );

    let route = "SELECT count(*) FROM lake.spans_full WHERE attributes['http.route'] = '/api/cart'";
    assert_eq!(duckdb.row(route), [count(&spans, |_, _, route| route == Some("/api/cart")).to_string()]);
    let comment = "SELECT comment FROM duckdb_columns() WHERE database_name = 'lake' AND schema_name = 'main' AND
                   table_name = 'spans' AND column_name = 'duration_ns'";
    assert_eq!(duckdb.row(comment), ["Span.end_time_unix_nano, in ns"]);
    let columns = duckdb.query("SELECT column_name FROM (DESCRIBE lake.spans)");
    assert!(columns.iter().flatten().flatten().eq(table(Signal::Spans).columns.iter().map(|c| &c.name)));
}

#[tokio::test]
async fn views_put_the_attributes_together_as_they_were_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    let texts = |values: &[Option<&str>]| values.iter().map(|value| value.map(str::to_owned)).collect::<Vec<_>>();
    let pairs = |pairs: &[(&str, Option<&str>)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect::<support::Pairs>()
    };
    let old = "deployment.environment";
    let batch = Rows::new(Signal::Spans, 4)
        .times("timestamp", vec![START; 4])
        .text("span_id", texts(&[Some("1"), Some("2"), Some("3"), Some("4")]))
        .text("service_name", texts(&[Some("a"), Some("unknown_service"), Some("unknown_service"), Some("d")]))
        // The newer key alone, the older alone, both with one value, both with two.
        .text("deployment_environment", texts(&[Some("new"), Some("old"), Some("same"), Some("new")]))
        .map(
            "other_resource_attributes",
            &[
                pairs(&[]),
                pairs(&[(old, Some("old"))]),
                pairs(&[
                    (old, Some("same")),
                    ("deployment.environment.name", Some("same")),
                    ("service.name", Some("7")),
                ]),
                pairs(&[(old, Some("old")), ("empty", None)]),
            ],
        )
        .text("attributes.http.route", texts(&[Some("/a'b"), None, None, None]))
        .set(
            "attributes.http.response.status_code",
            arrow::array::Int64Array::from(vec![Some(200), None, Some(-1), None]),
        )
        .map(
            "other_attributes",
            &[pairs(&[("k.x", Some("v"))]), pairs(&[]), pairs(&[("http.route", Some("[1]"))]), pairs(&[])],
        )
        .map("other_scope_attributes", &[pairs(&[("s", Some("t"))]), pairs(&[]), pairs(&[]), pairs(&[])])
        .finish();
    let tenant = TenantId::new("acme").expect("a name");
    lake.flush(1, 1, vec![SealedBatch { tenant, table: Signal::Spans.into(), batch }]).await.expect("a flush");

    let maps = duckdb.query(
        "SELECT span_id, attributes, resource_attributes, scope_attributes FROM lake.acme.spans_full ORDER BY 1",
    );
    let maps: Vec<Vec<&str>> = maps.iter().map(|row| row.iter().flatten().map(String::as_str).collect()).collect();
    let expected = [
        [
            "1",
            "{'http.response.status_code': '200', 'http.route': \"/a'b\", 'k.x': 'v'}",
            "{'service.name': 'a', 'deployment.environment.name': 'new'}",
            "{'s': 't'}",
        ],
        ["2", "{}", "{'deployment.environment': 'old'}", "{}"],
        [
            "3",
            "{'http.response.status_code': '-1', 'http.route': '[1]'}",
            "{'deployment.environment': 'same', 'deployment.environment.name': 'same', 'service.name': '7'}",
            "{}",
        ],
        [
            "4",
            "{}",
            "{'service.name': 'd', 'deployment.environment.name': 'new', 'deployment.environment': 'old', 'empty': None}",
            "{}",
        ],
    ];
    assert_eq!(maps, expected);
    let filtered =
        "SELECT span_id FROM lake.acme.spans_full WHERE CAST(attributes['http.response.status_code'] AS BIGINT) < 0";
    assert_eq!(duckdb.row(filtered), ["3"]);
    assert_eq!(duckdb.row("SELECT count(*) FROM lake.spans_full"), ["0"], "the default tenant has none of it");
    for view in ["logs_full", "metrics_full"] {
        assert_eq!(duckdb.row(&format!("SELECT count(attributes['x']) FROM lake.acme.{view}")), ["0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_of_one_commit_while_the_writer_goes_on() {
    const COMMITS: u64 = 60;
    const ROWS: usize = 20;
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    let writer = tokio::spawn(async move {
        let mut seed = Seed(5);
        for sequence in 1..=COMMITS {
            let start = START + sequence as i64 * HOUR / 4;
            let spans = support::load_b(&mut seed, ROWS, start);
            let logs = support::logs(&mut seed, ROWS, start);
            lake.flush(sequence, sequence, vec![seal(Signal::Spans, &spans), seal(Signal::Logs, &logs)])
                .await
                .expect("a flush");
        }
    });
    let reader = tokio::task::spawn_blocking(move || {
        let (mut queries, mut between, mut last) = (0, 0, 0);
        while last < COMMITS as usize * ROWS {
            // One statement, one snapshot: both tables are of the same commit.
            let row = duckdb.row(
                "SELECT (SELECT count(*) FROM lake.spans), (SELECT count(*) FROM lake.logs),
                 (SELECT count(DISTINCT span_id) FROM lake.spans WHERE timestamp > TIMESTAMP_NS '2000-01-01')",
            );
            let counts: Vec<usize> = row.iter().map(|count| count.parse().expect("a count")).collect();
            assert!(counts[0].is_multiple_of(ROWS) && counts[0] == counts[1] && counts[0] == counts[2], "{counts:?}");
            assert!(counts[0] >= last, "{} after {last}", counts[0]);
            between += usize::from(counts[0] > 0 && counts[0] < COMMITS as usize * ROWS);
            last = counts[0];
            queries += 1;
        }
        (queries, between)
    });
    writer.await.expect("the writer ends");
    let (queries, between) = reader.await.expect("the reader ends");
    println!("{queries} queries, {between} of them between the first and the last of {COMMITS} commits");
    assert!(between > 0, "no query ran while the writer did");
}

#[tokio::test]
async fn a_moved_folder_is_read_where_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let lake = Lake::open(&old).await.expect("a new lake");
    lake.flush(1, 1, vec![seal(Signal::Spans, &support::load_a(&mut Seed(1), 40, START))]).await.expect("a flush");
    lake.close().await.expect("it closes");
    std::fs::rename(&old, &new).expect("the folder moves");
    let lake = Lake::open(&new).await.expect("the moved lake");
    assert!(lake.view().files(&TenantId::default(), Signal::Spans)[0].path.exists());
    let Some(mut duckdb) = DuckDb::attach(&new.join("catalog.sqlite")) else { return };
    assert_eq!(duckdb.row("SELECT count(DISTINCT span_id) FROM lake.spans"), ["40"]);

    // A copy that no server has opened since: a container that sees the folder under another path.
    lake.close().await.expect("it closes");
    drop(duckdb);
    std::fs::rename(&new, &old).expect("the folder moves");
    let options = format!(", DATA_PATH '{}/data/', OVERRIDE_DATA_PATH true", old.display());
    let Some(mut duckdb) = DuckDb::attach_with(&old.join("catalog.sqlite"), &options) else { return };
    assert_eq!(duckdb.row("SELECT count(DISTINCT span_id) FROM lake.spans"), ["40"]);
}

/// Every table of a DuckLake that DuckDB itself makes is in ours, to the letter.
#[tokio::test]
async fn the_catalog_has_the_tables_that_duckdb_makes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs.sqlite"));
    Lake::open(&ours).await.expect("a new lake").close().await.expect("it closes");
    let Some(mut duckdb) = DuckDb::attach(&ours.join("catalog.sqlite")) else { return };
    let data = dir.path().join("data").display().to_string();
    duckdb.query(&format!("ATTACH 'ducklake:sqlite:{}' AS theirs (DATA_PATH '{data}/')", theirs.display()));
    duckdb.query("CREATE TABLE theirs.t (a TIMESTAMP_NS)");
    duckdb.query("INSERT INTO theirs.t SELECT TIMESTAMP_NS '2026-01-01' FROM range(1000)");
    duckdb.query("DETACH theirs");
    drop(duckdb);
    let (ours, theirs) = (ducklake_tables(&ours.join("catalog.sqlite")).await, ducklake_tables(&theirs).await);
    let missing: Vec<_> = theirs.iter().filter(|sql| !ours.contains(sql)).collect();
    assert!(theirs.len() > 25 && missing.is_empty(), "{missing:#?}");
    assert_eq!(ours.len(), theirs.len());
}

/// The statements that made the tables of a catalog, less those that hold rows of small inserts.
async fn ducklake_tables(catalog: &Path) -> Vec<String> {
    use sqlx::{Connection, SqliteConnection};
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}", catalog.display())).await.expect("the catalog");
    sqlx::query_scalar(
        "SELECT sql FROM sqlite_master WHERE name LIKE 'ducklake_%' AND name NOT LIKE 'ducklake_inlined_data_%_%' AND sql IS NOT NULL
         UNION SELECT sql FROM sqlite_master WHERE name = 'ducklake_inlined_data_tables'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("its tables")
}

/// Hours that share a file have no partition; DuckDB must find their rows all the same, by the hour and by the time.
#[tokio::test]
async fn rows_of_hours_that_share_a_file_are_found() {
    const HOURS: i64 = 100;
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let Some(mut duckdb) = DuckDb::attach(&dir.path().join("catalog.sqlite")) else { return };
    let times: Vec<i64> = (0..HOURS).map(|hour| START + hour * 50 * HOUR).collect();
    let names = (0..HOURS).map(|n| Some(n.to_string())).collect();
    let rows = support::Rows::new(Signal::Spans, times.len()).times("timestamp", times.clone()).text("name", names);
    let view = lake.flush(1, 1, vec![seal(Signal::Spans, &rows.finish())]).await.expect("a flush");
    assert_eq!(view.files(&TenantId::default(), Signal::Spans).len(), 64);
    assert_eq!(duckdb.row("SELECT count(*), count(DISTINCT name) FROM lake.spans"), ["100", "100"]);
    for (n, time) in times.iter().enumerate().step_by(9) {
        let at = chrono::DateTime::from_timestamp_nanos(*time).format("%Y-%m-%d %H:%M:%S");
        let by_time = format!("SELECT name FROM lake.spans WHERE timestamp = TIMESTAMP_NS '{at}'");
        assert_eq!(duckdb.row(&by_time), [n.to_string()], "{by_time}");
        let by_hour = format!(
            "SELECT count(*) FROM lake.spans WHERE timestamp >= TIMESTAMP_NS '{at}'
             AND timestamp < TIMESTAMP_NS '{at}' + INTERVAL 1 HOUR AND year(timestamp) = {}",
            chrono::DateTime::from_timestamp_nanos(*time).format("%Y")
        );
        assert_eq!(duckdb.row(&by_hour), ["1"], "{by_hour}");
    }
}
