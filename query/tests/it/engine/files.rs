//! Which files a query opens.

use orrery_model::Identity;
use orrery_query::Engine;
use orrery_query::formats::json_rows;

use crate::fixture::{self, Placement};

#[tokio::test]
async fn files_that_cannot_hold_a_row_are_not_opened() {
    let (engine, _folder) = fixture::engine(Placement::Files);
    // Four files of three spans each, a trace a file.
    for (condition, opened, rows) in [
        ("true", 4, 12),
        ("trace_id = 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'", 1, 3),
        ("trace_id IN ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'cccccccccccccccccccccccccccccccc')", 2, 6),
        ("trace_id = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' AND trace_id = 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'", 0, 0),
        ("timestamp < TIMESTAMP '2024-01-01 00:00:03'", 1, 2),
        ("timestamp BETWEEN TIMESTAMP '2024-01-01 00:00:03' AND TIMESTAMP '2024-01-01 00:00:04'", 2, 2),
        ("timestamp > TIMESTAMP '2024-01-01 00:00:12'", 0, 0),
        ("timestamp < TIMESTAMP '2024-01-01 00:00:02' OR trace_id = 'dddddddddddddddddddddddddddddddd'", 4, 4),
        ("attributes['big'] IS NOT NULL", 1, 2),
        ("attributes['ok'] = 'true'", 2, 2),
        ("attributes['nobody.sent'] = 'x'", 0, 0),
        ("attributes['http.response.status_code'] = 500", 4, 2),
    ] {
        let session = engine.session(&Identity::default()).await.expect("a session");
        let (batches, receipt) =
            session.collect(&format!("SELECT name FROM spans WHERE {condition}")).await.expect(condition);
        let found: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(found, rows, "{condition}");
        assert_eq!(receipt.files, opened, "{condition}");
        assert_eq!(receipt.files + receipt.files_pruned, 4, "{condition}");
    }
}

#[tokio::test]
async fn counting_all_rows_reads_none() {
    for (placement, query, expected) in [
        (Placement::Half, "SELECT count(*) FROM spans", serde_json::json!(12)),
        (Placement::Files, "SELECT max(timestamp) FROM spans", serde_json::json!("2024-01-01T00:00:12.000000000Z")),
    ] {
        let (engine, _folder) = fixture::engine(placement);
        let session = engine.session(&Identity::default()).await.expect("a session");
        let (batches, receipt) = session.collect(query).await.expect("counted");
        assert_eq!(json_rows(&batches).expect("rows"), vec![vec![expected]], "{query}");
        assert_eq!((receipt.files, receipt.bytes_scanned, receipt.rows_scanned), (0, 0, 0), "{query}");
    }
}

/// Most files lie within a window, a few across its ends: only these are asked for the times of their rows.
#[tokio::test]
async fn files_within_a_window_are_read_without_a_look_at_their_times() {
    let ((engine, _folder), (in_memory, _)) = (fixture::engine(Placement::Files), fixture::engine(Placement::Memory));
    for (condition, scans, with_times) in [
        ("timestamp >= TIMESTAMP '2024-01-01 00:00:01'", 1, 0),
        ("timestamp >= TIMESTAMP '2024-01-01 00:00:02'", 2, 1),
        ("timestamp > TIMESTAMP '2024-01-01 00:00:02' AND kind = 'SERVER'", 2, 1),
        ("timestamp >= TIMESTAMP '2024-01-01 00:00:02' AND timestamp < TIMESTAMP '2024-01-01 00:00:03'", 1, 1),
    ] {
        let query = format!("SELECT span_id FROM spans WHERE {condition} ORDER BY span_id");
        let ask = async |engine: &Engine, query: &str| {
            let session = engine.session(&Identity::default()).await.expect("a session");
            let (batches, _) = session.collect(query).await.expect(condition);
            json_rows(&batches).expect("rows")
        };
        let found = ask(&engine, &query).await;
        assert!(!found.is_empty(), "{condition}");
        assert_eq!(found, ask(&in_memory, &query).await, "{condition}");

        let plan = ask(&engine, &format!("EXPLAIN {query}")).await;
        let plan = plan[1][1].as_str().expect("a plan");
        let of_files: Vec<_> = plan.lines().filter(|line| line.contains("DataSourceExec")).collect();
        let asked = of_files.iter().filter(|line| line.contains("predicate=timestamp")).count();
        assert_eq!((of_files.len(), asked), (scans, with_times), "{condition}: {plan}");
    }
}
