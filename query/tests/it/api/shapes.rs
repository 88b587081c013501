//! What the other paths answer: traces and their search, services, logs page by page, metrics, attributes, status, and
//! what is refused.

use http::StatusCode;
use orrery_api::{Attributes, Logs, MetricSeries, Metrics, ServiceDetail, Services, Status, Trace, Traces};
use orrery_model::Signal;

use super::world::{T0, World, at, id, lasting, name_of, spans, world};
use crate::fixture::{Placement, Row, Value, batch};

const SPANS: &[&str] = &[
    "t r<- S eu/shop 0+90 name=checkout r:service.version=v2 r:telemetry.sdk.language=rust tier=gold",
    "t a<r C eu/shop 10+50 name=GET",
    "t b<a S cart 20+30 name=/cart error",
    "t x<lost I cart 5+1",
    "t b<a S cart 21+35 name=/late",
    "u r<- S eu/shop 200+10 name=home tier=silver",
    "v r<- S cart 300+900 name=slow",
    "v s<r I cart 310+5",
    "v t<r I cart 310+5",
    "v w<r I cart -900000000+5",
];

fn logs() -> Vec<Row> {
    let row = |n: i64, time: i64, severity: i64, body: &str| {
        Row::default()
            .column("timestamp", Value::Int(T0 + time * 1_000_000))
            .column("time_source", Value::Text("sent"))
            .column("severity_number", Value::Int(severity))
            .column("body", Value::Text(lasting(body)))
            .column("trace_id", Value::Text(lasting(&id("t", 32))))
            .column("span_id", Value::Text(lasting(&id("a", 16))))
            .resource("service.name", Value::Text("cart"))
            .item("n", Value::Int(n))
    };
    let mut rows: Vec<Row> = (0..40).map(|n| row(n, 10, 9, "same time")).collect();
    rows.extend((0..3).map(|_| row(99, 10, 9, "wholly the same")));
    rows.extend((0..20).map(|n| row(n, 20 + n, if n % 2 == 0 { 17 } else { 5 }, &format!("took {n}% of a_b\\c"))));
    rows
}

fn metrics() -> Vec<Row> {
    let row = |name: &'static str, kind: &'static str, series: &'static str, second: i64, value: f64| {
        Row::default()
            .column("timestamp", Value::Int(T0 + second * 1_000_000_000))
            .column("time_source", Value::Text("sent"))
            .column("metric_name", Value::Text(name))
            .column("type", Value::Text(kind))
            .column("series_id", Value::Text(series))
            .column("value", Value::Double(value))
            .resource("service.name", Value::Text("cart"))
            .item("cpu", Value::Text(series))
    };
    let mut rows = Vec::new();
    for second in 0..10 {
        rows.push(row("memory", "GAUGE", "a", second, second as f64));
        rows.push(row("memory", "GAUGE", "b", second, if second == 3 { f64::NAN } else { 100.0 }));
        // Grows by 5 a second and is reset at second 6.
        let total = if second < 6 { 5.0 * second as f64 } else { 5.0 * (second - 6) as f64 };
        let sum = row("requests", "SUM", "c", second, total);
        rows.push(sum.column("temporality", Value::Text("CUMULATIVE")).column("is_monotonic", Value::Bool(true)));
    }
    rows
}

fn small(placement: Placement) -> World {
    let spans = SPANS.chunks(2).map(spans).collect();
    let chunks = |signal, rows: Vec<Row>| rows.chunks(16).map(|rows| batch(signal, rows)).collect();
    let signals = [
        (Signal::Spans, spans),
        (Signal::Logs, chunks(Signal::Logs, logs())),
        (Signal::Metrics, chunks(Signal::Metrics, metrics())),
    ];
    world(&signals, placement, 3_600_000)
}

const WINDOW: (i64, i64) = (0, 1_000);

fn window() -> [(&'static str, &'static str); 2] {
    [("start", lasting(&at(WINDOW.0))), ("end", lasting(&at(WINDOW.1)))]
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    window().into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_whole_by_its_id_alone() {
    for placement in Placement::ALL {
        let world = small(placement);
        let trace: Trace = world.get(&format!("traces/{}", id("t", 32).to_uppercase()), &[]).await;
        let lines: Vec<String> = trace
            .spans
            .iter()
            .map(|s| {
                format!(
                    "{}{} {} self={} critical={} missing={} logs={}",
                    "  ".repeat(s.depth as usize),
                    name_of(&s.span_id),
                    s.service_name,
                    s.self_ns / 1_000_000,
                    s.critical,
                    s.missing_parent,
                    s.logs
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "r eu/shop self=40 critical=true missing=false logs=0",
                "  a eu/shop self=20 critical=true missing=false logs=63",
                "    b cart self=30 critical=true missing=false logs=0",
                "x cart self=1 critical=false missing=true logs=0",
            ],
            "{placement:?}"
        );
        assert_eq!((trace.receipt.copies, trace.errors, trace.logs, trace.duration_ns), (1, 1, 63, 90_000_000));
        assert_eq!(trace.services, ["cart", "eu/shop"]);
        assert!((trace.completeness - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(trace.spans[0].attributes[0].key, "tier");
        let resource: Vec<&str> = trace.spans[0].resource_attributes.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(resource, ["service.name", "service.namespace", "service.version", "telemetry.sdk.language"]);
    }
}

/// A trace id, its spans and its errors.
type Found<'a> = (&'a str, u64, u64);

/// Of a request's query string.
type Parameters<'a> = &'a [(&'a str, &'a str)];

#[tokio::test(flavor = "multi_thread")]
async fn a_search_is_exact_and_counts_whole_traces() {
    for placement in Placement::ALL {
        let world = small(placement);
        // Traces in order, with their spans and errors.
        let cases: &[(Parameters, &[Found])] = &[
            (&[], &[("u", 1, 0), ("t", 4, 1), ("v", 4, 0)]),
            (&[("order", "slowest")], &[("v", 4, 0), ("t", 4, 1), ("u", 1, 0)]),
            (&[("order", "spans")], &[("t", 4, 1), ("v", 4, 0), ("u", 1, 0)]),
            (&[("order", "errors"), ("limit", "1")], &[("t", 4, 1)]),
            (&[("filter", "service_name = 'cart' AND status_code = 'ERROR'")], &[("t", 4, 1)]),
            (&[("filter", "attributes['tier'] IN ('silver', 'gold')")], &[("u", 1, 0), ("t", 4, 1)]),
            (&[("filter", "name = 'none'")], &[]),
        ];
        for (asked, expected) in cases {
            let found: Traces = world.get("traces", &with(asked)).await;
            let lines: Vec<(String, u64, u64)> =
                found.traces.iter().map(|t| (name_of(&t.trace_id), t.spans, t.errors)).collect();
            let expected: Vec<(String, u64, u64)> = expected.iter().map(|e| (e.0.to_owned(), e.1, e.2)).collect();
            assert_eq!(lines, expected, "{asked:?} {placement:?}");
            assert!(found.exact);
            assert!(found.total >= lines.len() as u64);
        }
        let found: Traces = world.get("traces", &with(&[("order", "slowest")])).await;
        assert_eq!((found.traces[1].name.as_str(), found.traces[1].service_name.as_str()), ("checkout", "eu/shop"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_count_their_calls_and_take_a_slash_in_their_name() {
    for placement in Placement::ALL {
        let world = small(placement);
        let all: Services = world.get("services", &window()).await;
        let lines: Vec<(&str, u64, u64, u64)> =
            all.services.iter().map(|s| (s.id.as_str(), s.spans, s.calls, s.errors)).collect();
        assert_eq!(lines, [("cart", 5, 2, 1), ("eu/shop", 3, 2, 0)], "{placement:?}");
        assert_eq!(all.services[1].calls_over_time.iter().sum::<u64>(), 2);
        for path in ["services/eu/shop", "services/eu%2Fshop", "services/shop"] {
            let one: ServiceDetail = world.get(path, &window()).await;
            assert_eq!((one.service.name.as_str(), one.service.namespace.as_deref()), ("shop", Some("eu")));
            assert_eq!((one.service.versions, one.service.language.as_deref()), (vec!["v2".to_owned()], Some("rust")));
            let names: Vec<&str> = one.operations.iter().map(|o| o.name.as_str()).collect();
            assert_eq!(names, ["checkout", "home"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_found_without_its_namespace_unless_others_share_its_name() {
    let lines = ["a r<- S eu/shop 10+5", "b r<- S us/shop 20+5", "c r<- S us/cart 30+5", "d r<- S pay 40+5"];
    for placement in Placement::ALL {
        let world = world(&[(Signal::Spans, vec![spans(&lines)])], placement, 3_600_000);
        for (path, expected) in [("cart", "us/cart"), ("us/cart", "us/cart"), ("pay", "pay"), ("us/shop", "us/shop")] {
            let one: ServiceDetail = world.get(&format!("services/{path}"), &window()).await;
            assert_eq!((one.service.id.as_str(), one.service.spans), (expected, 1), "{path} in {placement:?}");
        }
        let (status, body) = world.ask("services/shop", &window()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body["error"]["hint"], "services of that name are eu/shop, us/shop");
        assert_eq!(world.ask("services/eu/pay", &window()).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_pages_neither_skip_nor_repeat_although_many_share_a_time() {
    for placement in Placement::ALL {
        let world = small(placement);
        let whole: Logs = world.get("logs", &with(&[("limit", "1000")])).await;
        assert_eq!((whole.logs.len(), whole.total, whole.cursor), (63, Some(63), None));
        assert_eq!(whole.histogram.iter().fold([0; 4], |a, b| std::array::from_fn(|i| a[i] + b[i])), [10, 43, 0, 10]);
        for limit in ["1", "7", "20", "63"] {
            let (mut paged, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let mut asked = with(&[("limit", limit)]);
                asked.extend(cursor.as_deref().map(|c| ("cursor", c)));
                let page: Logs = world.get("logs", &asked).await;
                paged.extend(page.logs);
                cursor = page.cursor.clone();
                if page.cursor.is_none() {
                    break;
                }
            }
            assert_eq!(paged, whole.logs, "{limit} {placement:?}");
        }
        let cases: &[(&[(&str, &str)], usize)] = &[
            (&[("text", "SAME time")], 40),
            (&[("text", "7% of a_b\\c")], 2),
            (&[("text", "o_k")], 0),
            (&[("service", "cart"), ("span_id", lasting(&id("a", 16)))], 63),
            (&[("service", "shop")], 0),
            (&[("filter", "severity_number >= 17")], 10),
            (&[("filter", "attributes['n'] > 17 AND body LIKE 'took%'")], 2),
        ];
        for (asked, expected) in cases {
            let mut asked = with(asked);
            asked.push(("limit", "100"));
            let found: Logs = world.get("logs", &asked).await;
            assert_eq!((found.logs.len(), found.total), (*expected, Some(*expected as u64)), "{asked:?} {placement:?}");
        }
        // A trace's records need no window.
        let found: Logs = world.get("logs", &[("trace_id", &id("t", 32)), ("limit", "5")]).await;
        assert_eq!((found.logs.len(), found.total), (5, Some(63)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_listed_and_shown_as_values_or_rates() {
    for placement in Placement::ALL {
        let world = small(placement);
        let window = [("start", lasting(&at(0))), ("end", lasting(&at(10_000)))];
        let all: Metrics = world.get("metrics", &window).await;
        let lines: Vec<(&str, u64, u64)> = all.metrics.iter().map(|m| (m.name.as_str(), m.series, m.points)).collect();
        assert_eq!(lines, [("memory", 2, 20), ("requests", 1, 10)], "{placement:?}");
        let memory: MetricSeries = world.get("metrics", &[window[0], window[1], ("name", "memory")]).await;
        assert_eq!((memory.total, memory.step_ns), (2, 1_000_000_000));
        let values = |s: &orrery_api::Series| s.points.iter().map(|p| p.value).collect::<Vec<_>>();
        assert_eq!(memory.series[0].series_id, "b");
        assert_eq!(values(&memory.series[0])[3], None, "NaN is no value");
        assert_eq!(values(&memory.series[1]), (0..10).map(|n| Some(f64::from(n))).collect::<Vec<_>>());
        let requests: MetricSeries = world.get("metrics", &[window[0], window[1], ("name", "requests")]).await;
        let grown: Vec<Option<f64>> = values(&requests.series[0]);
        assert_eq!(grown, [5.0, 5.0, 5.0, 5.0, 5.0, 0.0, 5.0, 5.0, 5.0].map(Some));
        assert_eq!(requests.shown, "increase per second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_counted_with_their_values_and_places() {
    for placement in Placement::ALL {
        let world = small(placement);
        let spans: Attributes = world.get("attributes", &window()).await;
        let tier = spans.attributes.iter().find(|a| a.key == "tier").expect("tier");
        assert_eq!((tier.count, tier.cardinality, tier.place.as_str(), tier.scope.as_str()), (2, 2, "map", "item"));
        assert_eq!(tier.top, [("gold".to_owned(), 1), ("silver".to_owned(), 1)]);
        assert_eq!((tier.bytes, tier.cardinality_exact), (10, true));
        let version = spans.attributes.iter().find(|a| a.key == "service.version").expect("a column");
        assert_eq!((version.place.as_str(), version.scope.as_str()), ("column", "resource"));
        let logs: Attributes = world.get("attributes", &with(&[("signal", "logs"), ("key", "n")])).await;
        assert_eq!(logs.attributes.len(), 1);
        assert_eq!((logs.attributes[0].count, &logs.attributes[0].types[..]), (63, &["int".to_owned()][..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_rows_wherever_they_are() {
    for placement in Placement::ALL {
        let status: Status = small(placement).get("status", &[]).await;
        let rows: Vec<u64> = status.tables.iter().map(|t| t.rows).collect();
        assert_eq!(rows, [10, 63, 30, 0], "{placement:?}");
        assert_eq!(status.tables[1].oldest.as_deref(), Some("2023-11-14T22:13:20.010000000Z"));
        assert_eq!(status.ingest, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_by_name() {
    let world = small(Placement::Memory);
    let unknown = id("zz", 32);
    let cases: &[(&str, Parameters, u16, &str)] = &[
        ("traces/xyz", &[], 400, "is no trace id"),
        (&format!("traces/{unknown}"), &[], 404, "no span of trace"),
        ("services/none", &[], 404, "has no spans in the window"),
        ("service-graph", &[("colour", "red")], 400, "unknown parameter \"colour\""),
        ("service-graph", &[("filter", "1 = 1; DROP TABLE spans")], 400, "invalid filter"),
        ("service-graph", &[("filter", "service_name")], 400, "invalid filter"),
        ("service-graph", &[("start", "yesterday")], 400, "start: "),
        ("service-graph/spans", &[], 400, "edge is missing"),
        ("service-graph/spans", &[("edge", "a->b")], 400, "is no edge id"),
        ("traces", &[("order", "best")], 400, "is none of newest"),
        ("traces", &[("limit", "0")], 400, "is no integer"),
        ("logs", &[("cursor", "zzz")], 400, "cursor"),
        ("logs", &[("trace_id", "12")], 400, "trace_id is not 32"),
        ("metrics", &[("name", "none")], 404, "has no points"),
        ("attributes", &[("signal", "profiles")], 400, "is none of spans"),
        ("logs/tail", &[], 501, "is not built yet"),
        ("nothing", &[], 404, "is no path"),
    ];
    for (path, asked, status, message) in cases {
        let (found, body) = world.ask(path, asked).await;
        let text = body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(found.as_u16(), *status, "{path} {asked:?}: {body}");
        assert!(text.contains(message), "{path} {asked:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_names_exactly_the_parameters_that_paths_take() {
    let world = small(Placement::Memory);
    let (status, document) = world.ask("openapi.json", &[]).await;
    assert_eq!(status, StatusCode::OK);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let Some(get) = methods.get("get").filter(|g| g["responses"].get("200").is_some()) else { continue };
        // The latter the server answers.
        if path == "/openapi.json" || path.starts_with("/lake/") {
            continue;
        }
        let documented: Vec<&str> = get["parameters"]
            .as_array()
            .expect("parameters")
            .iter()
            .filter_map(|p| p["$ref"].as_str()?.rsplit('/').next())
            .collect();
        let asked = path.trim_start_matches('/').replace("{id}", &id("t", 32)).replace("{name}", "cart");
        let edge = "call-0000000000000000";
        let needed: &[(&str, &str)] = if documented.contains(&"edge") { &[("edge", edge)] } else { &[] };
        let (status, body) = world.ask(&asked, &[needed, &[("unheard-of", "x")][..]].concat()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        let hint = body["error"]["hint"].as_str().expect("a hint");
        let mut taken: Vec<&str> = hint.strip_prefix("this path takes ").unwrap_or(hint).split(", ").collect();
        taken.retain(|t| *t != "no parameters");
        let sorted = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>()
        };
        let taken: Vec<&str> = taken.into_iter().filter(|t| *t != "this path takes no parameters").collect();
        assert_eq!(sorted(documented), sorted(taken), "{path}");
    }
}
