//! A lake is verified beside its writer and after it has stopped; whatever is changed on the disk is found and named.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orrery_model::{TableName, TenantId};
use orrery_storage::{CompactionConfig, Lake, LakeError, SealedBatch, Verified, verify};
use sqlx::{Connection, SqliteConnection};

use crate::support::{self, HOUR, SECOND, START, Seed};

/// Two tenants, all tables, an hour of several flushes, one of which came too late to be merged, and files of many hours.
async fn make(dir: &Path) -> Arc<Lake> {
    let lake = Arc::new(Lake::open(dir).await.expect("a lake"));
    let mut seed = Seed(1);
    for sequence in 1..=4 {
        let at = START + sequence as i64 * SECOND;
        let mut sealed = Vec::new();
        for tenant in [TenantId::default(), TenantId::new("acme").expect("a name")] {
            for (table, batch) in [
                (TableName::Spans, support::load_b(&mut seed, 200, at)),
                (TableName::Logs, support::logs(&mut seed, 300, at)),
                (TableName::Metrics, support::metrics(&mut seed, 100, 20, at)),
                (TableName::Alerts, support::alerts(&mut seed, 5, at)),
            ] {
                sealed.push(SealedBatch { tenant: tenant.clone(), table, batch });
            }
        }
        for hour in 0..70 {
            let batch = support::logs(&mut seed, 1, START - hour * HOUR);
            sealed.push(SealedBatch { tenant: TenantId::default(), table: TableName::Logs, batch });
        }
        lake.flush(sequence, sequence, sealed).await.expect("a flush");
        if sequence == 3 {
            let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
            let merged = lake.compact(&config).await.expect("it merges");
            assert!(merged.failures.is_empty(), "{:?}", merged.failures);
            lake.expire(Duration::ZERO).await.expect("it notes the time");
        }
    }
    lake
}

async fn check(dir: &Path) -> Verified {
    verify(dir, Duration::ZERO, || true).await.expect("it can be looked at")
}

fn whole(found: &Verified, lake: &Lake) {
    let view = lake.view();
    assert_eq!(found.problems, []);
    assert_eq!(found.orphans, Vec::<String>::new());
    assert_eq!(found.files as usize, view.all_files().count());
    assert_eq!(found.rows, 2 * 4 * 605 + 4 * 70);
    assert_eq!(found.bytes, view.all_files().map(|file| file.size_bytes).sum::<u64>());
}

#[tokio::test]
async fn a_lake_is_verified_beside_its_writer_and_after_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let lake = make(dir.path()).await;
    whole(&check(dir.path()).await, &lake);
    while lake.expire(Duration::ZERO).await.expect("it expires").files > 0 {}
    whole(&check(dir.path()).await, &lake);
    let before: Vec<PathBuf> = lake.view().all_files().map(|file| file.path.clone()).collect();
    let view = lake.view();
    Arc::into_inner(lake).expect("nobody else has it").close().await.expect("it closes");
    let found = check(dir.path()).await;
    assert_eq!((found.problem_count, found.files as usize), (0, view.all_files().count()));
    assert!(before.iter().all(|path| path.exists()), "nothing is changed");
    let stopped = verify(dir.path(), Duration::ZERO, || false).await;
    assert!(matches!(stopped, Err(LakeError::Stopped)));
}

async fn change(dir: &Path, statement: &'static str) {
    let url = format!("sqlite://{}", dir.join("catalog.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.expect("the catalog");
    let changed = sqlx::query(statement).execute(&mut connection).await.expect("a statement");
    assert!(changed.rows_affected() > 0, "{statement}");
    connection.close().await.expect("it closes");
}

#[tokio::test]
async fn whatever_is_changed_on_the_disk_is_found_and_named() {
    let base = tempfile::tempdir().expect("a folder");
    let lake = make(base.path()).await;
    let files = lake.view().files(&TenantId::default(), TableName::Logs);
    let path = files.iter().max_by_key(|file| file.rows).expect("files").path.clone();
    let relative = path.strip_prefix(base.path().canonicalize().expect("it is there")).expect("below").to_owned();
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    Arc::into_inner(lake).expect("nobody else has it").close().await.expect("it closes");

    type Change = fn(&Path);
    let of_files: &[(Change, &str)] = &[
        (|path| std::fs::remove_file(path).expect("removed"), "it is missing"),
        (|path| std::fs::write(path, "no Parquet").expect("written"), "is damaged: it has 10 bytes"),
        (
            |path| {
                let mut bytes = std::fs::read(path).expect("the file");
                bytes[1_000] ^= 4;
                std::fs::write(path, bytes).expect("written");
            },
            "is damaged: bytes 0 to",
        ),
        (
            |path| {
                let mut bytes = std::fs::read(path).expect("the file");
                let at = bytes.len() - 20;
                bytes[at] ^= 1;
                std::fs::write(path, bytes).expect("written");
            },
            "is damaged: bytes",
        ),
    ];
    for (change, expected) in of_files {
        let dir = copy(base.path());
        change(&dir.path().join(&relative));
        let found = check(dir.path()).await;
        assert_eq!(found.problem_count, 1, "{expected}: {:?}", found.problems);
        let problem = &found.problems[0];
        assert!(problem.place.starts_with("main/logs/") && problem.place.ends_with(&name), "{problem:?}");
        assert!(problem.problem.contains(expected), "{problem:?}");
    }

    let of_catalog = [
        (
            "UPDATE ducklake_table_stats SET record_count = record_count + 1 WHERE record_count = 800",
            "its statistics say",
        ),
        ("UPDATE ducklake_file_column_stats SET null_count = 7 WHERE min_value = 'ads'", "NULL, the catalog says 7"),
        (
            "UPDATE ducklake_file_partition_value SET partition_value = '11' WHERE partition_value = '9'",
            "its partition",
        ),
        ("UPDATE ducklake_data_file SET record_count = 3 WHERE end_snapshot IS NULL", "has changed"),
        ("UPDATE orrery_trace_filter SET filter = zeroblob(32) WHERE length(filter) > 32", "has changed"),
        ("DELETE FROM orrery_live_files", "catalog"),
    ];
    for (statement, expected) in of_catalog {
        let dir = copy(base.path());
        change(dir.path(), statement).await;
        match verify(dir.path(), Duration::ZERO, || true).await {
            Ok(found) => {
                assert!(found.problem_count > 0, "{statement}");
                assert!(
                    found.problems.iter().all(|p| p.problem.contains(expected)),
                    "{expected}: {:?}",
                    found.problems
                );
            }
            Err(error) => assert!(error.to_string().contains("read the data files"), "{statement}: {error}"),
        }
    }

    // A file that no one knows is no damage.
    let dir = copy(base.path());
    let orphan = dir.path().join(&relative).with_file_name("local-1-900-901-logs-2026031409-0.parquet");
    std::fs::write(&orphan, "half a file").expect("written");
    let found = check(dir.path()).await;
    assert_eq!((found.problem_count, found.orphan_count), (0, 1));
    assert!(orphan.ends_with(&found.orphans[0]), "{:?}", found.orphans);
    let young = verify(dir.path(), Duration::from_secs(3600), || true).await.expect("it can be looked at");
    assert_eq!(young.orphan_count, 0, "it may be about to be committed");
}

fn copy(base: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let copied = std::process::Command::new("cp").arg("-a").arg(base.join(".")).arg(dir.path()).status();
    assert!(copied.is_ok_and(|status| status.success()));
    dir
}
