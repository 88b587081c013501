//! Calls that fail, one in each run: a sync of the log, of a data file or of a folder, a write, a rename. A failed sync has
//! lost what it should have written, and a later one that succeeds proves nothing. So the log ends with it: nothing is
//! acknowledged afterwards, and after a restart all is there that was acknowledged, once.

use std::io::ErrorKind;

use futures::StreamExt;
use orrery_storage::AppendError;

use super::disk::{Call, Loss};
use super::harness::{Place, send};
use super::power::{Script, check};
use crate::torture::Torture;

const REQUESTS: i64 = 60;

/// What came of a run in which one call fails.
struct Failed {
    /// The call, if the run came so far.
    call: Option<Call>,
    fatal: bool,
    fault: Option<String>,
}

async fn run(script: Script, at: usize, kind: ErrorKind, loss: Loss) -> Failed {
    let mut place = script.place().await;
    place.disk.fail_at(at, kind);
    let (acknowledged, fatal, after_fatal) = send_in_turn(&place, script.requests).await;
    let call = if place.disk.is_failing() { None } else { place.disk.calls().get(at).copied() };
    place.disk = place.disk.restart(loss);
    let mut fault = check(&place, script.requests, &acknowledged).await.err();
    if after_fatal > 0 {
        fault = Some(format!("{after_fatal} requests were acknowledged after the log had failed"));
    }
    Failed { call, fatal, fault }
}

/// Gives the requests acknowledged, whether the log has failed, and how many were acknowledged after that.
async fn send_in_turn(place: &Place, requests: i64) -> (Vec<i64>, bool, usize) {
    let Ok(store) = place.open().await else { return (Vec::new(), false, 0) };
    let (mut acknowledged, mut fatal, mut after_fatal) = (Vec::new(), false, 0);
    for id in 0..requests {
        match send(&store, id).await {
            Ok(_) => {
                after_fatal += usize::from(fatal);
                acknowledged.push(id);
            }
            Err(AppendError::Fatal(_)) => fatal = true,
            Err(_) => {}
        }
        if id % 12 == 11 {
            // It may fail, and is tried again.
            let _ = store.flush().await;
        }
    }
    (acknowledged, fatal, after_fatal)
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_nothing_acknowledged_is_lost() {
    let torture = Torture::start("sync");
    let mut random = torture.random(1);
    let (mut failures, mut failed_syncs, mut fatal, mut faults) = (0, 0, 0, Vec::new());
    for (real_lake, sample) in [(false, 120), (true, 30)] {
        let script = Script { requests: REQUESTS, real_lake };
        let calls = {
            let place = script.place().await;
            send_in_turn(&place, REQUESTS).await;
            place.disk.calls().len()
        };
        let mut cases = Vec::new();
        for at in 0..calls {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                cases.push((at, kind, Loss::All));
                cases.push((at, kind, Loss::Torn(random.next())));
            }
        }
        let wanted = torture.size(sample, cases.len()).min(cases.len());
        for kept in 0..wanted {
            let other = kept + random.below(cases.len() - kept);
            cases.swap(kept, other);
        }
        cases.truncate(wanted);
        let runs = futures::stream::iter(cases)
            .map(|(at, kind, loss)| async move {
                (at, kind, loss, tokio::spawn(run(script, at, kind, loss)).await.unwrap())
            })
            .buffer_unordered(4)
            .collect::<Vec<_>>()
            .await;
        for (at, kind, loss, Failed { call, fatal: was_fatal, fault }) in runs {
            failures += usize::from(call.is_some());
            failed_syncs += usize::from(call == Some(Call::SyncData));
            fatal += usize::from(was_fatal);
            faults.extend(fault.map(|f| format!("{script:?}: {call:?} at {at} fails with {kind}, then {loss:?}: {f}")));
        }
    }
    assert!(faults.is_empty(), "{} of {failures}: {faults:#?}", faults.len());
    assert!(failed_syncs > 10 && fatal > 10, "{failed_syncs} syncs failed, {fatal} logs ended");
    torture.done(format!(
        "{failures} failed calls, {failed_syncs} of them fdatasync, {fatal} ended the log; nothing acknowledged after \
         that, 0 lost, 0 twice"
    ));
}
