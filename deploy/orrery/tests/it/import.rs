//! `orrery import`: the real TrainTicket day goes in and every number of it comes out again, after a kill and from files,
//! too; times move together; what the server refuses is said with its place.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::server::{Folder, Server, orrery, shared};

fn import(server: &Server, args: &[&str]) -> Output {
    orrery().args(["import", "--endpoint", &server.otlp_http]).args(args).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_train_ticket_day_comes_out_as_it_went_in() {
    let Some(shared) = shared("the_train_ticket_day_comes_out_as_it_went_in") else { return };
    let day = shared.join("data/trainticket-2023-01-29");
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(day.join("expected.json")).expect("readable")).expect("JSON");
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let files: Vec<String> = ["traces", "logs", "metrics"]
        .map(|signal| day.join(format!("{signal}.jsonl.zst")).to_str().expect("text").to_owned())
        .into();
    let output = import(&server, &files.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", said(&output));
    println!("{}", said(&output).trim());
    let line = "imported 321068 spans, 172722 log records and 803206 data points in ";
    assert!(said(&output).contains(line), "{}", said(&output));
    counts_agree(&server, &expected);
    edges_agree(&server, &expected);
    server.kill();
    let server = Server::start(&folder, &[]);
    counts_agree(&server, &expected);
    server.flush();
    counts_agree(&server, &expected);
    edges_agree(&server, &expected);
}

fn counts_agree(server: &Server, expected: &Value) {
    let cases = [
        ("select count(*) from spans", expected["spans"].clone()),
        ("select count(*) from spans where kind = 'INTERNAL'", expected["kinds"]["1"].clone()),
        ("select count(*) from spans where kind = 'SERVER'", expected["kinds"]["2"].clone()),
        ("select count(*) from spans where kind = 'CLIENT'", expected["kinds"]["3"].clone()),
        ("select count(distinct trace_id) from spans", expected["traces"].clone()),
        ("select count(distinct service_name) from spans", expected["services"].clone()),
        ("select sum(duration_ns) from spans", expected["sum_duration_ns"].clone()),
        ("select count(*) from logs", json!(172_722)),
        ("select count(*) from logs where time_source <> 'sent'", json!(45)),
        ("select count(*) from metrics", json!(803_206)),
        ("select count(distinct series_id) from metrics", json!(874)),
        ("select count(*) from metrics where isnan(value)", json!(40_242)),
    ];
    for (query, value) in cases {
        assert_eq!(server.count(query), value.as_u64().expect("a number"), "{query}");
    }
}

/// The graph's edges between services are exactly those that a script counted.
fn edges_agree(server: &Server, expected: &Value) {
    let graph = server.get_json("/api/v1/service-graph?start=2023-01-29T00:00:00Z&end=2023-01-30T00:00:00Z");
    let name = |id: &Value| {
        let id = id.as_str().expect("an id").to_owned();
        id.strip_prefix("service:").map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
    };
    let mut got: Vec<(String, String, u64, u64)> = Vec::new();
    for edge in graph["edges"].as_array().expect("edges").iter().filter(|edge| edge["kind"] == "call") {
        if let (Some(source), Some(target)) = (name(&edge["source"]), name(&edge["target"])) {
            let number = |field: &str| edge[field].as_u64().expect("a number");
            got.push((source, target, number("calls"), number("sum_ns")));
        }
    }
    let text = |edge: &Value, field: &str| edge[field].as_str().expect("a name").to_owned();
    let mut wanted: Vec<_> = expected["edges"]
        .as_array()
        .expect("edges")
        .iter()
        .map(|edge| {
            let number = |field: &str| edge[field].as_u64().expect("a number");
            (text(edge, "source"), text(edge, "target"), number("calls"), number("sum_ns"))
        })
        .collect();
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
}

fn line(start_ns: u64) -> String {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": format!("{start_ns:016x}"), "name": "x", "kind": 1,
        "startTimeUnixNano": start_ns.to_string(), "endTimeUnixNano": (start_ns + 5).to_string(),
    }]}]}]})
    .to_string()
}

fn write(folder: &Folder, name: &str, lines: &[String]) -> String {
    folder.write(name, &lines.join("\n")).to_str().expect("text").to_owned()
}

#[test]
fn times_move_together_so_that_the_newest_is_now() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let (hour, day) = (3_600_000_000_000, 1_600_000_000_000_000_000);
    let files =
        [write(&folder, "a.jsonl", &[line(day), line(day + hour)]), write(&folder, "b.jsonl", &[line(day + 2 * hour)])];
    let output = import(&server, &["--shift-to-now", &files[0], &files[1]]);
    assert!(output.status.success(), "{}", said(&output));
    let recent = "select count(*) from spans where timestamp > now() - interval '1 minute' and timestamp <= now()";
    assert_eq!(server.count(recent), 1);
    let span =
        "select cast(max(timestamp) as bigint) - cast(min(timestamp) as bigint) from spans where duration_ns = 5";
    assert_eq!(server.count(span), 2 * hour);
}

#[test]
fn a_replay_takes_the_datas_own_time() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let day = 1_600_000_000_000_000_000;
    let lines: Vec<String> = (0..=10).map(|i| line(day + i * 1_000_000_000)).collect();
    let file = write(&folder, "slow.jsonl", &lines);
    let started = std::time::Instant::now();
    let output = import(&server, &["--speed", "20", "--shift-to-now", &file]);
    let took = started.elapsed();
    assert!(output.status.success(), "{}", said(&output));
    assert!(took >= std::time::Duration::from_millis(500), "ten seconds at twenty times the speed took {took:?}");
    assert_eq!(server.count("select count(*) from spans where timestamp <= now()"), 11);
}

#[test]
fn what_cannot_be_imported_is_said_with_its_place() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let bad = write(&folder, "bad.jsonl", &[line(1), "{\"resourceSpans\": 7}".to_owned()]);
    let short = write(&folder, "short.jsonl", &[line(1).replace("5b8efff798038103d269b633813fc60c", "5b8e")]);
    let none = folder.path("none.jsonl").to_str().expect("text").to_owned();
    for (file, message) in [(&bad, "bad.jsonl:2: not OTLP/JSON"), (&none, "open ")] {
        let output = import(&server, &[file]);
        assert!(!output.status.success() && said(&output).contains(message), "{}", said(&output));
    }
    let output = import(&server, &[&short]);
    assert!(said(&output).contains("short.jsonl:1: ") && said(&output).contains("rejected"), "{}", said(&output));
    let nowhere = orrery().args(["import", "--endpoint", "ftp://nowhere", &bad]).output().expect("the binary runs");
    assert!(said(&nowhere).contains("ftp://nowhere"), "{}", said(&nowhere));
    assert!(Path::new(&bad).exists());
}
