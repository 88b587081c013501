//! The service graph of a real day: the 55 edges between services of the TrainTicket data, their calls and durations as a
//! script counted them from the files, and behind each edge the very spans; in memory, in files, counted beforehand, after
//! a crash, and with memory for a part of them only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Folder, Server, orrery, shared};

/// (caller, callee) to calls and summed duration.
type Edges = BTreeMap<(String, String), (u64, i64)>;

#[test]
fn the_graph_of_a_real_day_is_exact_in_memory_in_files_and_after_a_crash() {
    let Some(shared) = shared("the TrainTicket graph") else { return };
    let data = shared.join("data/trainticket-2023-01-29");
    let (expected, window) = expected(&data);
    let spans = spans_by_edge(&data);
    assert_eq!(expected.len(), 55);
    let folder = Folder::new();
    // Nothing is flushed unless the test says so.
    let args = ["--set", "storage.flush_age=1h", "--set", "storage.memtable=4GiB", "--set", "query.rollup_settle=1s"];
    let server = Server::start(&folder, &args);
    let import = orrery()
        .args(["import", "--endpoint", &server.otlp_http])
        .arg(data.join("traces.jsonl.zst"))
        .output()
        .expect("the import runs");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    check(&server, "in memory", &window, &expected, Some(&spans));
    server.flush();
    check(&server, "in files", &window, &expected, Some(&spans));
    check_rollups(&server, &window, &expected);
    server.kill();
    let server = Server::start(&folder, &args);
    check(&server, "after a crash", &window, &expected, None);
    let all_at_once = counted(&server, &window);
    let stored = server.count("select count(*) from spans");
    server.kill();
    // A query has half of it, and a span takes 80 bytes: not a fifth of the day at once.
    let little = ["--set", "query.memory=8MiB", "--set", "compaction.enabled=false"];
    assert!(stored * 80 > 5 * (4 << 20), "{stored} spans");
    let server = Server::start(&folder, &[&args[..], &little[..]].concat());
    check(&server, "in parts", &window, &expected, Some(&spans));
    assert!(counted(&server, &window) == all_at_once, "what is counted in parts differs");
}

/// All that is counted span by span, but for what it took.
fn counted(server: &Server, window: &str) -> Vec<Value> {
    let ask = |path: &str| {
        let mut answer = server.get_json(&format!("/api/v1/{path}?{window}&rollups=ignore"));
        let receipt = answer["receipt"].take();
        eprintln!("{path}: {} ms", receipt["elapsed_ms"]);
        answer["copies"] = receipt["copies"].clone();
        answer
    };
    ["service-graph", "services"].map(ask).into()
}

fn expected(data: &Path) -> (Edges, String) {
    let text = std::fs::read(data.join("expected.json")).expect("expected.json beside the data");
    let json: Value = serde_json::from_slice(&text).expect("JSON");
    let edge = |e: &Value| {
        let name = |key: &str| e[key].as_str().expect("a name").to_owned();
        let calls = e["calls"].as_u64().expect("calls");
        ((name("source"), name("target")), (calls, e["sum_ns"].as_i64().expect("a sum")))
    };
    let edges = json["edges"].as_array().expect("edges").iter().map(edge).collect();
    let time = |key: &str| json[key].as_i64().expect("a time");
    (edges, format!("start={}&end={}", time("min_start_ns"), time("max_start_ns") + 1))
}

/// The (trace id, span id) of every span whose parent is of another service, by (caller, callee); from the file itself.
fn spans_by_edge(data: &Path) -> HashMap<(String, String), HashSet<(String, String)>> {
    let file = std::fs::File::open(data.join("traces.jsonl.zst")).expect("the traces");
    let reader = std::io::BufReader::new(zstd::Decoder::new(file).expect("zstd"));
    let mut services: HashMap<(String, String), String> = HashMap::new();
    let mut children = Vec::new();
    for line in reader.lines() {
        let request: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        for resource in request["resourceSpans"].as_array().into_iter().flatten() {
            let attributes = resource["resource"]["attributes"].as_array().expect("attributes");
            let service = attributes.iter().find(|a| a["key"] == "service.name").expect("a service");
            let service = service["value"]["stringValue"].as_str().expect("a name").to_owned();
            for span in
                resource["scopeSpans"].as_array().into_iter().flatten().flat_map(|s| s["spans"].as_array()).flatten()
            {
                let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
                services.insert((text("traceId"), text("spanId")), service.clone());
                children.push((text("traceId"), text("spanId"), text("parentSpanId"), service.clone()));
            }
        }
    }
    let mut edges: HashMap<(String, String), HashSet<(String, String)>> = HashMap::new();
    for (trace, span, parent, service) in children {
        if let Some(caller) = services.get(&(trace.clone(), parent)).filter(|c| **c != service) {
            edges.entry((caller.clone(), service)).or_default().insert((trace, span));
        }
    }
    edges
}

/// Trace and span ids by the services at an edge's ends.
type SpansOfEdges = HashMap<(String, String), HashSet<(String, String)>>;

fn check(server: &Server, when: &str, window: &str, expected: &Edges, spans: Option<&SpansOfEdges>) {
    let graph = server.get_json(&format!("/api/v1/service-graph?{window}"));
    let ends = |e: &Value| {
        // Node ids carry the namespace, which the counted names lack.
        let name = |key: &str| e[key].as_str().expect("a node id").rsplit('/').next().expect("a name").to_owned();
        (name("source"), name("target"))
    };
    let calls: Vec<&Value> = graph["edges"].as_array().expect("edges").iter().filter(|e| e["kind"] == "call").collect();
    let found: Edges = calls
        .iter()
        .map(|e| (ends(e), (e["calls"].as_u64().expect("calls"), e["sum_ns"].as_i64().expect("a sum"))))
        .collect();
    assert_eq!(&found, expected, "{when}");
    assert_eq!(graph["completeness"], 1.0, "{when}");
    let services = graph["nodes"].as_array().expect("nodes").iter().filter(|n| n["kind"] == "service").count();
    assert_eq!(services, 28, "{when}");
    eprintln!("graph {when}: {} ms", graph["receipt"]["elapsed_ms"]);
    for edge in calls.iter().filter(|_| spans.is_some()) {
        let id = edge["id"].as_str().expect("an id");
        let answer = server.get_json(&format!("/api/v1/service-graph/spans?{window}&edge={id}&limit=100000"));
        assert_eq!(answer["total"], edge["calls"], "{when}: {:?}", ends(edge));
        let text = |span: &Value, key: &str| span[key].as_str().expect("an id").to_owned();
        let behind: HashSet<(String, String)> = answer["spans"]
            .as_array()
            .expect("spans")
            .iter()
            .map(|span| (text(span, "trace_id"), text(span, "span_id")))
            .collect();
        assert!(spans.is_some_and(|s| s[&ends(edge)] == behind), "{when}: {:?}", ends(edge));
    }
}

/// What was counted beforehand gives the same as the spans, over the day and over parts of it, and the tables in SQL the
/// same calls.
fn check_rollups(server: &Server, window: &str, expected: &Edges) {
    let ends: Vec<i64> = window
        .split('&')
        .map(|part| part.split_once('=').and_then(|(_, ns)| ns.parse().ok()).expect("a time in ns"))
        .collect();
    let (minute, hour) = (60_000_000_000, 3_600_000_000_000);
    let first_hour = ends[0] - ends[0] % hour;
    let hours = (ends[1] - first_hour + hour - 1) / hour;
    // An hour without spans needs no counting; there is one at noon.
    let with_spans = server.count("select count(distinct date_trunc('hour', timestamp)) from spans");
    let deadline = Instant::now() + Duration::from_secs(300);
    while rolled_hours(server) < with_spans {
        assert!(Instant::now() < deadline, "the hours of the day are not counted in time");
        std::thread::sleep(Duration::from_millis(200));
    }
    check(server, "counted beforehand", window, expected, None);
    let windows = [
        (first_hour, first_hour + hours * hour),
        (ends[0], ends[1]),
        (first_hour + hour, first_hour + 3 * hour),
        (first_hour + hour + 7 * minute, first_hour + 4 * hour + 20 * minute),
        (ends[0] + 123_456_789, ends[1] - 7 * minute - 1),
    ];
    for (start, end) in windows {
        for path in ["service-graph", "services"] {
            let ask = |rollups: &str| {
                let mut answer = server.get_json(&format!("/api/v1/{path}?start={start}&end={end}&rollups={rollups}"));
                let receipt = answer["receipt"].take();
                eprintln!("{path} {rollups}: {} ms, minutes {}", receipt["elapsed_ms"], receipt["minutes"]);
                assert_eq!(receipt["minutes"]["rollups"].as_u64() > Some(0), rollups == "use", "{path} {start} {end}");
                answer
            };
            assert!(ask("use") == ask("ignore"), "{path} from {start} to {end} differs");
        }
    }
    let query =
        "SELECT count(*) AS rows, sum(calls) AS calls, sum(sum_ns) AS sum_ns FROM service_edges WHERE kind = 'call'";
    let rows = server.sql(query).remove(0);
    let calls: u64 = expected.values().map(|(calls, _)| calls).sum();
    let sum_ns: i64 = expected.values().map(|(_, sum)| sum).sum();
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    assert_eq!((number(&rows[1]), number(&rows[2])), (i64::try_from(calls).ok(), Some(sum_ns)), "{rows:?}");
}

fn rolled_hours(server: &Server) -> u64 {
    let text = server.get("/metrics").1;
    let sample = text.lines().find_map(|line| line.strip_prefix("orrery_rollup_hours "));
    sample.and_then(|value| value.trim().parse::<f64>().ok()).expect("a metric") as u64
}
