//! What the sandbox lets through and what it refuses.

use futures::StreamExt;
use orrery_model::{Identity, Signal};
use orrery_query::QueryError;

use crate::fixture::{self, Placement};

async fn run(session: &orrery_query::Session, sql: &str) -> Result<usize, QueryError> {
    let mut stream = session.sql(sql).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

#[tokio::test]
async fn statements_that_write_or_read_elsewhere_are_refused() {
    let (engine, folder) = fixture::engine(Placement::Half);
    let session = engine.session(&Identity::default()).await.expect("a session");
    let out = folder.path().join("out.csv");
    let parquet = std::fs::read_dir(folder.path())
        .expect("readable")
        .map(|e| e.expect("readable").path())
        .find(|p| p.extension().is_some_and(|e| e == "parquet"))
        .expect("a data file");
    let (out_path, parquet) = (out.display(), parquet.display());
    let refused = [
        format!("COPY (SELECT 1) TO '{out_path}'"),
        format!("COPY spans TO '{out_path}' STORED AS CSV"),
        format!("EXPLAIN COPY spans TO '{out_path}'"),
        format!("EXPLAIN ANALYZE COPY spans TO '{out_path}'"),
        format!("CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{parquet}'"),
        format!("CREATE EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '{out_path}'"),
        format!("SELECT * FROM '{parquet}'"),
        format!("SELECT * FROM \"{parquet}\""),
        format!("SELECT * FROM read_parquet('{parquet}')"),
        format!("SELECT * FROM read_csv('{out_path}')"),
        format!("SELECT * FROM parquet_metadata('{parquet}')"),
        "SELECT * FROM 'x.parquet'".into(),
        "SELECT * FROM 'http://127.0.0.1/x.parquet'".into(),
        "SELECT * FROM '/etc/passwd'".into(),
        "CREATE TABLE x AS SELECT 1".into(),
        "CREATE TABLE x (a INT)".into(),
        "CREATE OR REPLACE VIEW spans AS SELECT 1".into(),
        "CREATE SCHEMA x".into(),
        "CREATE DATABASE x".into(),
        "CREATE FUNCTION f(INT) RETURNS INT RETURN $1".into(),
        "DROP TABLE spans".into(),
        "DROP VIEW spans".into(),
        "ALTER TABLE spans ADD COLUMN x INT".into(),
        "INSERT INTO spans SELECT * FROM spans".into(),
        "WITH x AS (SELECT 1) INSERT INTO spans SELECT * FROM x".into(),
        "EXPLAIN INSERT INTO spans SELECT * FROM spans".into(),
        "EXPLAIN ANALYZE INSERT INTO spans SELECT * FROM spans".into(),
        "UPDATE spans SET name = 'x'".into(),
        "DELETE FROM spans".into(),
        "TRUNCATE TABLE spans".into(),
        "SELECT * INTO x FROM spans".into(),
        "SET datafusion.execution.batch_size = 1".into(),
        "RESET datafusion.execution.batch_size".into(),
        "SHOW ALL".into(),
        "BEGIN".into(),
        "COMMIT".into(),
        "PREPARE p AS SELECT 1".into(),
        "EXECUTE p".into(),
        "DEALLOCATE p".into(),
        "ANALYZE TABLE spans".into(),
        "ATTACH 'x.db' AS x".into(),
        "LOAD 'x'".into(),
        "INSTALL x".into(),
        "VACUUM".into(),
        "USE x".into(),
        "INSERT INTO information_schema.tables SELECT 1".into(),
        "SELECT 1; SELECT 2".into(),
        "SELECT 1; DROP TABLE spans".into(),
        String::new(),
        "SELECT".into(),
        "nonsense".into(),
        "SELECT nobody FROM spans".into(),
        "SELECT nobody(1)".into(),
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}true", "NOT ".repeat(10_000)),
        format!("SELECT {}", "a.".repeat(10_000) + "b"),
    ];
    for sql in &refused {
        let shown: String = sql.chars().take(100).collect();
        match run(&session, sql).await {
            Err(QueryError::BadRequest { message, .. }) => {
                assert!(!message.trim().is_empty(), "{shown}: an empty message")
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
    assert!(!out.exists(), "something was written");
    assert_eq!(run(&session, "SELECT * FROM spans").await.expect("the table is as it was"), 12);
}

#[tokio::test]
async fn queries_and_what_describes_them_run() {
    let (engine, _folder) = fixture::engine(Placement::Half);
    let session = engine.session(&Identity::default()).await.expect("a session");
    for sql in [
        "SELECT 1",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "EXPLAIN SELECT * FROM spans",
        "EXPLAIN ANALYZE SELECT * FROM spans WHERE attributes['a'] = 'b'",
        "EXPLAIN FORMAT TREE SELECT * FROM spans",
        "DESCRIBE spans",
        "DESCRIBE SELECT name FROM spans",
        "SHOW TABLES",
        "SHOW COLUMNS FROM spans",
        "SHOW FUNCTIONS LIKE 'lower'",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM main.spans",
        "SELECT * FROM orrery.main.logs",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n",
        "SELECT * FROM spans",
        "SELECT sum(count) OVER (ORDER BY t) FROM (SELECT date_trunc('second', timestamp) AS t, count(*) AS count FROM spans GROUP BY 1)",
    ] {
        let rows = run(&session, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(rows > 0, "{sql}: no rows");
    }
}

#[tokio::test]
async fn filters_are_expressions_only() {
    let (engine, _folder) = fixture::engine(Placement::Half);
    let session = engine.session(&Identity::default()).await.expect("a session");
    for (text, rows) in [
        ("service_name = 'cart'", 4),
        ("service_name = 'cart' AND attributes['http.route'] = '/cart'", 1),
        ("attribute('http.response.status_code') >= 500 -- said so", 3),
        ("service_name = 'a' OR true", 12),
        ("name = 's01') OR (name = 's02'", -1),
        ("name = 's01'; DROP TABLE spans", -1),
        ("", -1),
        ("name", -1),
        ("1", -1),
        ("nobody = 1", -1),
        ("name = 's01' AS x", -1),
        ("name IN (SELECT name FROM spans)", -1),
        ("EXISTS (SELECT 1)", -1),
        ("(SELECT true)", -1),
        ("count(*) > 1", -1),
        ("row_number() OVER () = 1", -1),
        ("nobody(name)", -1),
        ("name = $1", -1),
        ("SELECT true", -1),
        ("name + duration_ns > timestamp", -1),
    ] {
        match session.filter(Signal::Spans, text).await {
            Ok(filter) => {
                assert!(rows >= 0, "{text}: taken as {}", filter.sql());
                let sql = format!("SELECT * FROM spans WHERE {}", filter.sql());
                let found = run(&session, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
                assert_eq!(i64::try_from(found).expect("few"), rows, "{sql}");
            }
            Err(error) => {
                assert_eq!(error.code(), "invalid_filter", "{text}: {error}");
                assert!(rows < 0, "{text}: {error}");
            }
        }
    }
}
