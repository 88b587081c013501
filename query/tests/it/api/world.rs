//! Telemetry written as text, one line a record, and an API over it. Times are milliseconds from [`T0`].

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use orrery_model::{Clock, Scope, Signal, TableName, TenantId, table};
use orrery_query::{Engine, QueryConfig, SnapshotSource, router};
use orrery_storage::{CompactionConfig, Lake, MemoryBatch, SealedBatch, Snapshot, TableSnapshot};
use tower::ServiceExt;

use crate::fixture::{self, Fixed, Placement, Row, Value, batch, place, snapshot, snapshot_of};

/// 2023-11-14T22:13:20Z.
pub const T0: i64 = 1_700_000_000_000_000_000;
pub const MS: i64 = 1_000_000;

pub struct At(pub i64);

impl Clock for At {
    fn now_ns(&self) -> i64 {
        self.0
    }
}

/// Rows live as long as the test program; the fixture's values are static.
pub fn lasting(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// A short name as a hex id of so many digits: its bytes, zeros before them.
pub fn id(name: &str, digits: usize) -> String {
    let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
    format!("{hex:0>digits$}")
}

/// The name that [`id`] was made from.
pub fn name_of(hex: &str) -> String {
    let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"));
    bytes.filter(|b| *b > 0).map(char::from).collect()
}

fn ms(text: &str) -> i64 {
    (text.parse::<f64>().expect("a number of milliseconds") * MS as f64) as i64
}

type LinkNames = Vec<(String, String)>;

/// `trace id<parent KIND service start+duration word…`. The service may be `namespace/name`; words are `error`,
/// `link=trace/id`, `state=…`, `name=…`, `r:key=value` of the resource, and `key=value` of the span.
fn span(line: &str) -> (Row, LinkNames) {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
    let (trace, ids, kind, service, times) = (next(), next(), next(), next(), next());
    let (own, parent) = ids.split_once('<').expect("id<parent");
    let (start, duration) = times.split_once('+').expect("start+duration");
    let kind = match kind {
        "S" => "SERVER",
        "C" => "CLIENT",
        "P" => "PRODUCER",
        "K" => "CONSUMER",
        _ => "INTERNAL",
    };
    let text = |t: String| Value::Text(lasting(&t));
    let mut row = Row::default()
        .column("timestamp", Value::Int(T0 + ms(start)))
        .column("time_source", Value::Text("sent"))
        .column("duration_ns", Value::Int(ms(duration)))
        .column("trace_id", text(id(trace, 32)))
        .column("span_id", text(id(own, 16)))
        .column("kind", Value::Text(kind));
    if parent != "-" {
        row = row.column("parent_span_id", text(id(parent, 16)));
    }
    let (namespace, service) = service.rsplit_once('/').map_or((None, service), |(n, s)| (Some(n), s));
    row = row.resource("service.name", Value::Text(lasting(service)));
    if let Some(namespace) = namespace {
        row = row.resource("service.namespace", Value::Text(lasting(namespace)));
    }
    let (mut status, mut name, mut links) = ("UNSET", own, Vec::new());
    for word in words {
        match word.split_once('=') {
            None => status = "ERROR",
            Some(("link", target)) => {
                let (trace, span) = target.split_once('/').expect("trace/id");
                links.push((id(trace, 32), id(span, 16)));
            }
            Some(("state", state)) => row = row.column("trace_state", Value::Text(lasting(state))),
            Some(("name", value)) => name = value,
            Some((key, value)) => {
                let value = value.parse().map_or(Value::Text(lasting(value)), Value::Int);
                row = match key.strip_prefix("r:") {
                    Some(key) => Row {
                        attributes: [row.attributes, vec![(Scope::Resource, lasting(key), value)]].concat(),
                        ..row
                    },
                    None => row.item(lasting(key), value),
                };
            }
        }
    }
    (row.column("status_code", Value::Text(status)).column("name", Value::Text(lasting(name))), links)
}

/// A batch of spans, links and all.
pub fn spans(lines: &[&str]) -> RecordBatch {
    let (rows, links): (Vec<Row>, Vec<LinkNames>) = lines.iter().map(|l| span(l)).unzip();
    let batch = batch(Signal::Spans, &rows);
    let at = table(Signal::Spans).index_of("links");
    let DataType::List(element) = batch.schema().field(at).data_type().clone() else { panic!("links are a list") };
    let DataType::Struct(fields) = element.data_type() else { panic!("a link is a struct") };
    let all: LinkNames = links.iter().flatten().cloned().collect();
    let column = |name: &str, data_type: &DataType| -> ArrayRef {
        match name {
            "trace_id" => Arc::new(all.iter().map(|l| Some(l.0.as_str())).collect::<StringArray>()),
            "span_id" => Arc::new(all.iter().map(|l| Some(l.1.as_str())).collect::<StringArray>()),
            "flags" | "dropped_attributes_count" => Arc::new(arrow::array::Int64Array::from(vec![0; all.len()])),
            "trace_state" => new_null_array(data_type, all.len()),
            _ => empty_maps(data_type, all.len()),
        }
    };
    let values =
        StructArray::new(fields.clone(), fields.iter().map(|f| column(f.name(), f.data_type())).collect(), None);
    let list = ListArray::new(element, OffsetBuffer::from_lengths(links.iter().map(Vec::len)), Arc::new(values), None);
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(list);
    RecordBatch::try_new(batch.schema(), columns).expect("the table's schema")
}

fn empty_maps(data_type: &DataType, n: usize) -> ArrayRef {
    let DataType::Map(entries, sorted) = data_type else { panic!("a map") };
    let DataType::Struct(fields) = entries.data_type() else { panic!("entries are a struct") };
    let none = StructArray::new(
        fields.clone(),
        fields.iter().map(|f| arrow::array::new_empty_array(f.data_type())).collect(),
        None,
    );
    Arc::new(arrow::array::MapArray::new(entries.clone(), OffsetBuffer::new_zeroed(n), none, None, *sorted))
}

/// An API over a source, and the folder that its files live in.
pub struct World {
    router: Router,
    source: Arc<dyn SnapshotSource>,
    now: i64,
    folder: Arc<tempfile::TempDir>,
}

/// Batches a signal, in the order they were received; `now` in milliseconds.
pub fn world(signals: &[(Signal, Vec<RecordBatch>)], placement: Placement, now: i64) -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tables: [TableSnapshot; 3] = Default::default();
    for (signal, batches) in signals {
        tables[*signal as usize - 1] = place(folder.path(), *signal, batches, placement, 64);
    }
    over(snapshot(tables), folder, now)
}

/// Spans in files of one flush a batch that were merged then, the last batch in memory; `now` in milliseconds.
pub async fn merged_world(mut batches: Vec<RecordBatch>, now: i64) -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = Arc::new(Lake::open(folder.path()).await.expect("a new lake"));
    let memory = MemoryBatch::all(batches.pop());
    for (sequence, batch) in (1..).zip(batches) {
        let sealed = SealedBatch { tenant: TenantId::default(), table: TableName::Spans, batch };
        lake.flush(sequence, sequence, vec![sealed]).await.expect("a flush");
    }
    let config = CompactionConfig { floor_free_bytes: 0, ..CompactionConfig::default() };
    let done = lake.compact(&config).await.expect("it merges");
    assert!(done.failures.is_empty(), "{:?}", done.failures);
    let files = lake.view().files(&TenantId::default(), Signal::Spans);
    let mut tables: [TableSnapshot; 3] = Default::default();
    tables[Signal::Spans as usize - 1] = TableSnapshot { files, memory };
    over(snapshot(tables), folder, now)
}

/// Nothing but changes of state of alerts.
pub fn world_with_alerts(history: RecordBatch, placement: Placement, now: i64) -> World {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let half = history.num_rows() / 2;
    let batches = [history.slice(0, half), history.slice(half, history.num_rows() - half)];
    let mut tables: [TableSnapshot; TableName::COUNT] = Default::default();
    tables[TableName::Alerts.index()] = place(folder.path(), TableName::Alerts, &batches, placement, 64);
    over(snapshot_of(tables), folder, now)
}

fn over(snapshot: Arc<Snapshot>, folder: tempfile::TempDir, now: i64) -> World {
    world_over(Arc::new(Fixed(snapshot)), folder, now).0
}

/// An API over any source, and its engine.
pub fn world_over(source: Arc<dyn SnapshotSource>, folder: tempfile::TempDir, now: i64) -> (World, Arc<Engine>) {
    with_config(source, Arc::new(folder), now, |_| {})
}

fn with_config(
    source: Arc<dyn SnapshotSource>,
    folder: Arc<tempfile::TempDir>,
    now: i64,
    change: impl FnOnce(&mut QueryConfig),
) -> (World, Arc<Engine>) {
    let mut config = fixture::config(folder.path());
    change(&mut config);
    let engine = Engine::new(Arc::clone(&source), config, Arc::new(At(T0 + now * MS))).expect("an engine");
    (World { router: router(Arc::clone(&engine)), source, now, folder }, engine)
}

impl World {
    /// The same, holding at most so many spans at once; and its engine.
    pub fn holding(&self, spans: usize) -> (Self, Arc<Engine>) {
        let change = |config: &mut QueryConfig| config.spans_at_once = Some(spans);
        with_config(Arc::clone(&self.source), Arc::clone(&self.folder), self.now, change)
    }

    /// The status and the JSON of an answer.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> (StatusCode, serde_json::Value) {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = Request::get(format!("/api/v1/{path}?{query}")).body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let json = serde_json::from_slice(&bytes)
            .unwrap_or_else(|e| panic!("{path}: {e}: {}", String::from_utf8_lossy(&bytes)));
        (status, json)
    }

    /// A 200 answer as its type.
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> T {
        let (status, json) = self.ask(path, parameters).await;
        assert_eq!(status, StatusCode::OK, "{path} {parameters:?}: {json}");
        serde_json::from_value(json).expect("the type of the API")
    }
}

/// A time in milliseconds as a parameter.
pub fn at(ms: i64) -> String {
    (T0 + ms * MS).to_string()
}
