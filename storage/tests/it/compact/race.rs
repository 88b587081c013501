//! Two merges, two writers, an expiry and four readers at once: every reader sees every row of a prefix of the writes once,
//! and in the end every row is there once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array};
use orrery_model::{TableName, table};
use orrery_storage::fs::RealFileSystem;
use orrery_storage::{CompactionConfig, Lake, LakeError, LakeView, Steps};
use tokio::sync::Mutex;

use super::{config, files, read, sealed};
use crate::support::{Rows, SECOND, START, Seed, data_files};
use crate::torture::{Torture, scratch};

const WRITES: u64 = 24;

/// Spans that say which write they are of, by their duration, and the how-manieth, by their flags.
fn write(sequence: u64, len: usize) -> arrow::array::RecordBatch {
    let services = ["cart", "shop", "ads"];
    Rows::new(TableName::Spans, len)
        .times("timestamp", (0..len as i64).map(|row| START + (sequence as i64 * 7 + row * 13) % 50 * SECOND).collect())
        .set("duration_ns", Int64Array::from(vec![sequence.cast_signed(); len]))
        .set("flags", Int64Array::from((0..len as i64).collect::<Vec<_>>()))
        .text("service_name", (0..len).map(|row| Some(services[row % 3].to_owned())).collect())
        .text("trace_id", (0..len).map(|row| Some(format!("{:032x}", sequence * 100 + row as u64))).collect())
        .finish()
}

fn rows_of(sequence: u64) -> usize {
    5 + sequence as usize % 7
}

/// The writes that are visible, each checked to be there whole and once. They are a prefix.
fn visible(view: &LakeView) -> u64 {
    let (write, row) = (table(TableName::Spans).index_of("duration_ns"), table(TableName::Spans).index_of("flags"));
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for file in view.files(&orrery_model::TenantId::default(), TableName::Spans).iter() {
        let rows = read(TableName::Spans, file);
        let column = |index: usize| rows.column(index).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        for (write, row) in column(write).into_iter().zip(column(row)) {
            found.entry(write).or_default().push(row);
        }
    }
    for (expected, (write, rows)) in (1..).zip(&mut found) {
        assert_eq!(*write, expected, "write {expected} is missing");
        rows.sort_unstable();
        assert_eq!(*rows, (0..rows_of(write.cast_unsigned()) as i64).collect::<Vec<_>>(), "write {write}");
    }
    found.len() as u64
}

/// One round in a folder of its own. Gives the merges that were won and those that were lost.
async fn round(dir: &Path, seed: u64) -> (u64, u64) {
    let lake = Arc::new(Lake::open(dir).await.expect("a lake"));
    let (writers_done, sequence) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
    let (won, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..2 {
        let (lake, sequence) = (Arc::clone(&lake), Arc::clone(&sequence));
        let mut seed = Seed(seed.wrapping_mul(2) + writer);
        writers.spawn(async move {
            loop {
                // As in the store, where flushes come one after another.
                let mut last = sequence.lock().await;
                if *last == WRITES {
                    return;
                }
                *last += 1;
                lake.flush(*last, *last, vec![sealed(TableName::Spans, write(*last, rows_of(*last)))])
                    .await
                    .expect("one");
                drop(last);
                if seed.below(3) == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let mut others = tokio::task::JoinSet::new();
    for many_files in [2, 3] {
        let (lake, done) = (Arc::clone(&lake), Arc::clone(&writers_done));
        let (won, lost) = (Arc::clone(&won), Arc::clone(&lost));
        others.spawn(async move {
            let config = CompactionConfig { many_files, ..config() };
            loop {
                let last = done.load(Ordering::SeqCst);
                let merged = lake.compact(&config).await.expect("it merges or loses");
                assert!(merged.failures.is_empty(), "{:?}", merged.failures);
                won.fetch_add(merged.merges, Ordering::Relaxed);
                lost.fetch_add(merged.lost_races, Ordering::Relaxed);
                if last {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    {
        let (lake, done) = (Arc::clone(&lake), Arc::clone(&writers_done));
        others.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                lake.expire(Duration::ZERO).await.expect("it expires");
                lake.remove_orphans(Duration::ZERO).await.expect("it looks for orphans");
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..4 {
        let (lake, done) = (Arc::clone(&lake), Arc::clone(&writers_done));
        others.spawn_blocking(move || {
            let mut seen = 0;
            while seen < WRITES {
                let last = done.load(Ordering::SeqCst);
                let now = visible(&lake.view());
                assert!(now >= seen, "{now} writes after {seen}");
                assert!(!last || now == WRITES, "{now} of {WRITES} writes when all were done");
                seen = now;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer");
    }
    writers_done.store(true, Ordering::SeqCst);
    while let Some(ended) = others.join_next().await {
        ended.expect("it ends well");
    }
    assert_eq!(visible(&lake.view()), WRITES);
    assert_eq!(files(&lake, TableName::Spans).len(), 1);
    lake.expire(Duration::ZERO).await.expect("it expires");
    lake.expire(Duration::ZERO).await.expect("it expires");
    drop(lake);
    let lake = Lake::open(dir).await.expect("the same lake");
    assert_eq!(visible(&lake.view()), WRITES);
    assert_eq!(data_files(dir).len(), 1, "nothing is left of the races");
    (won.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_merges_two_writers_and_four_readers_agree() {
    let torture = Torture::start("race");
    let rounds = torture.size(3, 1_000);
    let mut seeds = torture.random(1);
    let (mut won, mut lost) = (0, 0);
    for done in 1..=rounds {
        let dir = scratch();
        let (w, l) = round(dir.path(), seeds.next()).await;
        won += w;
        lost += l;
        torture.after(done, rounds);
    }
    assert!(won >= rounds as u64);
    torture.done(format!("{rounds} rounds of {WRITES} writes: {won} merges won, {lost} lost, every row once"));
}

/// While one merge is about to commit another commit takes one of its parts away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_was_overtaken_loses_cleanly() {
    let dir = tempfile::tempdir().expect("a folder");
    let (at_verified, verified) = mpsc::channel::<()>();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let steps = Steps::told_to(move |step| {
        if step == "the merge is verified" && at_verified.send(()).is_ok() {
            // Sent once; when the sender is gone nobody waits any more.
            let _ = wait.lock().expect("one merge at a time").recv();
        }
    });
    let lake = Arc::new(Lake::open_told(dir.path(), Arc::new(RealFileSystem), steps).await.expect("a lake"));
    for sequence in 1..=3 {
        let batch = write(sequence, rows_of(sequence));
        lake.flush(sequence, sequence, vec![sealed(TableName::Spans, batch)]).await.expect("a flush");
    }
    let before = files(&lake, TableName::Spans);
    let merging = tokio::spawn({
        let lake = Arc::clone(&lake);
        async move { lake.compact(&config()).await }
    });
    let taken = tokio::task::spawn_blocking(move || verified.recv().map(|()| verified)).await.expect("a thread");
    drop(taken.expect("the merge is verified"));
    lake.remove(&[before[1].id]).await.expect("it is removed");
    drop(go_on);
    let done = merging.await.expect("it ends").expect("it loses");
    assert_eq!((done.lost_races, done.merges, done.failures.len()), (1, 1, 0), "the others are merged then");
    let after = files(&lake, TableName::Spans);
    assert_eq!((after.len(), after[0].rows), (1, before[0].rows + before[2].rows));
    drop(before);
    lake.expire(Duration::ZERO).await.expect("it expires");
    lake.expire(Duration::ZERO).await.expect("it expires");
    assert_eq!(data_files(dir.path()).len(), 1, "the file of the loser is gone");
    assert!(matches!(lake.remove(&[after[0].id + 100]).await, Err(LakeError::LostRace { .. })));
}
