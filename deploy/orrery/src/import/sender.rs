//! Sends lines over OTLP/HTTP, several at once, and tries again what the server says it will take later. Gives up on what
//! it will never take.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use orrery_model::Signal;
use serde_json::Value;

use super::lines::Line;
use super::request::{inspect, path};
use super::times::shift;
use crate::client::Client;

/// How long one request is tried before the import gives up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What is read of an answer.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// What was sent so far, over all threads.
#[derive(Default)]
pub struct Tally {
    records: [AtomicU64; Signal::ALL.len()],
    pub rejected: AtomicU64,
    pub retries: AtomicU64,
}

impl Tally {
    pub fn of(&self, signal: Signal) -> u64 {
        self.records[signal as usize - 1].load(Ordering::Relaxed)
    }

    pub fn all(&self) -> u64 {
        Signal::ALL.into_iter().map(|signal| self.of(signal)).sum()
    }
}

pub struct Sender<'a> {
    pub client: &'a Client,
    pub tally: &'a Tally,
    /// Added to every time.
    pub shift_ns: i64,
}

impl Sender<'_> {
    /// Sends a line until it is acknowledged; a note where the server rejected some of its records.
    pub fn send(&self, mut line: Line) -> Result<Option<String>> {
        let (signal, records) = match inspect(&line.text) {
            Ok(found) => found,
            Err(reason) => bail!("{}: {reason}", line.place()),
        };
        if self.shift_ns != 0 {
            line.text = shift(&line.text, self.shift_ns);
        }
        let key = line.idempotency_key();
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let (reason, retry_after) = match self.client.send(path(signal), &line.text, "application/json", Some(&key))
            {
                Ok(response) if response.status() == 200 => {
                    let rejected = rejected(response.into_body());
                    self.tally.rejected.fetch_add(rejected.as_ref().map_or(0, |(n, _)| *n), Ordering::Relaxed);
                    let stored = records.saturating_sub(rejected.as_ref().map_or(0, |(n, _)| *n));
                    self.tally.records[signal as usize - 1].fetch_add(stored, Ordering::Relaxed);
                    return Ok(rejected.map(|(n, message)| format!("{}: {n} rejected: {message}", line.place())));
                }
                Ok(response) => {
                    let status = response.status().as_u16();
                    let after =
                        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                    let message = message(response.into_body());
                    if !matches!(status, 429 | 502 | 503 | 504) {
                        bail!("{}: the server refused it for good: {status}: {message}", line.place());
                    }
                    (format!("{status}: {message}"), after.map(Duration::from_secs))
                }
                Err(error) => (format!("no answer from {}: {error}", self.client.endpoint()), None),
            };
            if started.elapsed() > GIVE_UP_AFTER {
                bail!("{}: gave up after {GIVE_UP_AFTER:?}: {reason}", line.place());
            }
            self.tally.retries.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(retry_after.unwrap_or(pause).min(LONGEST_PAUSE));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// The `partialSuccess` of an answer, if it rejects anything.
fn rejected(body: ureq::Body) -> Option<(u64, String)> {
    let answer: Value = serde_json::from_reader(body.into_reader().take(MAX_ANSWER_BYTES)).ok()?;
    let partial = answer.get("partialSuccess")?;
    let number = |name: &str| {
        let value = &partial[name];
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let rejected = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"].into_iter().find_map(number)?;
    (rejected > 0).then(|| (rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
}

/// The message of a `google.rpc.Status`, or what there is.
fn message(body: ureq::Body) -> String {
    let mut text = String::new();
    if body.into_reader().take(MAX_ANSWER_BYTES).read_to_string(&mut text).is_err() {
        return "an unreadable answer".to_owned();
    }
    let status: Option<Value> = serde_json::from_str(&text).ok();
    status.and_then(|status| Some(status["message"].as_str()?.to_owned())).unwrap_or(text)
}
