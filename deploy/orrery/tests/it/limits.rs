//! The limits on what one tenant may send, as a sender meets them: what is over is rejected with the reason, the rest is
//! stored, and the metrics count both.

use serde_json::{Value, json};

use crate::server::{Folder, Server};

const LIMITS: [&str; 6] = ["--set", "ingest.max_hours=2", "--set", "ingest.max_keys=3", "--set", "ingest.max_series=2"];
const HOUR_NS: u64 = 3_600_000_000_000;
const START_NS: u64 = 1_700_000_000_000_000_000;

fn span(number: u64, hour: u64, key: &str) -> Value {
    let start = START_NS + hour * HOUR_NS + number;
    json!({
        "traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": format!("s{number}"),
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1).to_string(),
        "attributes": [{"key": key, "value": {"intValue": "1"}}],
    })
}

fn point(pod: &str) -> Value {
    json!({"timeUnixNano": START_NS.to_string(), "asDouble": 1.5,
           "attributes": [{"key": "k1", "value": {"stringValue": pod}}]})
}

/// How many records were rejected, and what the sender is told.
fn partial_success(server: &Server, signal: &str, body: &Value) -> (u64, String) {
    let (status, answer) = server.export(signal, "application/json", body.to_string().as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let answer: Value = serde_json::from_slice(&answer).expect("a JSON answer");
    let partial = &answer["partialSuccess"];
    let rejected = ["rejectedSpans", "rejectedDataPoints"].iter().find_map(|name| partial[*name].as_str());
    let rejected = rejected.map_or(0, |count| count.parse().expect("a number"));
    (rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned())
}

fn metric(server: &Server, line: &str) -> u64 {
    let (_, text) = server.get("/metrics");
    let value = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_else(|| panic!("{line} is in {text}"));
    value.trim().parse().expect("a number")
}

#[test]
fn what_is_over_a_limit_is_rejected_with_its_reason_and_counted() {
    let folder = Folder::new();
    let server = Server::start(&folder, &LIMITS);
    let traces = |spans: Vec<Value>| json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});

    let hours = traces(vec![span(1, 0, "k1"), span(2, 1, "k1"), span(3, 2, "k1"), span(4, 0, "k1")]);
    let (rejected, message) = partial_success(&server, "traces", &hours);
    assert_eq!(rejected, 1);
    assert!(message.contains("more than 2 different hours"), "{message}");

    let keys = traces(vec![span(5, 0, "k2"), span(6, 0, "k3"), span(7, 0, "k4"), span(8, 0, "k5")]);
    let (rejected, message) = partial_success(&server, "traces", &keys);
    assert_eq!(rejected, 2);
    assert!(message.contains("more than 3 different attribute keys"), "{message}");

    let points: Vec<_> = ["a", "b", "c", "a"].into_iter().map(point).collect();
    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "load", "gauge": {"dataPoints": points}}
    ]}]}]});
    let (rejected, message) = partial_success(&server, "metrics", &metrics);
    assert_eq!(rejected, 1);
    assert!(message.contains("more than 2 different series"), "{message}");

    assert_eq!(server.count("SELECT count(*) FROM spans"), 5);
    assert_eq!(server.count("SELECT count(*) FROM metrics"), 3);
    for (reason, signal, records) in [("hours", "spans", 1), ("keys", "spans", 2), ("series", "metrics", 1)] {
        let line = format!("orrery_receiver_rejections_total{{signal=\"{signal}\",reason=\"{reason}\"}}");
        assert_eq!(metric(&server, &line), records, "{line}");
    }
    assert_eq!(metric(&server, "orrery_receiver_active_keys"), 3);
    assert_eq!(metric(&server, "orrery_receiver_active_series"), 2);
}

/// A broken clock: every span of a request in another hour, years apart.
#[test]
fn times_far_from_one_another_are_kept_in_few_files() {
    const HOURS: u64 = 90;
    let folder = Folder::new();
    let server = Server::start(&folder, &["--set", "storage.flush_age=24h"]);
    let spans: Vec<_> = (0..HOURS).map(|n| span(n + 1, n * 20_000, "k")).collect();
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
    assert_eq!(partial_success(&server, "traces", &body), (0, String::new()));
    server.flush();
    assert_eq!(server.get_json("/api/v1/lake/status")["files"], 64);
    assert_eq!(metric(&server, "orrery_store_mixed_hour_files"), 1);
    assert_eq!(server.count("SELECT count(*) FROM spans"), HOURS);
    for n in [0, 1, 40, HOURS - 1] {
        let start = START_NS + n * 20_000 * HOUR_NS + n + 1;
        let query = format!("SELECT count(*) FROM spans WHERE timestamp = to_timestamp_nanos({start})");
        assert_eq!(server.count(&query), 1, "{query}");
    }
}
