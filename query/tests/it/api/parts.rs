//! Spans that are counted a part of the traces at a time give the same answers as all of them at once: every case of the
//! graph's rules, messages that lead from trace to trace, and generated traces; in memory, in files, and put aside on the
//! disk.

use arrow::array::RecordBatch;
use orrery_api::Traces;
use orrery_model::Signal;
use serde_json::Value;

use super::graph::CASES;
use super::rollups::{HOUR, MINUTE, Seed, TO_HOUR, generated};
use super::world::{World, at, spans, world};
use crate::fixture::Placement;

/// How many spans are held at once where not all are: every trace by itself, or some.
const ONE: usize = 1;
const SOME: usize = 40;

/// All that is counted of spans, but for how long it took; and what is behind the first so many edges.
async fn answers(world: &World, (start, end): (i64, i64), filter: &str, edges: usize) -> Vec<(String, Value)> {
    let (start, end) = (at(start), at(end));
    let mut asked = vec![("start", start.as_str()), ("end", end.as_str())];
    if !filter.is_empty() {
        asked.push(("filter", filter));
    }
    let mut all = Vec::new();
    let mut ask = async |path: &str, more: &[(&str, &str)]| -> Value {
        let asked = [&asked[..], more].concat();
        let (status, mut json) = world.ask(path, &asked).await;
        if let Some(receipt) = json.get_mut("receipt").and_then(Value::as_object_mut) {
            receipt.retain(|key, _| ["copies", "minutes", "partial", "sql"].contains(&key.as_str()));
        }
        all.push((format!("{status} {path} {more:?}"), json.clone()));
        json
    };
    let graph = ask("service-graph", &[]).await;
    for (edge, limit) in
        graph["edges"].as_array().into_iter().flatten().take(edges).zip(["1000", "2"].into_iter().cycle())
    {
        ask("service-graph/spans", &[("edge", edge["id"].as_str().expect("an id")), ("limit", limit)]).await;
    }
    let services = ask("services", &[]).await;
    for service in services["services"].as_array().into_iter().flatten().take(edges) {
        ask(&format!("services/{}", service["id"].as_str().expect("an id")), &[]).await;
    }
    all
}

/// Asserts that the answers do not depend on how many spans are held at once; gives the number of calls.
async fn same(world: &World, window: (i64, i64), filter: &str, edges: usize, at_once: &[usize], what: &str) -> u64 {
    let all_at_once = answers(world, window, filter, edges).await;
    for at_once in at_once {
        let in_parts = answers(&world.holding(*at_once).0, window, filter, edges).await;
        for (part, all) in in_parts.iter().zip(&all_at_once) {
            assert_eq!(part, all, "{what}, {at_once} spans at once");
        }
        assert_eq!(in_parts.len(), all_at_once.len(), "{what}");
    }
    let edges = all_at_once[0].1["edges"].as_array().expect("edges");
    edges.iter().map(|edge| edge["calls"].as_u64().expect("calls")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_the_graph_is_the_same_in_parts() {
    for case in CASES {
        let batches: Vec<RecordBatch> = case.spans.iter().map(|line| spans(&[line])).collect();
        let world = world(&[(Signal::Spans, batches)], Placement::Half, case.now);
        same(&world, case.window, case.filter, usize::MAX, &[ONE, 3], case.name).await;
    }
}

fn seeds() -> u64 {
    std::env::var("ORRERY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn batches(lines: &[String], parts: usize) -> Vec<RecordBatch> {
    let batch = |lines: &[String]| spans(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    lines.chunks(lines.len().div_ceil(parts)).map(batch).collect()
}

/// When a span starts, in milliseconds.
fn start(line: &str) -> i64 {
    let times = line.split(' ').find_map(|word| word.split_once('+')).expect("a start and a duration");
    times.0.parse().expect("milliseconds")
}

/// Messages whose spans are in many traces: created, sent, received and processed, alone or in batches, with and without
/// their destinations and ids of their own, some of them copied, some with a copy that differs.
fn messages(seed: &mut Seed, traces: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for trace in 0..traces {
        let start = seed.below(7 * MINUTE as u64) as i64 - 3 * MINUTE;
        for i in 0..1 + seed.below(4) {
            let (kind, operation) = [
                ("P", " messaging.operation.type=create"),
                ("C", " messaging.operation.type=send"),
                ("P", ""),
                ("C", " messaging.operation.type=receive"),
                ("K", " messaging.operation.type=receive"),
                ("K", " messaging.operation.type=process"),
                ("K", ""),
                ("I", ""),
            ][seed.below(8) as usize];
            let service = seed.one(&["shop", "mailer", "audit"]);
            let to = seed.one(&["", " messaging.destination.name=orders messaging.system=kafka"]);
            let links: String = (0..seed.below(3))
                .map(|_| {
                    let (other, span) = (seed.below(traces), seed.below(3));
                    format!(" link=m{other:x}/{other:x}.{span:x}")
                })
                .collect();
            let begin = start + seed.below(200_000) as i64;
            let parent = if i > 0 && seed.below(2) == 0 { format!("{trace:x}.0") } else { "-".to_owned() };
            let rest = format!("{service} {begin}+9{operation}{to}{links}");
            lines.push(format!("m{trace:x} {trace:x}.{i:x}<{parent} {kind} {rest}"));
            match seed.below(12) {
                0 => lines.push(format!("m{trace:x} {trace:x}.{i:x}<{parent} {kind} {rest}")),
                1 => lines
                    .push(format!("m{trace:x} {trace:x}.{i:x}<{parent} {kind} {service} {begin}+10{operation}{to}")),
                // Another span of the same id.
                2 => lines.push(format!("m{trace:x} {trace:x}.{i:x}<{parent} S {rest}")),
                _ => {}
            }
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_traces_and_messages_are_the_same_in_parts() {
    for number in 0..seeds() {
        let mut seed = Seed(number);
        let mut lines = generated(&mut seed, 40);
        lines.extend(messages(&mut seed, 60));
        let batches = batches(&lines, 5);
        let hour = -TO_HOUR;
        let windows = [
            (hour - HOUR, hour + 2 * HOUR),
            (hour, hour + HOUR),
            (0, 100_000),
            (hour + 58 * MINUTE, hour + 61 * MINUTE),
        ];
        let what = |what: &str| format!("seed {number}, {what}");
        let in_files = world(&[(Signal::Spans, batches.clone())], Placement::Files, 10 * HOUR);
        let calls = same(&in_files, windows[0], "", 3, &[SOME], &what("in files")).await;
        assert!(calls > 200, "{calls} calls");
        let half = world(&[(Signal::Spans, batches)], Placement::Half, 10 * HOUR);
        assert_eq!(same(&half, windows[0], "", 3, &[ONE, SOME], &what("half in files")).await, calls);
        for window in &windows[1..] {
            same(&half, *window, "", 1, &[SOME], &what(&format!("{window:?}"))).await;
        }
        let filter = "service_name <> 'cart' AND kind <> 'PRODUCER'";
        same(&half, windows[0], filter, 1, &[SOME], &what("with a filter")).await;
    }
}

/// Of files in the order of time the slices of it are counted; traces, copies and messages lie across their ends.
#[tokio::test(flavor = "multi_thread")]
async fn slices_of_time_are_counted_as_all_of_it() {
    for number in 0..seeds() {
        let mut seed = Seed(1_000 + number);
        let mut lines = generated(&mut seed, 60);
        lines.extend(messages(&mut seed, 60));
        lines.sort_by_key(|line| start(line));
        let world = world(&[(Signal::Spans, batches(&lines, 80))], Placement::Files, 10 * HOUR);
        let window = (-TO_HOUR - HOUR, -TO_HOUR + 2 * HOUR);
        let what = format!("seed {number}, in slices");
        let calls = same(&world, window, "", 4, &[SOME, 2 * SOME], &what).await;
        assert!(calls > 200, "{calls} calls");
        same(&world, window, "service_name <> 'cart'", 1, &[2 * SOME], &what).await;

        // To tell the traces across the ends, the ids of all spans are read first.
        let (from, to) = (at(window.0), at(window.1));
        let cost = async |world: &World| {
            let asked = [("start", from.as_str()), ("end", to.as_str())];
            let receipt = world.ask("service-graph", &asked).await.1["receipt"].take();
            ["rows_scanned", "files", "files_pruned"].map(|what| receipt[what].as_u64().expect("a number"))
        };
        let ([rows_once, files, left_out], [rows_sliced, files_sliced, left_out_sliced]) =
            (cost(&world).await, cost(&world.holding(2 * SOME).0).await);
        assert!(rows_sliced * 2 > rows_once * 3, "{what}: {rows_sliced} rows of slices, {rows_once} of all at once");
        assert_eq!(files_sliced, files, "{what}: a file that every slice is read from is one file");
        assert!(left_out_sliced < 2 * left_out, "{what}: {left_out_sliced} files left out, {left_out} for all at once");
    }
}

/// Copies that differ, of one time, in several row groups of one file: the first of them was received first.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_copies_that_differ_the_first_counts() {
    let copies: Vec<String> = (5..400).map(|took| format!("t a<- S shop 0+{took}")).collect();
    let world = world(&[(Signal::Spans, batches(&copies, 1))], Placement::Files, HOUR);
    for world in [&world, &world.holding(ONE).0] {
        let graph = world.ask("service-graph", &[("start", &at(-MINUTE)), ("end", &at(MINUTE))]).await.1;
        assert_eq!(graph["edges"][0]["sum_ns"], 5_000_000, "{graph}");
        assert_eq!(graph["receipt"]["copies"], 394, "{graph}");
    }
}

/// The newest traces are exact always. Of more traces than are named at once, the others are in the order of what their
/// spans around the window say, and it is said where there are more spans than these.
#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_traces_is_the_same_in_parts() {
    for number in 0..seeds() {
        let mut seed = Seed(2_000 + number);
        let lines = generated(&mut seed, 60);
        let world = world(&[(Signal::Spans, batches(&lines, 5))], Placement::Half, 10 * HOUR);
        let hour = -TO_HOUR;
        let all = (hour - HOUR, hour + 2 * HOUR);
        let mut inexact = 0;
        for (window, is_all) in [(all, true), ((hour + 58 * MINUTE, hour + 61 * MINUTE), false)] {
            for (order, limit) in
                [("newest", "7"), ("newest", "1000"), ("slowest", "7"), ("spans", "9"), ("errors", "1000")]
            {
                for filter in ["", "kind = 'SERVER'", "status_code = 'ERROR'"] {
                    let (from, to) = (at(window.0), at(window.1));
                    let asked =
                        [("start", &*from), ("end", &*to), ("order", order), ("limit", limit), ("filter", filter)];
                    let at_once: Traces = world.get("traces", &asked[..4 + usize::from(!filter.is_empty())]).await;
                    let held = world.holding(ONE).0;
                    let parts: Traces = held.get("traces", &asked[..4 + usize::from(!filter.is_empty())]).await;
                    let what = format!("seed {number}, {asked:?}");
                    assert!(at_once.exact && (!is_all || at_once.total > 5), "{what}: {} traces", at_once.total);
                    assert_eq!(parts.total, at_once.total, "{what}");
                    let is_named = order == "newest" || parts.total <= ONE as u64;
                    assert_eq!(parts.exact, is_all || is_named, "{what}");
                    inexact += usize::from(!parts.exact);
                    assert_eq!(parts.exact, parts.receipt.partial.is_none(), "{what}");
                    if parts.exact || limit == "1000" {
                        assert_eq!(parts.traces, at_once.traces, "{what}");
                    } else {
                        for trace in &parts.traces {
                            let ids = [("filter", format!("trace_id = '{}'", trace.trace_id))];
                            let asked = [("start", &*from), ("end", &*to), ("filter", &*ids[0].1)];
                            let whole: Traces = world.get("traces", &asked).await;
                            assert_eq!(
                                whole.traces.as_slice(),
                                std::slice::from_ref(trace),
                                "{what}: its numbers are of all of it"
                            );
                        }
                    }
                }
            }
        }
        assert!(inexact > 2, "seed {number}: {inexact} answers of a part of the time");
    }
}
