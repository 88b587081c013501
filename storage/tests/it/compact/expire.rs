//! What no one reads any more goes from catalog and disk, what someone reads stays, also over a restart.

use std::sync::Arc;
use std::time::Duration;

use orrery_model::{TableName, TenantId};
use orrery_storage::{Lake, LakeError};

use super::{config, files, read, sealed};
use crate::support::{self, HOUR, SECOND, START, Seed, data_files};

async fn lake_with_files(dir: &std::path::Path, flushes: u64) -> Arc<Lake> {
    let lake = Arc::new(Lake::open(dir).await.expect("a lake"));
    let mut seed = Seed(1);
    let first = lake.flushed_sequence() + 1;
    for sequence in first..first + flushes {
        let batch = support::load_b(&mut seed, 20, START + sequence as i64 * SECOND);
        lake.flush(sequence, sequence, vec![sealed(TableName::Spans, batch)]).await.expect("a flush");
    }
    lake
}

async fn count(dir: &std::path::Path, table: &'static str) -> i64 {
    use sqlx::{Connection, SqliteConnection};
    let url = format!("sqlite://{}", dir.join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    let count = sqlx::query_scalar(table).fetch_one(&mut connection).await.expect("a count");
    connection.close().await.expect("it closes");
    count
}

#[tokio::test]
async fn merged_parts_stay_while_someone_reads_them_and_go_then() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = lake_with_files(dir.path(), 4).await;
    let reader = files(&lake, TableName::Spans);
    lake.compact(&config()).await.expect("it merges");
    assert_eq!(data_files(dir.path()).len(), 5);
    let expired = lake.expire(Duration::from_secs(60)).await.expect("it notes the time");
    assert_eq!((expired.snapshots, expired.files), (0, 0), "a query may have begun a moment ago");

    let expired = lake.expire(Duration::ZERO).await.expect("it expires");
    assert!(expired.snapshots > 4, "{expired:?}");
    assert_eq!((expired.files, expired.waiting), (0, 4), "the reader holds them");
    assert_eq!(reader.iter().map(|file| read(TableName::Spans, file).num_rows()).sum::<usize>(), 80);
    drop(reader);
    let expired = lake.expire(Duration::ZERO).await.expect("it deletes");
    assert_eq!((expired.files, expired.waiting), (4, 0));
    assert!(expired.bytes > 0);
    assert_eq!(data_files(dir.path()).len(), 1);
    assert_eq!(lake.expire(Duration::ZERO).await.expect("nothing to do"), Default::default());
    for (table, rows) in [
        ("SELECT count(*) FROM ducklake_data_file", 1),
        ("SELECT count(*) FROM ducklake_file_column_stats", 2),
        ("SELECT count(*) FROM ducklake_file_partition_value", 4),
        ("SELECT count(*) FROM orrery_trace_filter", 1),
        ("SELECT count(*) FROM ducklake_files_scheduled_for_deletion", 0),
        ("SELECT count(*) FROM ducklake_snapshot", 1),
        ("SELECT count(*) FROM ducklake_snapshot_changes", 1),
        ("SELECT record_count FROM ducklake_table_stats WHERE record_count > 0", 80),
    ] {
        assert_eq!(count(dir.path(), table).await, rows, "{table}");
    }
}

#[tokio::test]
async fn what_is_to_be_deleted_is_known_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = lake_with_files(dir.path(), 3).await;
    let reader = files(&lake, TableName::Spans);
    lake.compact(&config()).await.expect("it merges");
    lake.expire(Duration::ZERO).await.expect("it expires");
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ducklake_files_scheduled_for_deletion").await, 3);
    drop((lake, reader));

    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!(data_files(dir.path()).len(), 4, "they are no torn files");
    assert_eq!(lake.expire(Duration::from_secs(60)).await.expect("it deletes").files, 3);
    assert_eq!((data_files(dir.path()).len(), files(&lake, TableName::Spans)[0].rows), (1, 60));

    // And what was merged and not expired before the restart.
    drop(lake);
    let lake = lake_with_files(dir.path(), 3).await;
    lake.compact(&config()).await.expect("it merges");
    let parts = data_files(dir.path()).len();
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!(data_files(dir.path()).len(), parts, "who attached before may still read them");
    lake.flush(7, 7, vec![]).await.expect("an empty flush");
    while lake.expire(Duration::ZERO).await.expect("it expires").files == 0 {}
    assert_eq!(data_files(dir.path()).len(), files(&lake, TableName::Spans).len());
}

#[tokio::test]
async fn removed_files_are_gone_at_once_and_all_or_none_are_removed() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = lake_with_files(dir.path(), 3).await;
    let ids: Vec<i64> = files(&lake, TableName::Spans).iter().map(|file| file.id).collect();
    lake.remove(&ids[..1]).await.expect("it is removed");
    assert_eq!(files(&lake, TableName::Spans).len(), 2);
    let lost = lake.remove(&ids).await.expect_err("the first is gone");
    assert!(matches!(lost, LakeError::LostRace { id } if id == ids[0]), "{lost}");
    assert_eq!(files(&lake, TableName::Spans).len(), 2);
    assert_eq!(count(dir.path(), "SELECT count(*) FROM ducklake_data_file WHERE end_snapshot IS NOT NULL").await, 1);
    drop(lake);
    let lake = Lake::open(dir.path()).await.expect("the same lake");
    assert_eq!(files(&lake, TableName::Spans).len(), 2);
    let view = lake.remove(&ids[1..]).await.expect("they are removed");
    assert!(view.files(&TenantId::default(), TableName::Spans).is_empty());
    lake.expire(Duration::ZERO).await.expect("it expires");
    assert!(data_files(dir.path()).is_empty());
    assert!(!dir.path().join("data/main/spans/2026-03-14").exists(), "an empty day has no folder");
}

#[tokio::test]
async fn orphans_are_removed_and_nothing_else_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = lake_with_files(dir.path(), 2).await;
    lake.compact(&config()).await.expect("it merges");
    lake.flush(3, 3, vec![sealed(TableName::Spans, support::load_b(&mut Seed(2), 10, START + HOUR))])
        .await
        .expect("one");
    let kept = data_files(dir.path());
    let day = dir.path().join("data/main/spans/2026-03-14");
    let orphans = ["merge-1-4-8-spans-2026031409-77.parquet", "local-1-900-901-spans-2026031409-0.parquet"];
    let foreign = ["other-1-4-8-spans-2026031409-0.parquet", "notes.txt"];
    for name in orphans.iter().chain(&foreign) {
        std::fs::write(day.join(name), "half a file").expect("a file");
    }
    assert_eq!(lake.remove_orphans(Duration::from_secs(60)).await.expect("it looks"), 0, "they may be being written");
    assert_eq!(lake.remove_orphans(Duration::ZERO).await.expect("it removes"), 2);
    let mut expected: Vec<String> = kept.into_iter().chain(foreign.map(str::to_owned)).collect();
    expected.sort();
    assert_eq!(data_files(dir.path()), expected);
}
