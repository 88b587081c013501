//! Numbered trace requests, which never change, and the account of those that were acknowledged: every one of them has to
//! be there whole and once, and nothing else. Never decides when to send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::server::Server;

/// When the first spans start: 2023-11-14 22:13:20 UTC.
const START_NS: u64 = 1_700_000_000_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// The longest that a sender waits for a server that is being killed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the senders know, of requests of one shape.
pub struct Ledger {
    pub shape: Shape,
    pub next: usize,
    /// Sent, and not known to be stored.
    pub open: BTreeSet<usize>,
    pub acknowledged: BTreeSet<usize>,
}

/// What is in each request.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub spans: usize,
    /// Characters in an attribute of each span that no compression makes much shorter.
    pub noise: usize,
    /// Requests of one hour, then comes the next; all are of one where this is 0.
    pub per_hour: usize,
}

/// What came of sending a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Stored,
    Refused {
        status: u16,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// The connection broke, or the answer is not whole.
    Cut,
}

impl Ledger {
    pub fn new(shape: Shape) -> Self {
        Self { shape, next: 0, open: BTreeSet::new(), acknowledged: BTreeSet::new() }
    }

    /// The number of a request that was never sent.
    pub fn next(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Takes down what came of a request.
    pub fn note(&mut self, request: usize, answer: &Answer) {
        if *answer == Answer::Stored {
            self.open.remove(&request);
            self.acknowledged.insert(request);
        } else {
            self.open.insert(request);
        }
    }

    /// Sends requests one after another until one is not stored; gives what came of that.
    pub fn send_until_refused(&mut self, url: &str, most: usize) -> Option<Answer> {
        for _ in 0..most {
            let request = self.next();
            let answer = self.shape.export(url, request);
            self.note(request, &answer);
            if answer != Answer::Stored {
                return Some(answer);
            }
        }
        None
    }

    /// Sends what is open again; it must be stored.
    pub fn settle(&mut self, url: &str) {
        for request in std::mem::take(&mut self.open) {
            assert_eq!(self.shape.export(url, request), Answer::Stored, "request {request}, sent again");
            self.acknowledged.insert(request);
        }
    }

    /// Every stored request is there whole and once, and every acknowledged one is stored. `when` is for the message.
    pub fn check(&self, server: &Server, when: &str) {
        let query = r#"{"query": "SELECT name, count(*) AS n FROM spans GROUP BY name", "format": "csv"}"#;
        let url = format!("{}/api/v1/sql", server.http);
        let (status, answer) = server.post(&url, "application/json", query.as_bytes());
        let text = String::from_utf8(answer).expect("CSV is text");
        assert_eq!(status, 200, "{when}: {text}");
        let stored: BTreeMap<usize, usize> = text
            .lines()
            .skip(1)
            .map(|line| {
                let (name, count) = line.split_once(',').expect("two columns");
                (name.parse().expect("a request's number"), count.parse().expect("a count"))
            })
            .collect();
        let spans = self.shape.spans;
        let wrong: Vec<_> = stored.iter().filter(|(_, count)| **count != spans).collect();
        assert!(wrong.is_empty(), "{when}, requests with other than {spans} spans: {wrong:?}");
        let lost: Vec<_> = self.acknowledged.iter().filter(|request| !stored.contains_key(request)).collect();
        assert!(lost.is_empty(), "{when}, acknowledged and lost: {lost:?}");
        let foreign: Vec<_> =
            stored.keys().filter(|r| !self.acknowledged.contains(r) && !self.open.contains(r)).collect();
        assert!(foreign.is_empty(), "{when}, never sent: {foreign:?}");
    }
}

impl Shape {
    /// Sends a request; the connection may break at any moment.
    pub fn export(self, url: &str, request: usize) -> Answer {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
        let agent: ureq::Agent = config.build().into();
        let sent = agent
            .post(format!("{url}/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .send(self.body(request).as_slice());
        let Ok(response) = sent else { return Answer::Cut };
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        // An answer whose body is cut off is none.
        match response.into_body().read_to_vec() {
            Err(_) => Answer::Cut,
            Ok(_) if status == 200 => Answer::Stored,
            Ok(_) => Answer::Refused { status, retry_after },
        }
    }

    /// When a request's spans start.
    fn start_ns(self, request: usize) -> u64 {
        let hour = request.checked_div(self.per_hour).unwrap_or(0) as u64;
        START_NS + hour * HOUR_NS + request as u64 * 1_000_000
    }

    /// The hour that its spans start in, in seconds.
    pub fn hour(self, request: usize) -> u64 {
        let start = self.start_ns(request);
        (start - start % HOUR_NS) / 1_000_000_000
    }

    /// The bytes of a request: its number is the name of its spans.
    pub fn body(self, request: usize) -> Vec<u8> {
        let start = self.start_ns(request);
        let span = |index: usize| Span {
            trace_id: (request as u128 + 1).to_be_bytes().to_vec(),
            span_id: (index as u64 + 1).to_be_bytes().to_vec(),
            name: request.to_string(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 1000,
            attributes: self.noise(request * self.spans + index).into_iter().collect(),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: (0..self.spans).map(span).collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    fn noise(self, seed: usize) -> Option<KeyValue> {
        let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut text = String::new();
        while text.len() < self.noise {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text += &format!("{state:x}");
        }
        text.truncate(self.noise);
        let value = AnyValue { value: Some(any_value::Value::StringValue(text)) };
        (self.noise > 0).then(|| KeyValue { key: "noise".to_owned(), value: Some(value), ..KeyValue::default() })
    }
}
