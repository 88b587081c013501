//! The power goes at every call of a run of fifty requests, before it and after it, and what was not synced is dropped or
//! torn. All that was acknowledged is there once, and what was not is there once or not at all.

use std::collections::BTreeMap;

use futures::future::join_all;

use crate::disk::{Call, Ignore, Loss, When};
use crate::harness::{Place, once, send};

const REQUESTS: i64 = 50;
/// Requests sent at a time, so that they share syncs.
const TOGETHER: usize = 3;

/// What one run came to.
struct Run {
    calls: Vec<Call>,
    /// The cut was reached.
    cut: bool,
    /// What is wrong, empty when all is right.
    fault: Option<String>,
}

/// Sends all requests, some of them twice, flushing now and then, until the power goes. Gives those acknowledged.
async fn send_all(place: &Place) -> Vec<i64> {
    let Ok(store) = place.open().await else { return Vec::new() };
    let ids: Vec<i64> = (0..REQUESTS).collect();
    let mut acknowledged = Vec::new();
    for (round, group) in ids.chunks(TOGETHER).enumerate() {
        // The second copy of the group's first request arrives with it.
        let copies = group.iter().chain(&group[..1]);
        let results = join_all(copies.map(|id| async { (*id, send(&store, *id).await.is_ok()) })).await;
        acknowledged.extend(results.iter().filter(|(_, ok)| *ok).map(|(id, _)| *id));
        if round % 5 == 4 {
            // Without power it fails, as the next request will.
            let _ = store.flush().await;
        }
    }
    acknowledged.sort_unstable();
    acknowledged.dedup();
    acknowledged
}

async fn run(cut: usize, when: When, loss: Loss, ignore: Ignore) -> Run {
    let mut place = Place::new();
    place.disk = place.disk.clone().ignoring(ignore);
    place.disk.cut_at(cut, when);
    let acknowledged = send_all(&place).await;
    let (calls, cut) = (place.disk.calls(), !place.disk.is_powered());
    place.disk = place.disk.restart(loss);
    let fault = check(&place, &acknowledged).await.err();
    Run { calls, cut, fault }
}

/// Opens the store after the cut; then sends everything that was not acknowledged again, as its sender would.
async fn check(place: &Place, acknowledged: &[i64]) -> Result<(), String> {
    let store = place.open().await.map_err(|e| format!("does not open: {e}"))?;
    let rows = place.rows(&store);
    at_most_once(&rows)?;
    for row in once(acknowledged.iter().copied()).keys() {
        if !rows.contains_key(row) {
            return Err(format!("acknowledged and lost: {row}"));
        }
    }
    let recovery = store.status().recovery;
    if !recovery.damage.is_empty() || recovery.missing > 0 {
        return Err(format!("reports damage: {recovery:?}"));
    }
    for id in 0..REQUESTS {
        send(&store, id).await.map_err(|e| format!("refuses request {id} after recovery: {e}"))?;
    }
    if place.rows(&store) != once(0..REQUESTS) {
        return Err(format!("after all were sent again: {:?}", place.rows(&store)));
    }
    Ok(())
}

fn at_most_once(rows: &BTreeMap<String, usize>) -> Result<(), String> {
    rows.iter().find(|(_, n)| **n > 1).map_or(Ok(()), |(row, n)| Err(format!("{row} is there {n} times")))
}

/// Cuts at every call of the run; gives how many cuts were made and the faults found.
async fn cut_everywhere(ignore: Ignore, losses: &[Loss]) -> (usize, Vec<String>, Vec<Call>) {
    let (mut cuts, mut faults, mut calls) = (0, Vec::new(), Vec::new());
    for when in [When::Before, When::After] {
        for loss in losses {
            for at in 0.. {
                let run = run(at, when, *loss, ignore).await;
                if !run.cut {
                    calls = run.calls;
                    assert!(run.fault.is_none() || ignore.sync_data || ignore.sync_dir, "{:?}", run.fault);
                    break;
                }
                cuts += 1;
                faults
                    .extend(run.fault.map(|f| format!("cut {when:?} call {at} ({:?}), {loss:?}: {f}", run.calls[at])));
            }
        }
    }
    (cuts, faults, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_wherever_the_power_goes() {
    let losses = [Loss::All, Loss::Torn(1), Loss::Torn(2), Loss::Torn(3), Loss::Torn(4)];
    let (cuts, faults, calls) = cut_everywhere(Ignore::default(), &losses).await;
    assert!(faults.is_empty(), "{} of {cuts}: {faults:#?}", faults.len());
    // The run has all that can go wrong in it.
    let count = |call| calls.iter().filter(|c| **c == call).count();
    for (call, least) in [
        (Call::SyncData, 20),
        (Call::SyncDir, 4),
        (Call::Rename, 4),
        (Call::Unlink, 2),
        (Call::Commit, 3),
        (Call::Write, 20),
        (Call::Preallocate, 4),
    ] {
        assert!(count(call) >= least, "{call:?} is called {} times", count(call));
    }
    println!("{cuts} power cuts in runs of {} calls, nothing lost, nothing twice", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_notices_when_fdatasync_is_left_out() {
    let (cuts, faults, _) = cut_everywhere(Ignore { sync_data: true, sync_dir: false }, &[Loss::All]).await;
    assert!(faults.iter().any(|f| f.contains("acknowledged and lost")), "{cuts} cuts, {faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_notices_when_the_folder_is_not_synced() {
    let (cuts, faults, _) = cut_everywhere(Ignore { sync_data: false, sync_dir: true }, &[Loss::All]).await;
    assert!(faults.iter().any(|f| f.contains("acknowledged and lost")), "{cuts} cuts, {faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power_may_go_again_during_recovery() {
    for first in (10..120).step_by(11) {
        let mut seed = 0;
        for second in 0.. {
            let mut place = Place::new();
            place.disk.cut_at(first, When::Before);
            let acknowledged = send_all(&place).await;
            if place.disk.is_powered() {
                // The more requests share a sync, the fewer calls a run has.
                assert!(first > 50, "a run has {} calls only", place.disk.calls().len());
                return;
            }
            seed += 1;
            place.disk = place.disk.restart(Loss::Torn(seed));
            place.disk.cut_at(second, When::After);
            let opened = place.open().await.is_ok();
            let cut = !place.disk.is_powered();
            assert!(opened || cut);
            place.disk = place.disk.restart(Loss::Torn(seed + 1000));
            check(&place, &acknowledged).await.unwrap_or_else(|f| panic!("cuts at {first} and {second}: {f}"));
            if !cut {
                break;
            }
        }
    }
}
