//! The store keeps its lake by itself: files are merged, dropped and deleted under writers and readers, and every row that
//! is to be kept is there once, at every moment and after a restart.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use orrery_model::{Signal, TenantId};
use orrery_storage::retention::{Limits, TableLimits};
use orrery_storage::{CompactionConfig, RetentionConfig, Store, StoreConfig};

use super::harness::{NOW, Numbered, Still, config, once, rows_of, send, unlocked, until};

const HOUR_NS: i64 = 3_600_000_000_000;

/// A store that looks all the time for something to do, whatever the machine's disk has free.
fn busy(dir: &Path) -> StoreConfig {
    let often = Duration::from_millis(2);
    StoreConfig {
        compaction: CompactionConfig {
            every: often,
            many_files: 3,
            settle: Duration::ZERO,
            floor_free_bytes: 0,
            ..CompactionConfig::default()
        },
        upkeep_every: often,
        grace: Duration::ZERO,
        ..config(dir)
    }
}

/// One that does nothing by itself.
fn by_hand(dir: &Path) -> StoreConfig {
    let never = Duration::from_secs(3_600);
    let busy = busy(dir);
    StoreConfig {
        compaction: CompactionConfig { enabled: false, ..busy.compaction.clone() },
        upkeep_every: never,
        ..busy
    }
}

async fn open(config: &StoreConfig) -> Arc<Store> {
    unlocked(|| Store::open(config.clone(), Arc::new(Numbered), Arc::new(Still(NOW)))).await.unwrap()
}

fn live_files(store: &Store) -> BTreeSet<String> {
    let snapshot = store.snapshot(&TenantId::default());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    snapshot.table(Signal::Logs).files.iter().map(|file| name(&file.path)).collect()
}

fn on_disk(dir: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![dir.join("data").join("data")];
    while let Some(folder) = folders.pop() {
        // A day's folder may go while we look.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => {
                    names.insert(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_are_merged_under_writers_and_readers_and_every_row_is_there_once() {
    const WRITES: i64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let store = open(&busy(dir.path())).await;
    let (acknowledged, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, acknowledged, done) = (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&done));
            tokio::task::spawn_blocking(move || {
                let mut looks = 0;
                while !done.load(Ordering::SeqCst) {
                    let known = acknowledged.load(Ordering::SeqCst);
                    let rows = rows_of(&store);
                    assert!(rows.values().all(|count| *count == 1), "a row is there twice");
                    for row in once(0..known).keys() {
                        assert!(rows.contains_key(row), "{row} is gone");
                    }
                    looks += 1;
                }
                looks
            })
        })
        .collect();
    for id in 0..WRITES {
        send(&store, id).await.unwrap();
        acknowledged.store(id + 1, Ordering::SeqCst);
        if id % 2 == 0 {
            store.flush().await.unwrap();
        }
        if id % 20 == 0 {
            // By hand beside what runs by itself.
            store.compact().await.unwrap();
            store.expire().await.unwrap();
        }
    }
    store.flush().await.unwrap();
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_eq!(store.compact().await.unwrap().failures, Vec::<String>::new());
    // Of two hours.
    assert_eq!(live_files(&store).len(), 2);
    assert_eq!(rows_of(&store), once(0..WRITES));
    until("what was merged to be deleted", || on_disk(dir.path()) == live_files(&store)).await;
    let status = store.status();
    assert!(status.compaction.runs > 2 && status.compaction.failures == 0, "{:?}", status.compaction);
    assert!(status.upkeep.deleted_files > 20 && status.upkeep.failures == 0, "{:?}", status.upkeep);
    until("the counter of what is to be deleted", || store.status().upkeep.pending_bytes == 0).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(&by_hand(dir.path())).await;
    assert_eq!(rows_of(&store), once(0..WRITES));
    assert_eq!(store.status().compaction.state, "off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_dropped_at_once_and_deleted_when_no_one_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let age = Limits { max_age: Some(Duration::from_secs(1_800)), ..Limits::default() };
    let retention = RetentionConfig {
        tables: vec![TableLimits { tenant: None, table: Signal::Logs.into(), limits: age }],
        ..RetentionConfig::default()
    };
    let store = open(&StoreConfig { retention, ..by_hand(dir.path()) }).await;
    for id in 0..4 {
        send(&store, id).await.unwrap();
    }
    // Rows in memory stay until they are in files.
    assert_eq!(store.expire().await.unwrap().dropped_files, 0);
    store.flush().await.unwrap();
    assert_eq!(on_disk(dir.path()).len(), 2);
    let reader = store.snapshot(&TenantId::default());
    let done = store.expire().await.unwrap();
    assert_eq!((done.dropped_files, done.dropped_rows, done.waiting_files), (1, 6, 1), "{done:?}");
    // Odd requests are of the hour before.
    assert_eq!(rows_of(&store), once([0, 2]));
    assert_eq!(on_disk(dir.path()).len(), 2, "the reader holds it");
    assert!(store.status().upkeep.pending_bytes > 0);
    drop(reader);
    let done = store.expire().await.unwrap();
    assert_eq!((done.dropped_files, done.deleted_files), (0, 1), "{done:?}");
    assert_eq!(on_disk(dir.path()), live_files(&store));
    assert_eq!(store.status().upkeep.pending_bytes, 0);
    drop(store);
    let store = open(&by_hand(dir.path())).await;
    assert_eq!(rows_of(&store), once([0, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_has_outgrown_its_limit_loses_its_oldest_hours_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&busy(dir.path())).await;
    for id in 0..40 {
        send(&store, id).await.unwrap();
        store.flush().await.unwrap();
    }
    store.compact().await.unwrap();
    let bytes = store.status().file_bytes;
    store.close().await.unwrap();
    drop(store);
    let retention = RetentionConfig {
        all: Limits { max_bytes: Some(bytes - 1), ..Limits::default() },
        ..RetentionConfig::default()
    };
    let store = open(&StoreConfig { retention, ..busy(dir.path()) }).await;
    until("the older hour to be gone", || live_files(&store).len() == 1).await;
    assert_eq!(rows_of(&store), once((0..40).filter(|id| id % 2 == 0)));
    let newest = store.snapshot(&TenantId::default()).table(Signal::Logs).files[0].max_timestamp_ns;
    assert!(NOW - newest < HOUR_NS);
    until("its file to be deleted", || on_disk(dir.path()).len() == 1).await;
}
