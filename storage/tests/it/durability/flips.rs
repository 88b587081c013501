//! Single bits flipped in the log, each followed by a start that reads everything: the same rows, or damage that is told with
//! the segment's name. Never a panic, never rows that are silently others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use orrery_storage::Store;

use super::disk::Loss;
use super::harness::{ModelState, Place, once, send};
use crate::torture::Torture;

const REQUESTS: i64 = 60;
const FLUSHED: i64 = 25;

/// What came of a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// All is as it was, and nothing was said.
    Same,
    /// All is as it was, and the damage was told.
    SameAndTold,
    /// Rows are missing, and the damage was told.
    LostAndTold,
    /// The start was refused, with the segment's name.
    Refused,
}

/// A log of several segments, the first of them flushed, as a stop without warning leaves it.
async fn stopped() -> Place {
    let place = Place::new();
    let store = place.open().await.unwrap();
    for id in 0..REQUESTS {
        send(&store, id).await.unwrap();
        if id + 1 == FLUSHED {
            store.flush().await.unwrap();
        }
    }
    assert!(store.status().wal_segments > 3);
    drop(store);
    place
}

/// The same disk and lake once more.
fn copy(place: &Place) -> Place {
    let mut copy = Place::new();
    // Paths of the disk are only names; the lock is on the copy's own folder.
    copy.disk = place.disk.restart(Loss::All).moved(&place.config.dir, &copy.config.dir);
    let lake = place.lake.lock().unwrap();
    copy.lake =
        Arc::new(Mutex::new(ModelState { flushed: lake.flushed, commits: lake.commits.clone(), failing: false }));
    copy
}

async fn flip(place: Place, segment: PathBuf, bit: usize) -> Result<Seen, String> {
    place.disk.corrupt(&segment, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    let store = match place.open().await {
        Ok(store) => store,
        Err(error) if error.to_string().contains(segment.file_name().unwrap().to_str().unwrap()) => {
            return Ok(Seen::Refused);
        }
        Err(error) => return Err(format!("an error that does not name the file: {error}")),
    };
    let rows = place.rows(&store);
    let seen = judge(&store, &rows, &segment)?;
    // What was lost is stored when it is sent again, the rest is absorbed.
    for id in 0..REQUESTS {
        send(&store, id).await.map_err(|error| format!("refuses request {id}: {error}"))?;
    }
    if place.rows(&store) != once(0..REQUESTS) {
        return Err("after all were sent again, other rows than those".to_owned());
    }
    Ok(seen)
}

fn judge(store: &Store, rows: &BTreeMap<String, usize>, segment: &PathBuf) -> Result<Seen, String> {
    let expected = once(0..REQUESTS);
    if let Some((row, n)) = rows.iter().find(|(row, n)| expected.get(*row) != Some(n)) {
        return Err(format!("{row} is there {n} times"));
    }
    let recovery = store.status().recovery;
    let told = recovery.damage.iter().any(|damage| damage.path == *segment);
    match (*rows == expected, told) {
        (true, false) => Ok(Seen::Same),
        (true, true) => Ok(Seen::SameAndTold),
        (false, true) => Ok(Seen::LostAndTold),
        (false, false) => Err(format!("{} rows of {}, and nothing told: {recovery:?}", rows.len(), expected.len())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_the_log_is_told_or_changes_nothing() {
    let torture = Torture::start("flips-log");
    let mut random = torture.random(1);
    let flips = torture.size(500, 10_000);
    // A copy: the store that was stopped may be about to remove a segment that it has flushed.
    let place = copy(&stopped().await);
    let wal = place.config.dir.join("wal");
    let segments: Vec<(PathBuf, usize)> = place
        .disk
        .names(&wal)
        .into_iter()
        .map(|name| {
            let path = wal.join(name);
            let bytes = place.disk.bytes(&path);
            // Header and records; the zeros after them are of no consequence, but are flipped now and then.
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            (path, if random.below(4) == 0 { bytes.len() } else { used })
        })
        .collect();
    let (mut seen, mut faults) = (BTreeMap::<Seen, usize>::new(), Vec::new());
    for _ in 0..flips {
        let (path, used) = &segments[random.below(segments.len())];
        // Most of a header block is zeros.
        let byte = if random.below(4) == 0 { random.below(4096) } else { 4096 + random.below(used - 4096) };
        let bit = byte * 8 + random.below(8);
        let copy = copy(&place);
        let segment = copy.config.dir.join("wal").join(path.file_name().unwrap());
        match tokio::spawn(flip(copy, segment, bit)).await {
            Ok(Ok(what)) => *seen.entry(what).or_default() += 1,
            Ok(Err(fault)) => faults.push(format!("bit {bit} of {}: {fault}", path.display())),
            Err(panic) => faults.push(format!("bit {bit} of {}: {panic}", path.display())),
        }
    }
    assert!(faults.is_empty(), "{} of {flips}: {faults:#?}", faults.len());
    assert!(seen.get(&Seen::SameAndTold).is_some_and(|n| *n > flips / 4), "{seen:?}");
    torture
        .done(format!("{flips} bits flipped in {} segments, 0 panics, 0 silent differences: {seen:?}", segments.len()));
}
