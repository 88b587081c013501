//! Real files and the real lake: copies of a request, restarts, two stores on one folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use futures::future::join_all;
use orrery_model::{TableName, TenantId};
use orrery_storage::{Appended, Store, StoreConfig, StoreError};

use super::harness::{NOW, Numbered, Still, config, once, request, rows_of, send, unlocked, until};
use crate::support::{self, Seed};

async fn open_at(config: &StoreConfig, now_ns: i64) -> Arc<Store> {
    unlocked(|| Store::open(config.clone(), Arc::new(Numbered), Arc::new(Still(now_ns)))).await.unwrap()
}

async fn open(dir: &Path) -> Arc<Store> {
    open_at(&config(dir), NOW).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_visible_when_acknowledged_and_stay_so_through_flush_restart_and_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for id in 0..30 {
        assert_eq!(send(&store, id).await.unwrap(), Appended::Stored);
        assert_eq!(rows_of(&store), once(0..=id));
    }
    let report = store.flush().await.unwrap();
    assert_eq!(report.rows, 90);
    assert_eq!(rows_of(&store), once(0..30));
    assert_eq!(store.status().memtable.active_rows, 0);
    assert_eq!(store.status().file_rows, 90);
    for id in 30..50 {
        send(&store, id).await.unwrap();
    }
    // Dropped, not closed: the log has the rest.
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(store.status().recovery.requests, 20);
    assert_eq!(rows_of(&store), once(0..50));
    store.close().await.unwrap();
    assert!(send(&store, 99).await.is_err());
    let again = open(dir.path()).await;
    assert_eq!(again.status().recovery.requests, 0);
    assert_eq!(rows_of(&again), once(0..50));
}

/// Orrery's own rows take the way of a request, and are read back without a decoder.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_own_tables_are_visible_when_acknowledged_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let tenant = TenantId::default();
    let rows = |store: &Store| {
        let snapshot = store.snapshot(&tenant);
        let alerts = snapshot.table(TableName::Alerts);
        let files: u64 = alerts.files.iter().map(|file| file.rows).sum();
        (files, alerts.memory.clone())
    };
    let store = open(dir.path()).await;
    let batch = support::alerts(&mut Seed(1), 3, support::START);
    for sent in 1..=2 {
        store.append_own(tenant.clone(), TableName::Alerts, NOW, batch.clone()).await.unwrap();
        assert_eq!(rows(&store).1.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3 * sent);
    }
    send(&store, 1).await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    assert_eq!(store.status().recovery.requests, 3);
    let (files, memory) = rows(&store);
    assert_eq!(files, 0);
    let read = concat_batches(&batch.schema(), memory.iter().map(|batch| &***batch)).unwrap();
    assert!(read == concat_batches(&batch.schema(), [&batch, &batch]).unwrap());
    store.flush().await.unwrap();
    assert_eq!((rows(&store).0, rows_of(&store)), (6, once([1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_absorbed_together_later_after_a_flush_and_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { absorb_window: Duration::from_secs(600), ..config(dir.path()) };
    let store = open_at(&config, NOW).await;
    let results = join_all((0..20).map(|_| send(&store, 1))).await;
    assert_eq!(results.iter().filter(|r| **r == Ok(Appended::Stored)).count(), 1);
    assert_eq!(results.iter().filter(|r| **r == Ok(Appended::Absorbed)).count(), 19);
    assert_eq!(send(&store, 1).await, Ok(Appended::Absorbed));
    store.flush().await.unwrap();
    assert_eq!(send(&store, 1).await, Ok(Appended::Absorbed));
    // Many segments on, the first is long gone and its hash is in a later head.
    for id in 100..200 {
        send(&store, id).await.unwrap();
        if id % 10 == 0 {
            store.flush().await.unwrap();
        }
    }
    assert!(store.status().wal_segments < 8, "{} segments", store.status().wal_segments);
    for _ in 0..3 {
        store.close().await.unwrap();
        drop(open_at(&config, NOW).await);
        let store = open_at(&config, NOW).await;
        assert_eq!(send(&store, 1).await, Ok(Appended::Absorbed));
        assert_eq!(send(&store, 150).await, Ok(Appended::Absorbed));
    }
    // Another tenant's request with the same bytes, and one that must not be absorbed.
    let store = open_at(&config, NOW).await;
    let mut other = request(1);
    other.tenant = TenantId::new("other").unwrap();
    assert_eq!(store.append(other).await, Ok(Appended::Stored));
    for _ in 0..2 {
        let mut untimed = request(7000);
        untimed.body_hash = None;
        assert_eq!(store.append(untimed).await, Ok(Appended::Stored));
    }
    assert_eq!(rows_of(&store)["1/0"], 1);
    assert_eq!(rows_of(&store)["7000/0"], 2);
    drop(store);
    // The window is over.
    let store = open_at(&config, NOW + 601_000_000_000).await;
    let mut late = request(1);
    late.received_ns = NOW + 601_000_000_000;
    assert_eq!(store.append(late).await, Ok(Appended::Stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for id in 0..40 {
        // Polled once, then dropped: the request may or may not have been queued.
        let mut append = Box::pin(send(&store, id));
        let _ = futures::poll!(append.as_mut());
        drop(append);
        send(&store, id).await.unwrap();
    }
    assert_eq!(rows_of(&store), once(0..40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_comes_by_size_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreConfig { memtable_bytes: 200 << 10, ..config(dir.path()) };
    let store = open_at(&small, NOW).await;
    for id in 0..60 {
        until("room", || store.status().refusing.is_none()).await;
        send(&store, id).await.unwrap();
    }
    until("a flush by size", || store.status().flushes > 1 && store.status().memtable.sealed_parts == 0).await;
    assert_eq!(rows_of(&store), once(0..60));
    store.close().await.unwrap();
    let quick = StoreConfig { flush_age: Duration::from_millis(20), ..config(dir.path()) };
    let store = open_at(&quick, NOW).await;
    for id in 60..63 {
        send(&store, id).await.unwrap();
        until("a flush by age", || {
            store.status().memtable.active_rows == 0 && store.status().memtable.sealed_parts == 0
        })
        .await;
    }
    assert_eq!(rows_of(&store), once(0..63));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_is_flushed_as_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for id in 0..100 {
        send(&store, id).await.unwrap();
    }
    drop(store);
    let small = StoreConfig { memtable_bytes: 200 << 10, ..config(dir.path()) };
    let store = open_at(&small, NOW).await;
    assert_eq!(store.status().recovery.requests, 100);
    assert!(store.status().file_rows > 100, "{} rows in files", store.status().file_rows);
    assert_eq!(rows_of(&store), once(0..100));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_are_put_together_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let ids: Vec<i64> = (0..2000).collect();
    for group in ids.chunks(100) {
        join_all(group.iter().map(|id| send(&store, *id))).await;
    }
    until("coalescing", || store.status().memtable.batches < 60).await;
    assert_eq!(rows_of(&store), once(0..2000));
    let status = store.status();
    assert!(status.wal_syncs < 2000, "{} syncs", status.wal_syncs);
    assert!(status.memtable.active_bytes < 20 << 20, "{} bytes", status.memtable.active_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_store_on_a_folder_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let second = Store::open(config(dir.path()), Arc::new(Numbered), Arc::new(Still(NOW))).await;
    let error = match second {
        Err(error @ StoreError::Lock(_)) => error.to_string(),
        other => panic!("{:?}", other.map(|_| "opened").map_err(|e| e.to_string())),
    };
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("started 2023-11-14T22:13:20Z"), "{error}");
    store.close().await.unwrap();
    open(dir.path()).await;
}
