//! `kill -9`, fifty times (3,000 times in `cargo xtask torture`), while four senders are at work: whatever was acknowledged
//! is there after the restart, once, and no request is there in part. What was under way is sent again, byte for byte, as an
//! exporter does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::ledger::{Answer, Ledger, Shape};
use crate::server::{self, Folder, Server};
use crate::torture::Torture;

const KILLS: usize = 50;
const KILLS_AT_FULL_SIZE: usize = 3_000;
const SENDERS: usize = 4;
const SHAPE: Shape = Shape { spans: 25, noise: 0 };

/// Flushes come all the time, by size and by age, so that kills hit them too.
const OFTEN: [&str; 6] =
    ["--set", "storage.flush_age=150ms", "--set", "storage.memtable=2MiB", "--set", "storage.wal_segment=1MiB"];

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let torture = Torture::start("kill");
    let kills = torture.size(KILLS, KILLS_AT_FULL_SIZE);
    let mut random = torture.random(1);
    let folder = Folder::new();
    let ledger = Mutex::new(Ledger::new(SHAPE));
    let mut retried = 0;
    for round in 0..kills {
        let server = Server::start(&folder, &OFTEN);
        ledger.lock().expect("no sender panics").check(&server, &format!("after kill {round}"));
        retried += ledger.lock().expect("no sender panics").open.len();
        // Killed in the midst of sending, after a number of answers that differs from round to round.
        let answers = AtomicUsize::new(0);
        let until = 1 + random.below(60);
        let url = server.otlp_http.clone();
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| send(&url, &ledger, &answers));
            }
            server::poll("the answers", || (answers.load(Ordering::Relaxed) >= until).then_some(()));
            server.kill();
        });
    }
    let mut ledger = ledger.into_inner().expect("no sender panics");
    let server = Server::start(&folder, &OFTEN);
    ledger.check(&server, "after the last kill");
    ledger.settle(&server.otlp_http);
    server.flush();
    ledger.check(&server, "after the last flush");
    let sent = ledger.acknowledged.len();
    assert_eq!(server.count("SELECT count(*) FROM spans"), (sent * SHAPE.spans) as u64);
    assert!(retried > 0, "no kill met a request under way");
    torture.done(format!(
        "{kills} kill -9, {sent} requests of {} spans acknowledged, {retried} of them cut short and sent again, 0 lost, \
         0 twice",
        SHAPE.spans
    ));
}

/// Sends until the server is gone: first what the last one left open.
fn send(url: &str, ledger: &Mutex<Ledger>, answers: &AtomicUsize) {
    let mut mine: Vec<usize> = std::mem::take(&mut ledger.lock().expect("no sender panics").open).into_iter().collect();
    loop {
        let request = mine.pop().unwrap_or_else(|| ledger.lock().expect("no sender panics").next());
        let answer = SHAPE.export(url, request);
        if let Answer::Refused { status, .. } = answer {
            assert!(status == 503 || status == 429, "request {request}: {status}");
        }
        let mut ledger = ledger.lock().expect("no sender panics");
        ledger.note(request, &answer);
        match answer {
            Answer::Stored => {
                answers.fetch_add(1, Ordering::Relaxed);
            }
            // A full memtable is told so; the request is sent again.
            Answer::Refused { .. } => {
                ledger.open.remove(&request);
                mine.push(request);
                drop(ledger);
                std::thread::sleep(Duration::from_millis(20));
            }
            Answer::Cut => {
                ledger.open.extend(mine);
                return;
            }
        }
    }
}
