//! The power goes at every call of a run of requests, before it and after it, and what was not synced is dropped or torn.
//! All that was acknowledged is there once, and what was not is there once or not at all. The run goes over a model of the
//! lake, for the log alone, and over the real lake with its data files on the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::StreamExt;
use futures::future::join_all;
use orrery_model::{Signal, TenantId};

use super::disk::{Call, Ignore, Loss, When};
use super::harness::{Place, once, send};
use crate::torture::Torture;

/// The requests of the log's sample.
const REQUESTS: i64 = 50;
/// With these the run has 200 operations: a request, a copy of one, a flush.
const REQUESTS_OF_200_OPERATIONS: i64 = 143;
/// Requests sent at a time, so that they share syncs.
const TOGETHER: usize = 3;
/// Runs at a time.
const ABREAST: usize = 4;

/// What is sent, and to which lake.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub requests: i64,
    pub real_lake: bool,
}

impl Script {
    pub async fn place(self) -> Place {
        if self.real_lake { Place::with_lake().await } else { Place::new() }
    }

    /// Requests, copies and flushes.
    fn operations(self) -> usize {
        let groups = usize::try_from(self.requests).unwrap().div_ceil(TOGETHER);
        usize::try_from(self.requests).unwrap() + groups + groups / 5
    }
}

/// Where the power goes, and what it takes.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: usize,
    when: When,
    loss: Loss,
}

/// What one run came to.
struct Run {
    calls: Vec<Call>,
    /// The cut was reached.
    cut: bool,
    /// What is wrong, empty when all is right.
    fault: Option<String>,
}

/// Sends all requests, some of them twice, flushing now and then, until the power goes. Gives those acknowledged.
pub async fn send_all(place: &Place, requests: i64) -> Vec<i64> {
    let Ok(store) = place.open().await else { return Vec::new() };
    let ids: Vec<i64> = (0..requests).collect();
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

async fn run(script: Script, cut: Cut, ignore: Ignore) -> Run {
    let mut place = script.place().await;
    place.disk = place.disk.clone().ignoring(ignore);
    place.disk.cut_at(cut.at, cut.when);
    let acknowledged = send_all(&place, script.requests).await;
    let (calls, was_cut) = (place.disk.calls(), !place.disk.is_powered());
    place.disk = place.disk.restart(cut.loss);
    let fault = check(&place, script.requests, &acknowledged).await.err();
    Run { calls, cut: was_cut, fault }
}

/// Opens the store after the cut; then sends everything that was not acknowledged again, as its sender would.
pub async fn check(place: &Place, requests: i64, acknowledged: &[i64]) -> Result<(), String> {
    let store = place.open().await.map_err(|e| format!("does not open: {e}"))?;
    let rows = place.read_rows(&store).map_err(|e| format!("acknowledged and lost: {e}"))?;
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
    for id in 0..requests {
        send(&store, id).await.map_err(|e| format!("refuses request {id} after recovery: {e}"))?;
    }
    if place.rows(&store) != once(0..requests) {
        return Err(format!("after all were sent again: {:?}", place.rows(&store)));
    }
    store.flush().await.map_err(|e| format!("does not flush after recovery: {e}"))?;
    if place.rows(&store) != once(0..requests) {
        return Err(format!("after the last flush: {:?}", place.rows(&store)));
    }
    let named: BTreeSet<_> =
        store.snapshot(&TenantId::default()).table(Signal::Logs).files.iter().map(|file| file.path.clone()).collect();
    let left = files_below(&place.config.dir.join("data"));
    if named != left {
        return Err(format!("files left behind: {:?}", left.symmetric_difference(&named)));
    }
    Ok(())
}

/// Every file below a folder; none where there is no folder.
fn files_below(dir: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.insert(path);
        }
    }
    files
}

fn at_most_once(rows: &BTreeMap<String, usize>) -> Result<(), String> {
    rows.iter().find(|(_, n)| **n > 1).map_or(Ok(()), |(row, n)| Err(format!("{row} is there {n} times")))
}

/// A run that is not cut, with the calls that it makes.
async fn uncut(script: Script) -> Vec<Call> {
    let run = run(script, Cut { at: usize::MAX, when: When::Before, loss: Loss::All }, Ignore::default()).await;
    assert!(!run.cut && run.fault.is_none(), "without a cut: {:?}", run.fault);
    run.calls
}

/// Makes the cuts; gives how many of them were reached and the faults found.
async fn cut_at(script: Script, cuts: Vec<Cut>, ignore: Ignore) -> (usize, Vec<String>) {
    let runs = futures::stream::iter(cuts)
        .map(|cut| async move { (cut, tokio::spawn(run(script, cut, ignore)).await.unwrap()) })
        .buffer_unordered(ABREAST);
    let runs: Vec<(Cut, Run)> = runs.filter(|(_, run)| std::future::ready(run.cut)).collect().await;
    let faults = runs.iter().filter_map(|(cut, run)| {
        run.fault.as_ref().map(|fault| format!("{cut:?}, a {:?}: {fault}", run.calls[cut.at]))
    });
    (runs.len(), faults.collect())
}

/// Every call of a run, and some beyond: how requests share syncs differs from run to run.
fn everywhere(calls: usize, losses: &[Loss]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for &loss in losses {
        for when in [When::Before, When::After] {
            cuts.extend((0..calls + calls / 10).map(|at| Cut { at, when, loss }));
        }
    }
    cuts
}

/// The run has all that can go wrong in it.
fn has_all(calls: &[Call]) {
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
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_wherever_the_power_goes() {
    let torture = Torture::start("power-log");
    let requests = if torture.is_full() { REQUESTS_OF_200_OPERATIONS } else { REQUESTS };
    let script = Script { requests, real_lake: false };
    let mut random = torture.random(1);
    let mut losses = vec![Loss::All];
    losses.extend((0..4).map(|_| Loss::Torn(random.next())));
    let calls = uncut(script).await;
    has_all(&calls);
    let (cuts, faults) = cut_at(script, everywhere(calls.len(), &losses), Ignore::default()).await;
    assert!(faults.is_empty(), "{} of {cuts}: {faults:#?}", faults.len());
    let operations = script.operations();
    torture.done(format!(
        "{cuts} power cuts in runs of {operations} operations and {} calls over a modelled lake, 0 lost, 0 twice",
        calls.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_or_left_behind_wherever_the_power_goes_over_the_real_lake() {
    let torture = Torture::start("power-files");
    let script = Script { requests: REQUESTS_OF_200_OPERATIONS, real_lake: true };
    let mut random = torture.random(1);
    let losses = [Loss::All, Loss::Torn(random.next()), Loss::Torn(random.next())];
    let calls = uncut(script).await;
    has_all(&calls);
    let mut cuts = everywhere(calls.len(), &losses);
    for kept in 0..torture.size(80, cuts.len()) {
        let other = kept + random.below(cuts.len() - kept);
        cuts.swap(kept, other);
    }
    cuts.truncate(torture.size(80, cuts.len()));
    let (cuts, faults) = cut_at(script, cuts, Ignore::default()).await;
    assert!(faults.is_empty(), "{} of {cuts}: {faults:#?}", faults.len());
    assert!(cuts > 50, "only {cuts} cuts were reached");
    let operations = script.operations();
    assert!(operations >= 200, "{operations} operations");
    torture.done(format!(
        "{cuts} power cuts in runs of {operations} operations and {} calls over the real lake, 0 lost, 0 twice, 0 files \
         left behind",
        calls.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_notices_when_syncs_are_left_out() {
    for (real_lake, requests) in [(false, REQUESTS), (true, 20)] {
        let script = Script { requests, real_lake };
        let calls = uncut(script).await.len();
        for ignore in [Ignore { sync_data: true, sync_dir: false }, Ignore { sync_data: false, sync_dir: true }] {
            let (cuts, faults) = cut_at(script, everywhere(calls, &[Loss::All]), ignore).await;
            assert!(faults.iter().any(|f| f.contains("acknowledged and lost")), "{cuts} cuts, {ignore:?}, {faults:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_power_may_go_again_during_recovery() {
    for (real_lake, firsts) in [(false, (10..120).step_by(11)), (true, (60..200).step_by(60))] {
        let script = Script { requests: REQUESTS, real_lake };
        recovery_is_cut(script, firsts).await;
    }
}

async fn recovery_is_cut(script: Script, firsts: impl Iterator<Item = usize>) {
    for first in firsts {
        let mut seed = 0;
        for second in 0.. {
            let mut place = script.place().await;
            place.disk.cut_at(first, When::Before);
            let acknowledged = send_all(&place, script.requests).await;
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
            let checked = check(&place, script.requests, &acknowledged).await;
            checked.unwrap_or_else(|fault| panic!("{script:?}, cuts at {first} and {second}: {fault}"));
            if !cut {
                break;
            }
        }
    }
}
