//! Deadlines, memory, places and clients that go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use orrery_model::{Identity, SystemClock};
use orrery_query::{Activity, Engine, QueryConfig, QueryError};
use orrery_storage::TableSnapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture;

const IDLE: Activity = Activity { sessions: 0, tasks: 0, memory_bytes: 0 };

fn engine(change: impl FnOnce(&mut QueryConfig)) -> (Arc<Engine>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = fixture::config(folder.path());
    change(&mut config);
    let empty = fixture::snapshot([TableSnapshot::default(), TableSnapshot::default(), TableSnapshot::default()]);
    (Engine::new(Arc::new(fixture::Fixed(empty)), config, Arc::new(SystemClock)).expect("an engine"), folder)
}

async fn run(engine: &Engine, sql: &str) -> Result<usize, QueryError> {
    let session = engine.session(&Identity::default()).await?;
    let mut stream = session.sql(sql).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

async fn becomes_idle(engine: &Engine) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while engine.activity() != IDLE {
        assert!(Instant::now() < deadline, "still busy: {:?}", engine.activity());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_query_past_its_deadline_ends_and_its_work_stops() {
    let (engine, _folder) = engine(|c| c.deadline = Duration::from_millis(300));
    let started = Instant::now();
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
        "SELECT max(a.value * b.value) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b",
    ] {
        let error = run(&engine, sql).await.expect_err("the deadline is short");
        assert!(matches!(error, QueryError::DeadlineExceeded { deadline_ms: 300 }), "{error:?}");
        becomes_idle(&engine).await;
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_query_beyond_its_memory_fails_and_one_that_can_spill_does_not() {
    let (engine, _folder) = engine(|c| c.query_memory_bytes = 64 << 20);
    let error = run(&engine, "SELECT array_agg(value) FROM generate_series(1, 20000000)").await.expect_err("160 MB");
    assert_eq!(error.code(), "memory_exceeded", "{error}");
    becomes_idle(&engine).await;
    let sorted = run(&engine, "SELECT value FROM generate_series(1, 10000000) ORDER BY -value").await;
    assert_eq!(sorted.expect("it spills"), 10_000_000);
    becomes_idle(&engine).await;
}

#[tokio::test]
async fn all_queries_together_keep_to_the_budget() {
    let (engine, _folder) = engine(|c| c.memory_bytes = 16 << 20);
    let error = run(&engine, "SELECT array_agg(value) FROM generate_series(1, 20000000)").await.expect_err("160 MB");
    assert_eq!(error.code(), "memory_exceeded", "{error}");
    becomes_idle(&engine).await;
}

#[tokio::test]
async fn a_place_is_waited_for_at_most_the_deadline() {
    let (engine, _folder) = engine(|c| {
        c.max_concurrent = 1;
        c.deadline = Duration::from_millis(200);
    });
    let held = engine.session(&Identity::default()).await.expect("the only place");
    let error = engine.session(&Identity::default()).await.err().expect("no place");
    assert_eq!(error.code(), "overloaded");
    drop(held);
    engine.session(&Identity::default()).await.expect("the place is free again");
}

#[tokio::test]
async fn a_client_that_goes_stops_its_query() {
    let (engine, _folder) = engine(|c| c.deadline = Duration::from_secs(600));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = orrery_query::router(Arc::clone(&engine));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    for (sql, answers) in [
        ("SELECT * FROM generate_series(1, 1000000000000)", true),
        ("SELECT count(*) FROM generate_series(1, 1000000000000)", false),
    ] {
        let body = serde_json::json!({"query": sql, "format": "ndjson"}).to_string();
        let mut client = tokio::net::TcpStream::connect(address).await.expect("connected");
        let request = format!("POST /api/v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        client.write_all(request.as_bytes()).await.expect("sent");
        if answers {
            let mut some = [0; 4096];
            assert!(client.read(&mut some).await.expect("rows") > 0);
        } else {
            let deadline = Instant::now() + Duration::from_secs(20);
            while engine.activity().tasks == 0 {
                assert!(Instant::now() < deadline, "the query never started");
                tokio::task::yield_now().await;
            }
        }
        assert_ne!(engine.activity(), IDLE);
        drop(client);
        becomes_idle(&engine).await;
    }
    server.abort();
}
