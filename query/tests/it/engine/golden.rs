//! Golden SQL: every file of `tests/slt` gives the same rows wherever the telemetry is. `COMPLETE=1` rewrites the expected
//! rows from what memory gives, to be reviewed.

use std::sync::Arc;

use super::learned;
use crate::fixture::{self, Placement};
use futures::StreamExt;
use orrery_model::Identity;
use orrery_query::{Engine, QueryError};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};

struct Database(Arc<Engine>);

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = QueryError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, QueryError> {
        let session = self.0.session(&Identity::default()).await?;
        let mut stream = session.sql(sql).await?;
        let width = stream.schema().fields().len();
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        let text = |value: serde_json::Value| match value {
            serde_json::Value::Null => "NULL".to_owned(),
            serde_json::Value::String(text) if text.is_empty() => "(empty)".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let rows = orrery_query::formats::json_rows(&batches)?;
        let rows = rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; width], rows })
    }

    async fn shutdown(&mut self) {}
}

fn files() -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder of golden files").map(|e| e.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[tokio::test]
async fn golden_sql_gives_the_same_rows_in_every_placement() {
    if std::env::var_os("COMPLETE").is_some() {
        let (engine, _folder) = fixture::engine(Placement::Memory);
        let mut runner = sqllogictest::Runner::new(|| async { Ok(Database(engine.clone())) });
        for file in files() {
            let (validator, normalizer, columns) = (
                sqllogictest::default_validator,
                sqllogictest::default_normalizer,
                sqllogictest::default_column_validator,
            );
            runner.update_test_file(&file, " ", validator, normalizer, columns).await.expect("updated");
        }
    }
    let mut failures = Vec::new();
    let placed = Placement::ALL.map(|placement| (format!("{placement:?}"), fixture::engine(placement)));
    for (placement, (engine, _folder)) in placed.into_iter().chain(learned::engines().await) {
        for file in files() {
            let mut runner = sqllogictest::Runner::new(|| async { Ok(Database(engine.clone())) });
            for record in sqllogictest::parse_file::<DefaultColumnType>(&file).expect("a well-formed file") {
                if let Err(error) = runner.run_async(record).await {
                    failures.push(format!("{placement}: {error}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n\n"), failures.len());
}
