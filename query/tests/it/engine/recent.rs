//! A lane that keeps rows of files answers as everyone's does, and reads a file once.

use std::time::Duration;

use arrow::array::RecordBatch;
use orrery_api::Receipt;
use orrery_model::Identity;
use orrery_query::formats::json_rows;
use orrery_query::{Lane, LaneConfig, QueryError, Session};
use serde_json::Value;

use super::learned;
use crate::fixture::{self, Placement};

const QUERIES: [&str; 12] = [
    "SELECT name FROM spans WHERE timestamp >= $start AND timestamp < $end AND service_name = 'cart' ORDER BY 1",
    // Many columns, most of them empty, and no attribute.
    "SELECT timestamp, time_source, duration_ns, trace_id, span_id, parent_span_id, trace_state, flags, name, kind, status_code, status_message, service_name, service_namespace, service_version, service_instance_id, scope_name, scope_version FROM spans WHERE timestamp >= $start AND timestamp < $end ORDER BY span_id",
    "SELECT service_name, count(*), sum(duration_ns) FROM spans WHERE timestamp >= $start AND timestamp < $end GROUP BY 1 ORDER BY 1",
    "SELECT name, attributes['http.route'], attributes['user.id'] FROM spans WHERE timestamp BETWEEN $start AND $end AND service_name IN ('cart', 'checkout') ORDER BY 1",
    "SELECT count(*) FROM spans WHERE timestamp >= $start AND timestamp < $end AND service_name = 'cart' AND service_name = 'checkout'",
    "SELECT name FROM spans WHERE timestamp >= $start AND timestamp < $end AND (service_name = 'cart' OR status_code = 'ERROR') ORDER BY 1",
    "SELECT count(*) FROM spans WHERE timestamp >= $start AND timestamp < $end AND service_name IS NULL",
    "SELECT count(*), min(attributes['load']) FROM spans WHERE timestamp >= $start AND timestamp < $end",
    "SELECT a.name FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.span_id <> b.span_id WHERE a.timestamp >= $start AND a.timestamp < $end AND b.timestamp >= $start AND b.timestamp < $end ORDER BY 1",
    "SELECT name FROM spans WHERE timestamp >= $start AND timestamp < $end AND attributes['big'] IS NOT NULL ORDER BY 1",
    "SELECT sum(attributes['user.id']) FROM spans WHERE timestamp >= $start AND timestamp < $end",
    "SELECT body, severity_text FROM logs WHERE timestamp >= $start AND timestamp < $end ORDER BY 1",
];
const NAMES: [&str; 2] = ["start", "end"];

fn lane_config(recent_bytes: usize) -> LaneConfig {
    LaneConfig {
        memory_bytes: 64 << 20,
        query_memory_bytes: 64 << 20,
        deadline: Duration::from_secs(30),
        max_concurrent: 2,
        partitions: 1,
        recent_bytes,
    }
}

async fn ask(
    session: Session,
    query: &str,
    (start, end): (i64, i64),
) -> Result<(Vec<Vec<Value>>, Receipt), QueryError> {
    let at = |second: i64| fixture::rows::START_NS + second * 1_000_000_000;
    let stream = session.sql_with_params(query, &NAMES, &[at(start), at(end)]).await?;
    let batches: Vec<RecordBatch> = stream.collect().await?;
    Ok((json_rows(&batches)?, session.receipt()))
}

#[tokio::test]
async fn rows_that_are_kept_answer_as_those_that_are_read() {
    let mut engines = learned::engines().await;
    for placement in [Placement::Files, Placement::Half] {
        engines.push((format!("{placement:?}"), fixture::engine(placement)));
    }
    for (name, (engine, folder)) in engines {
        let lane: Lane = engine.lane(lane_config(32 << 20));
        let everyone = Identity::default();
        // Windows that go on, begin earlier, and lie within others.
        for window in [(3, 9), (4, 10), (0, 13), (5, 6), (12, 13), (13, 99), (-400, 13), (200, 400), (0, 2000)] {
            for query in QUERIES {
                let expected = ask(engine.session(&everyone).await.expect("a session"), query, window).await;
                let expected = expected.expect(query).0;
                for _ in 0..2 {
                    let session = engine.session_in(&lane, &everyone).await.expect("a session");
                    let (rows, receipt) = ask(session, query, window).await.expect(query);
                    assert_eq!(rows, expected, "{query} in {window:?}, {name}");
                    assert!(receipt.files == 0 || window.1 - window.0 > 15 * 60, "{query} in {window:?}, {name}");
                }
            }
        }
        let mut expected = Vec::new();
        for query in QUERIES {
            let session = engine.session_in(&lane, &everyone).await.expect("a session");
            expected.push(ask(session, query, (2, 11)).await.expect(query).0);
        }
        std::fs::remove_dir_all(folder.path()).expect("the files can be removed");
        for (query, expected) in QUERIES.iter().zip(expected) {
            let session = engine.session_in(&lane, &everyone).await.expect("a session");
            assert_eq!(ask(session, query, (2, 11)).await.expect(query).0, expected, "{query} without files, {name}");
        }
        assert!(lane.memory().1 > 0, "rows are kept");
        assert_eq!(lane.memory().0, 0, "no query runs");
    }
}

#[tokio::test]
async fn rows_without_room_are_read_from_their_files() {
    let (engine, _folder) = fixture::engine(Placement::Files);
    let lane = engine.lane(lane_config(100));
    let everyone = Identity::default();
    for query in &QUERIES[..3] {
        let expected = ask(engine.session(&everyone).await.expect("a session"), query, (0, 13)).await.expect(query);
        for _ in 0..2 {
            let session = engine.session_in(&lane, &everyone).await.expect("a session");
            let (rows, receipt) = ask(session, query, (0, 13)).await.expect(query);
            assert_eq!((rows, receipt.files), (expected.0.clone(), expected.1.files), "{query}");
        }
    }
    assert_eq!(lane.memory(), (0, 0));
}
