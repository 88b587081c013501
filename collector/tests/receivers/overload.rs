//! What is answered when there is no room: in memory, on the disk, or since the server stops. All of it is retryable,
//! says when, and is over as soon as there is room again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{DOORS, Door, Server, Verdict, body_for, record, request_of};
use orrery_collector::{CollectorConfig, Kind, Metric, Sink};
use orrery_model::Signal;
use orrery_storage::{Append, AppendError, Appended};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// A sink that refuses what it is told to, and holds on to the rest until it may go on.
struct Gate {
    refuse: Mutex<Option<AppendError>>,
    open: Semaphore,
    waiting: AtomicUsize,
}

impl Gate {
    fn new(permits: usize, refuse: Option<AppendError>) -> Arc<Self> {
        Arc::new(Self { refuse: Mutex::new(refuse), open: Semaphore::new(permits), waiting: AtomicUsize::new(0) })
    }

    /// Until that many requests wait at the gate.
    async fn held(&self, count: usize) {
        until("requests reach the gate", || self.waiting.load(Ordering::Acquire) >= count).await;
    }
}

impl Sink for Gate {
    async fn append(&self, _: Append) -> Result<Appended, AppendError> {
        if let Some(error) = self.refuse.lock().take() {
            return Err(error);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.open.acquire().await.expect("never closed").forget();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        Ok(Appended::Stored)
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

fn in_flight<S: Sink>(server: &Server<S>) -> u64 {
    let samples = server.collector.samples();
    samples.iter().find(|s| s.metric == Metric::InFlightBytes).expect("the gauge").value
}

fn body(door: Door, n: u64) -> Vec<u8> {
    body_for(door, Signal::Spans, &request_of(Signal::Spans, &[record(Signal::Spans, n, "")]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_refuses_comes_again() {
    let cases = [
        (AppendError::NoSpace, Kind::NoSpace, Some(10)),
        (AppendError::Overloaded, Kind::Busy, Some(1)),
        (AppendError::Closed, Kind::Closing, Some(5)),
        (AppendError::Fatal("EIO".into()), Kind::Closing, Some(5)),
        (AppendError::TooLarge { bytes: 9, limit: 8 }, Kind::TooLarge, None),
    ];
    for (error, kind, retry_after_s) in cases {
        for door in DOORS {
            let server = Server::start(Gate::new(1, Some(error.clone())), CollectorConfig::default()).await;
            let refused = server.export(door, Signal::Spans, "gzip", &body(door, 1)).await;
            let expected = Verdict { retry_after_s, ..Verdict::refused(door, kind, &error.to_string()) };
            assert_eq!(refused, expected, "{error} through {door:?}");
            let again = server.export(door, Signal::Spans, "gzip", &body(door, 1)).await;
            assert_eq!(again, Verdict::accepted(), "after {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_budget_are_refused_until_others_are_done() {
    let budgets = [
        (
            1000,
            1 << 30,
            Kind::TenantBusy,
            "the tenant's requests under way exceed 1000 bytes; retry later, or send fewer at once",
        ),
        (1 << 30, 1000, Kind::Busy, "the requests under way exceed 1000 bytes; retry later"),
    ];
    for (tenant, total, kind, message) in budgets {
        for door in DOORS {
            let config = CollectorConfig {
                in_flight_bytes: total,
                in_flight_bytes_per_tenant: tenant,
                ..CollectorConfig::default()
            };
            let server = Arc::new(Server::start(Gate::new(0, None), config).await);
            let first = tokio::spawn({
                let server = Arc::clone(&server);
                async move { server.export(door, Signal::Spans, "identity", &body(door, 1)).await }
            });
            // What is held counts with the rows that it became, which alone are more than the budget.
            server.sink.held(1).await;
            let refused = server.export(door, Signal::Spans, "identity", &body(door, 2)).await;
            assert_eq!(refused, Verdict::refused(door, kind, message), "{door:?}");
            server.sink.open.add_permits(2);
            assert_eq!(first.await.expect("no panic"), Verdict::accepted());
            let again = server.export(door, Signal::Spans, "identity", &body(door, 2)).await;
            assert_eq!(again, Verdict::accepted(), "there is room again");
        }
    }
}

/// The budget is taken as a body unfolds: a bomb that fits the limit of one request does not get past it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_bounds_what_is_decompressed() {
    let config = CollectorConfig { in_flight_bytes: 8 << 20, ..CollectorConfig::default() };
    let server = Server::start(Gate::new(9, None), config).await;
    for door in DOORS {
        for encoding in ["gzip", "zstd", "deflate"] {
            let verdict = server.export(door, Signal::Spans, encoding, &vec![0; 32 << 20]).await;
            let message = "the requests under way exceed 8388608 bytes; retry later";
            assert_eq!(verdict, Verdict::refused(door, Kind::Busy, message), "{encoding} through {door:?}");
        }
    }
    assert_eq!(in_flight(&server), 0, "all was given back");
}

/// A client that never finishes is sent away, and what it held of the budget is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let config = CollectorConfig { body_timeout: Duration::from_millis(50), ..CollectorConfig::default() };
    let server = Server::start(Gate::new(9, None), config).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, and the end of the connection");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{head}");
    assert!(body.contains("the request's body did not arrive within 50ms"), "{body}");
    assert_eq!(in_flight(&server), 0);
}

/// A client that goes away in the middle of a body leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_gives_its_bytes_back() {
    let server = Server::start(Gate::new(9, None), CollectorConfig::default()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"a\"";
    stream.write_all(head.as_bytes()).await.expect("sends");
    until("the bytes are taken", || in_flight(&server) == 4).await;
    drop(stream);
    until("the bytes are given back", || in_flight(&server) == 0).await;
}
