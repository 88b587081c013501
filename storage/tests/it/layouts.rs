//! Where the attributes of flushed files lie, as the catalog says it: the keys of each map, at once and after a reopen.

use std::sync::Arc;

use orrery_model::{Scope, Signal, TableName, TenantId};
use orrery_storage::{CompactionConfig, FileLayout, Lake, SealedBatch, map_keys};

use crate::support::{self, SECOND, START, Seed};

fn sealed(table: Signal, batch: arrow::array::RecordBatch) -> SealedBatch {
    SealedBatch { tenant: TenantId::default(), table: table.into(), batch }
}

#[tokio::test]
async fn the_catalog_says_which_keys_the_maps_of_a_file_hold() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Lake::open(dir.path()).await.expect("a new lake");
    let mut seed = Seed(5);
    for flush in 0..3 {
        let start = START + flush * SECOND;
        let batches = vec![
            sealed(Signal::Spans, support::load_b(&mut seed, 300, start)),
            sealed(Signal::Logs, support::logs(&mut seed, 50, start)),
            sealed(Signal::Metrics, support::metrics(&mut seed, 50, 5, start)),
        ];
        lake.flush(flush as u64 + 1, flush as u64 + 1, batches).await.expect("a flush");
    }
    let reopened = {
        lake.close().await.expect("it closes");
        Lake::open(dir.path()).await.expect("the same lake")
    };
    let written = reopened.view();
    let batches = vec![sealed(Signal::Spans, support::load_b(&mut seed, 300, START))];
    let view = reopened.flush(4, 4, batches).await.expect("one more flush");
    let keys = |keys: &[&str]| Some(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
    for (table, item) in [
        (TableName::Spans, keys(&["url.scheme", "user.id", "user_agent.original"])),
        (TableName::Logs, keys(&["line"])),
        (TableName::Metrics, keys(&[])),
    ] {
        let expected = FileLayout { map_keys: [keys(&[]), keys(&[]), item], learned: Vec::new() };
        for files in [written.files(&TenantId::default(), table), view.files(&TenantId::default(), table)] {
            let first = files[0].layout.as_ref().expect("every file has a layout");
            assert_eq!(**first, expected, "{table}");
            for file in files.iter() {
                let layout = file.layout.as_ref().expect("every file has a layout");
                assert!(Arc::ptr_eq(layout, first), "{table}: files alike share one layout");
                assert_eq!(map_keys(file).expect("the file can be read"), expected.map_keys, "{table}");
            }
        }
        assert!(
            expected.lacks(Scope::Item, "nobody.sent")
                && expected.lacks(Scope::Item, "line") != (table == TableName::Logs)
        );
    }
}

#[tokio::test]
async fn a_merged_file_says_the_keys_of_all_its_parts() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = Arc::new(Lake::open(dir.path()).await.expect("a new lake"));
    let mut seed = Seed(6);
    lake.flush(1, 1, vec![sealed(Signal::Spans, support::load_b(&mut seed, 50, START))]).await.expect("a flush");
    lake.flush(2, 2, vec![sealed(Signal::Spans, support::load_a(&mut seed, 50, START))]).await.expect("a flush");
    let parts = lake.view().files(&TenantId::default(), Signal::Spans);
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    assert_eq!(lake.compact(&config).await.expect("it merges").merges, 1);
    let merged = lake.view().files(&TenantId::default(), Signal::Spans);
    let [merged] = merged.as_slice() else { panic!("one file") };
    let layout = merged.layout.as_ref().expect("it has a layout");
    let item = |layout: &FileLayout| layout.map_keys[Scope::Item as usize].clone().expect("the keys are known");
    let mut all: Vec<String> =
        parts.iter().flat_map(|part| item(part.layout.as_ref().expect("it has a layout"))).collect();
    all.sort();
    assert_eq!(item(layout), all);
    assert_eq!(all.len(), 3 + 97);
    drop(parts);
    for _ in 0..2 {
        lake.expire(std::time::Duration::ZERO).await.expect("it expires");
    }
    drop(lake);
    let left: i64 = count(dir.path(), "SELECT count(*) FROM orrery_file_layout").await;
    assert_eq!((left, count(dir.path(), "SELECT count(*) FROM orrery_layout").await), (1, 1));
}

async fn count(dir: &std::path::Path, query: &'static str) -> i64 {
    use sqlx::{Connection, SqliteConnection};
    let url = format!("sqlite://{}", dir.join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a count")
}

#[tokio::test]
async fn a_catalog_of_version_3_gets_the_tables_and_its_next_file_a_layout() {
    use sqlx::{Connection, SqliteConnection};
    let dir = tempfile::tempdir().expect("a folder");
    Lake::open(dir.path()).await.expect("a new lake").close().await.expect("it closes");
    let url = format!("sqlite://{}", dir.path().join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    for statement in [
        "DROP TABLE orrery_layout",
        "DROP TABLE orrery_file_layout",
        "DROP TABLE orrery_retired_column",
        "DROP TABLE orrery_span_input",
        "DROP TABLE orrery_rollup",
        "DROP TABLE orrery_rollup_part",
        "UPDATE orrery_format SET version = 3",
    ] {
        sqlx::query(statement).execute(&mut connection).await.expect("the statement runs");
    }
    connection.close().await.expect("it closes");
    let lake = Lake::open(dir.path()).await.expect("the older lake");
    let batches = vec![sealed(Signal::Logs, support::logs(&mut Seed(1), 10, START))];
    let view = lake.flush(1, 1, batches).await.expect("a flush");
    assert!(view.files(&TenantId::default(), Signal::Logs)[0].layout.is_some());
}
