//! `kill -9`, fifty times, while four senders are at work: whatever was acknowledged is there after the restart, once, and
//! no request is there in part. What was under way is sent again, byte for byte, as an exporter does.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use server::{Folder, Server};

const KILLS: usize = 50;
const SENDERS: usize = 4;
const SPANS: usize = 25;
/// The longest that a sender waits for a server that is being killed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Flushes come all the time, by size and by age, so that kills hit them too.
const OFTEN: [&str; 6] =
    ["--set", "storage.flush_age=150ms", "--set", "storage.memtable=2MiB", "--set", "storage.wal_segment=1MiB"];

/// What the senders know. Requests are numbered and never change.
#[derive(Default)]
struct Ledger {
    next: usize,
    /// Sent, and not known to be stored.
    open: BTreeSet<usize>,
    acknowledged: BTreeSet<usize>,
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_fifty_kills() {
    let folder = Folder::new();
    let ledger = Mutex::new(Ledger::default());
    let mut retried = 0;
    for round in 0..KILLS {
        let server = Server::start(&folder, &OFTEN);
        check(&server, &ledger, round);
        retried += ledger.lock().expect("no sender panics").open.len();
        // Killed in the midst of sending, after a number of answers that differs from round to round.
        let answers = AtomicUsize::new(0);
        let until = 1 + round * 37 % 60;
        let url = server.otlp_http.clone();
        std::thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| send(&url, &ledger, &answers));
            }
            server::poll("the answers", || (answers.load(Ordering::Relaxed) >= until).then_some(()));
            server.kill();
        });
    }
    let server = Server::start(&folder, &OFTEN);
    check(&server, &ledger, KILLS);
    let open: Vec<usize> = ledger.lock().expect("no sender panics").open.iter().copied().collect();
    for request in open {
        assert!(export(&server.otlp_http, request), "request {request} is taken by a server that lives");
        let mut ledger = ledger.lock().expect("no sender panics");
        ledger.open.remove(&request);
        ledger.acknowledged.insert(request);
    }
    server.flush();
    check(&server, &ledger, KILLS);
    let sent = ledger.lock().expect("no sender panics").acknowledged.len();
    assert_eq!(server.count("SELECT count(*) FROM spans"), (sent * SPANS) as u64);
    assert!(retried > 0, "no kill met a request under way");
    println!("{KILLS} kills, {sent} requests of {SPANS} spans, {retried} of them cut short and sent again");
}

/// Sends until the server is gone: first what the last one left open.
fn send(url: &str, ledger: &Mutex<Ledger>, answers: &AtomicUsize) {
    let mut mine: Vec<usize> = std::mem::take(&mut ledger.lock().expect("no sender panics").open).into_iter().collect();
    loop {
        let request = mine.pop().unwrap_or_else(|| {
            let mut ledger = ledger.lock().expect("no sender panics");
            ledger.next += 1;
            ledger.next
        });
        let stored = export(url, request);
        let mut ledger = ledger.lock().expect("no sender panics");
        if stored {
            ledger.acknowledged.insert(request);
            answers.fetch_add(1, Ordering::Relaxed);
        } else {
            ledger.open.insert(request);
            ledger.open.extend(mine);
            return;
        }
    }
}

/// Whether the request was acknowledged; the connection may break at any moment.
fn export(url: &str, request: usize) -> bool {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
    let agent: ureq::Agent = config.build().into();
    let sent = agent
        .post(format!("{url}/v1/traces"))
        .header("content-type", "application/x-protobuf")
        .send(body(request).as_slice());
    match sent {
        Ok(response) => {
            let status = response.status();
            // An answer whose body is cut off is none.
            let whole = response.into_body().read_to_vec().is_ok();
            assert!(!whole || status == 200 || status == 503 || status == 429, "request {request}: {status}");
            whole && status == 200
        }
        Err(_) => false,
    }
}

/// Every stored request is there whole and once, and every acknowledged one is stored.
fn check(server: &Server, ledger: &Mutex<Ledger>, round: usize) {
    let query = r#"{"query": "SELECT name, count(*) AS n FROM spans GROUP BY name", "format": "csv"}"#;
    let (status, answer) = server.post(&format!("{}/api/v1/sql", server.http), "application/json", query.as_bytes());
    let text = String::from_utf8(answer).expect("CSV is text");
    assert_eq!(status, 200, "{text}");
    let stored: BTreeMap<usize, usize> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (name, count) = line.split_once(',').expect("two columns");
            (name.parse().expect("a request's number"), count.parse().expect("a count"))
        })
        .collect();
    let ledger = ledger.lock().expect("no sender panics");
    let wrong: Vec<_> = stored.iter().filter(|(_, count)| **count != SPANS).collect();
    assert!(wrong.is_empty(), "after kill {round}, requests with other than {SPANS} spans: {wrong:?}");
    let lost: Vec<_> = ledger.acknowledged.iter().filter(|request| !stored.contains_key(request)).collect();
    assert!(lost.is_empty(), "after kill {round}, acknowledged and lost: {lost:?}");
    let foreign: Vec<_> =
        stored.keys().filter(|r| !ledger.acknowledged.contains(r) && !ledger.open.contains(r)).collect();
    assert!(foreign.is_empty(), "after kill {round}, never sent: {foreign:?}");
}

/// The bytes of a request: its number is the name of its spans.
fn body(request: usize) -> Vec<u8> {
    let start = 1_700_000_000_000_000_000 + request as u64 * 1_000_000;
    let span = |index: usize| Span {
        trace_id: (request as u128 + 1).to_be_bytes().to_vec(),
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        name: request.to_string(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1000,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}
