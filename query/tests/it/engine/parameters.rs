//! Queries with parameters, and lanes of their own.

use std::time::Duration;

use orrery_model::Identity;
use orrery_query::LaneConfig;
use serde_json::json;

use crate::fixture::{self, Placement};

const NAMES: [&str; 2] = ["start", "end"];

fn second(n: i64) -> i64 {
    fixture::rows::START_NS + n * 1_000_000_000
}

#[tokio::test]
async fn parameters_are_times_and_prune_as_literals_do() {
    let (engine, _folder) = fixture::engine(Placement::Files);
    // Row n is at second n, three a file.
    let cases: [(&str, i64, i64, &[&str], u64); 5] = [
        ("SELECT name FROM spans WHERE timestamp >= $start AND timestamp < $end ORDER BY 1", 4, 6, &["s04", "s05"], 1),
        ("SELECT name FROM spans WHERE timestamp BETWEEN $start AND $end ORDER BY 1", 3, 4, &["s03", "s04"], 2),
        ("SELECT name FROM spans WHERE timestamp >= $end - INTERVAL '2 seconds' ORDER BY 1", 0, 13, &["s11", "s12"], 1),
        (
            "SELECT name FROM spans WHERE timestamp < $start AND attributes['http.route'] = '/cart' AND timestamp > TIMESTAMP '2023-01-01'",
            3,
            0,
            &["s01"],
            1,
        ),
        (
            "WITH late AS (SELECT name FROM spans WHERE timestamp > $start) \
             SELECT name FROM late WHERE name IN (SELECT name FROM spans WHERE timestamp > $start)",
            11,
            0,
            &["s12"],
            1,
        ),
    ];
    for (query, start, end, expected, files) in cases {
        let session = engine.session(&Identity::default()).await.expect("a session");
        let stream = session.sql_with_params(query, &NAMES, &[second(start), second(end)]).await.expect(query);
        let batches = stream.collect().await.expect(query);
        let rows: Vec<_> = expected.iter().map(|name| vec![json!(name)]).collect();
        assert_eq!(orrery_query::formats::json_rows(&batches).expect("rows"), rows, "{query}");
        assert_eq!(session.receipt().files, files, "{query}");
    }
}

#[tokio::test]
async fn a_prepared_query_runs_over_the_snapshots_of_others() {
    let (files, _folder) = fixture::engine(Placement::Files);
    let (memory, _other) = fixture::engine(Placement::Memory);
    let query =
        "SELECT count(*), max(attributes['http.route']) FROM spans WHERE timestamp >= $start AND timestamp < $end";
    let session = files.session(&Identity::default()).await.expect("a session");
    let prepared = session.prepare(query, &NAMES).await.expect("planned");
    assert_eq!(prepared.schema().fields().len(), 2);
    drop(session);
    for (engine, opened) in [(&files, 2), (&memory, 0), (&files, 2)] {
        for (start, end, count) in [(1, 4, 3), (1, 2, 1), (40, 50, 0)] {
            let session = engine.session(&Identity::default()).await.expect("a session");
            let stream = session.run_prepared(&prepared, &[second(start), second(end)]).await.expect("started");
            let rows = orrery_query::formats::json_rows(&stream.collect().await.expect("rows")).expect("rows");
            assert_eq!(rows[0][0], json!(count), "{start} to {end}");
            assert!(session.receipt().files <= opened);
        }
    }
}

#[tokio::test]
async fn what_has_no_parameters_says_so() {
    let (engine, _folder) = fixture::engine(Placement::Memory);
    let session = engine.session(&Identity::default()).await.expect("a session");
    for (query, message) in [
        ("SELECT $begin FROM spans", "there is no parameter $begin; there is $start and $end"),
        ("SELECT $1 FROM spans", "there is no parameter $1"),
        ("SHOW TABLES", "only a query (SELECT) has parameters"),
        ("DROP TABLE spans", "only queries run here"),
        ("SELECT name FROM spans WHERE duration_ns > $start", "Cannot infer common argument type"),
        ("SELECT nobody FROM spans WHERE timestamp > $start", "nobody"),
    ] {
        let error = match session.sql_with_params(query, &NAMES, &[0, 1]).await {
            Ok(stream) => stream.collect().await.map(|_| ()).expect_err(query),
            Err(error) => error,
        };
        assert!(error.to_string().contains(message), "{query}: {error}");
        assert_eq!(error.code(), "bad_request", "{query}: {error}");
    }
}

#[tokio::test]
async fn lanes_do_not_wait_for_one_another() {
    let (engine, _folder) = fixture::engine(Placement::Memory);
    let lane = engine.lane(LaneConfig {
        memory_bytes: 16 << 20,
        query_memory_bytes: 16 << 20,
        deadline: Duration::from_millis(300),
        max_concurrent: 1,
        partitions: 1,
        recent_bytes: 0,
    });
    let everyone = engine.config().max_concurrent;
    let mut held = Vec::new();
    for _ in 0..everyone {
        held.push(engine.session(&Identity::default()).await.expect("a place"));
    }
    let own = engine.session_in(&lane, &Identity::default()).await.expect("a place of its own");
    assert_eq!(own.collect("SELECT count(*) FROM spans").await.expect("counted").0.len(), 1);
    assert_eq!(engine.activity().sessions, everyone);
    let crowded = engine.session_in(&lane, &Identity::default()).await.err().expect("one place");
    assert_eq!(crowded.code(), "overloaded");
    drop((held, own));
    let session = engine.session_in(&lane, &Identity::default()).await.expect("the place is free again");
    let error = session.collect("SELECT array_agg(value) FROM generate_series(1, 20000000)").await.expect_err("160 MB");
    assert!(matches!(error.code(), "memory_exceeded" | "deadline_exceeded"), "{error}");
}
