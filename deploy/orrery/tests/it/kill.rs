//! `kill -9`, fifty times (3,000 times in `cargo xtask torture`), while four senders are at work: whatever was acknowledged
//! is there after the restart, once, and no request is there in part. What was under way is sent again, byte for byte, as an
//! exporter does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::ledger::{Answer, Ledger, Shape};
use crate::server::{self, Folder, Server};
use crate::torture::Torture;

const KILLS: usize = 50;
const KILLS_AT_FULL_SIZE: usize = 3_000;
const SENDERS: usize = 4;
const SHAPE: Shape = Shape { spans: 25, noise: 0, per_hour: 0 };

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
        torture.after(round, kills);
        let server = Server::start(&folder, &OFTEN);
        ledger.lock().expect("no sender panics").check(&server, &format!("after kill {round}"));
        retried += ledger.lock().expect("no sender panics").open.len();
        // Killed in the midst of sending, after a number of answers that differs from round to round.
        let sending = Sending::to(&server, &ledger);
        let until = 1 + random.below(60);
        let enough = std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| sending.send());
            }
            let enough = server::polled(|| (sending.stored.load(Ordering::Relaxed) >= until).then_some(()));
            sending.killed.store(true, Ordering::Relaxed);
            server.kill();
            enough
        });
        assert!(enough.is_some(), "{} before kill {round}, of {until}:\n{}", sending.shown(), last_of(&folder.log()));
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

/// What the senders of a round share.
struct Sending<'a> {
    url: String,
    ledger: &'a Mutex<Ledger>,
    stored: AtomicUsize,
    refused: AtomicUsize,
    /// While the server lives an answer is cut off by its taking too long only.
    cut: AtomicUsize,
    killed: AtomicBool,
}

impl<'a> Sending<'a> {
    fn to(server: &Server, ledger: &'a Mutex<Ledger>) -> Self {
        let [stored, refused, cut] = [const { AtomicUsize::new(0) }; 3];
        Self { url: server.otlp_http.clone(), ledger, stored, refused, cut, killed: AtomicBool::new(false) }
    }

    /// Sends until the server is killed: first what the last one left open.
    fn send(&self) {
        let mut mine: Vec<usize> =
            std::mem::take(&mut self.ledger.lock().expect("no sender panics").open).into_iter().collect();
        loop {
            let request = mine.pop().unwrap_or_else(|| self.ledger.lock().expect("no sender panics").next());
            let answer = SHAPE.export(&self.url, request);
            let killed = self.killed.load(Ordering::Relaxed);
            if let Answer::Refused { status, .. } = answer {
                assert!(status == 503 || status == 429, "request {request}: {status}");
            }
            let mut ledger = self.ledger.lock().expect("no sender panics");
            ledger.note(request, &answer);
            let counted = match answer {
                Answer::Stored => &self.stored,
                Answer::Refused { .. } => &self.refused,
                Answer::Cut => &self.cut,
            };
            counted.fetch_add(1, Ordering::Relaxed);
            if killed {
                ledger.open.extend(mine);
                return;
            }
            if answer != Answer::Stored {
                // A full memtable is told so; the request is sent again.
                ledger.open.remove(&request);
                mine.push(request);
                drop(ledger);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn shown(&self) -> String {
        let [stored, refused, cut] = [&self.stored, &self.refused, &self.cut].map(|n| n.load(Ordering::Relaxed));
        format!("{stored} requests were stored, {refused} refused and {cut} cut off")
    }
}

/// The last lines of a log.
fn last_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
