//! What the store refuses and how it comes back: full disks, failed syncs, damage, other versions, too much at once.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orrery_storage::AppendError;

use super::disk::{Call, Loss};
use super::harness::{Place, once, send, until};

fn segment(place: &Place, number: u64) -> PathBuf {
    place.config.dir.join(format!("wal/{number:020}.wal"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_room_lets_it_resume() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    send(&store, 0).await.unwrap();
    // No room for another segment.
    place.disk.set_capacity(place.disk.used());
    let mut stored = 1;
    while send(&store, stored).await.is_ok() {
        stored += 1;
        assert!(stored < 100, "the disk is never full");
    }
    assert_eq!(send(&store, stored).await, Err(AppendError::NoSpace));
    assert!(AppendError::NoSpace.retry_after().is_some());
    assert_eq!(place.rows(&store), once(0..stored));
    place.disk.set_capacity(u64::MAX);
    for id in stored..stored + 10 {
        send(&store, id).await.unwrap();
    }
    assert_eq!(place.rows(&store), once(0..stored + 10));
    let place = after_cut(place, store);
    let store = place.open().await.unwrap();
    assert_eq!(place.rows(&store), once(0..stored + 10));
    assert!(store.status().recovery.damage.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_finds_no_room_leaves_nothing_behind() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for id in 0..20 {
        place.disk.fail_next(Call::Write, ErrorKind::StorageFull);
        assert_eq!(send(&store, id).await, Err(AppendError::NoSpace));
        assert_eq!(send(&store, id).await, Ok(orrery_storage::Appended::Stored));
    }
    let place = after_cut(place, store);
    let store = place.open().await.unwrap();
    assert_eq!(place.rows(&store), once(0..20));
    assert!(store.status().recovery.damage.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_stops_at_the_floor_and_resumes_by_itself() {
    let mut place = Place::new();
    place.config.floor_free_bytes = 1 << 20;
    place.disk.set_capacity(4 << 20);
    let store = place.open().await.unwrap();
    send(&store, 0).await.unwrap();
    place.disk.set_capacity(place.disk.used() + (1 << 20) - 1);
    assert_eq!(send(&store, 1).await, Err(AppendError::NoSpace));
    assert_eq!(store.status().refusing, Some(AppendError::NoSpace));
    // A copy of what is stored needs no room.
    assert_eq!(send(&store, 0).await, Ok(orrery_storage::Appended::Absorbed));
    place.disk.set_capacity(place.disk.used() + (1 << 20));
    assert_eq!(send(&store, 1).await, Ok(orrery_storage::Appended::Stored));
    assert_eq!(store.status().refusing, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_stops_at_the_floor_before_it_is_time_to_look_again() {
    let mut place = Place::new();
    place.config.floor_free_bytes = 1 << 20;
    place.config.free_space_every = Duration::from_secs(3600);
    let capacity = 2 << 20;
    place.disk.set_capacity(capacity);
    let store = place.open().await.unwrap();
    let refused = async {
        for id in 0.. {
            if let Err(error) = send(&store, id).await {
                return error;
            }
        }
        unreachable!("the disk is not endless")
    };
    assert_eq!(refused.await, AppendError::NoSpace);
    let left = capacity - place.disk.used();
    assert!((900 << 10..1 << 20).contains(&left), "{left} bytes are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_start_refuses_ingest_only() {
    let place = Place::new();
    place.disk.set_capacity(0);
    let store = place.open().await.unwrap();
    assert_eq!(send(&store, 0).await, Err(AppendError::NoSpace));
    place.disk.set_capacity(u64::MAX);
    send(&store, 0).await.unwrap();
    assert_eq!(place.rows(&store), once([0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_fatal() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for id in 0..5 {
        send(&store, id).await.unwrap();
    }
    place.disk.fail_next(Call::SyncData, ErrorKind::Other);
    assert!(matches!(send(&store, 5).await, Err(AppendError::Fatal(_))));
    for id in 5..10 {
        let error = send(&store, id).await.unwrap_err();
        assert!(matches!(error, AppendError::Fatal(_)) && error.retry_after().is_none(), "{error}");
    }
    assert!(matches!(store.status().refusing, Some(AppendError::Fatal(_))));
    // What was acknowledged is still readable, and can be flushed.
    assert_eq!(place.rows(&store), once(0..5));
    store.flush().await.unwrap();
    let place = after_cut(place, store);
    let store = place.open().await.unwrap();
    assert_eq!(place.rows(&store), once(0..5));
    send(&store, 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_flushes_push_back_and_lose_nothing() {
    let mut place = Place::new();
    place.config.memtable_bytes = 200 << 10;
    place.config.overload_wait = Duration::from_millis(20);
    place.lake.lock().unwrap().failing = true;
    let store = place.open().await.unwrap();
    let mut stored = 0;
    while send(&store, stored).await.is_ok() {
        stored += 1;
        assert!(stored < 10_000, "memory is never full");
    }
    assert_eq!(send(&store, stored).await, Err(AppendError::Overloaded));
    assert!(store.flush().await.is_err());
    assert_eq!(place.rows(&store), once(0..stored));
    place.lake.lock().unwrap().failing = false;
    until("the retry of the flush", || store.status().refusing.is_none()).await;
    send(&store, stored).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(place.rows(&store), once(0..=stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_an_older_segment_is_quarantined_and_told() {
    // Where the flip is, the places reported, the requests lost: the segment's header, which has a copy; its hashes, which
    // later segments have too; three records.
    for (offset, damaged, lost) in [(20, 0, 0), (4200, 1, 0), (5000, 1, 1), (5500, 1, 1), (6000, 1, 1)] {
        let mut place = Place::new();
        fill(&place).await;
        place.disk = place.disk.restart(Loss::All);
        // One wrong bit alone would be put right.
        place.disk.corrupt(&segment(&place, 2), |bytes| bytes[offset] ^= 0xFF);
        let store = place.open().await.unwrap();
        let status = store.status();
        let rows = place.rows(&store);
        assert!(rows.values().all(|n| *n == 1));
        assert_eq!(rows.len(), once(0..30).len() - 3 * lost, "flip at {offset}");
        assert_eq!(status.recovery.damage.len(), damaged, "flip at {offset}: {:?}", status.recovery);
        assert_eq!(status.recovery.missing, lost as u64);
        store.flush().await.unwrap();
        until("the quarantine", || store.status().wal_quarantined == damaged as u64).await;
        let quarantine = place.config.dir.join("wal/quarantine");
        if damaged > 0 {
            assert_eq!(place.disk.names(&quarantine).len(), 1);
        }
        // What was lost is stored when it is sent again; what was not is absorbed.
        for id in 0..30 {
            send(&store, id).await.unwrap();
        }
        assert_eq!(place.rows(&store), once(0..30));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_was_acknowledged_is_told_from_a_torn_tail_in_the_newest_segment() {
    let mut place = Place::new();
    let store = place.open().await.unwrap();
    for id in 0..4 {
        send(&store, id).await.unwrap();
    }
    place = after_cut(place, store);
    // The first of four records; those after it say that it was synced.
    place.disk.corrupt(&segment(&place, 1), |bytes| bytes[4096 + 80 + 40] ^= 0xFF);
    let store = place.open().await.unwrap();
    assert_eq!(store.status().recovery.damage.len(), 1);
    assert_eq!(store.status().recovery.missing, 1);
    assert_eq!(place.rows(&store), once(1..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_stops_the_start() {
    // Of a segment, and of a record: the version is changed and the checksum made right again.
    for record in [false, true] {
        let mut place = Place::new();
        let store = place.open().await.unwrap();
        send(&store, 0).await.unwrap();
        place = after_cut(place, store);
        place.disk.corrupt(&segment(&place, 1), |bytes| {
            let salt = bytes[40..48].to_vec();
            if record {
                let header = &mut bytes[4096..4096 + 80];
                header[8] = 9;
                let crc = crc32c::crc32c_append(crc32c::crc32c(&salt), &header[8..]);
                header[4..8].copy_from_slice(&crc.to_le_bytes());
            } else {
                bytes[12] = 9;
                let crc = crc32c::crc32c(&bytes[12..48]);
                bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            }
        });
        let error = place.open().await.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("version 9") && error.contains(".wal"), "{error}");
    }
}

/// Thirty requests over several segments, then the store is gone.
async fn fill(place: &Place) {
    let store = place.open().await.unwrap();
    for id in 0..30 {
        send(&store, id).await.unwrap();
    }
    assert!(store.status().wal_segments > 3, "{} segments", store.status().wal_segments);
}

/// The power goes; the place is as it is found then.
fn after_cut(mut place: Place, store: std::sync::Arc<orrery_storage::Store>) -> Place {
    place.disk = place.disk.restart(Loss::All);
    drop(store);
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_room_while_a_flush_makes_some() {
    let mut place = Place::new();
    place.config.memtable_bytes = 200 << 10;
    place.config.overload_wait = Duration::from_secs(60);
    place.lake.lock().unwrap().failing = true;
    let store = place.open().await.unwrap();
    let mut stored = 0;
    while store.status().refusing.is_none() {
        send(&store, stored).await.unwrap();
        stored += 1;
    }
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { send(&store, stored).await }
    });
    place.lake.lock().unwrap().failing = false;
    waiting.await.unwrap().unwrap();
    assert_eq!(place.rows(&store), once(0..=stored));
}
