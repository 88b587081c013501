//! Telemetry out of a seed: batches with the tables' schemas, of the two loads that the benchmarks send and of small
//! ones that tests can count; and which data files a lake has. Never random beyond its seed.
#![allow(dead_code, reason = "each crate uses a part of it")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampNanosecondArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use orrery_model::{Signal, Table, TableName, table};

pub const SECOND: i64 = 1_000_000_000;
pub const HOUR: i64 = 3_600 * SECOND;
/// 2026-03-14 09:00:00 UTC.
pub const START: i64 = 1_773_478_800 * SECOND;

/// SplitMix64.
pub struct Seed(pub u64);

impl Seed {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

pub type Text = Vec<Option<String>>;
pub type Pairs = Vec<(String, Option<String>)>;

/// Columns by name; what is not given is NULL, zero or empty.
pub struct Rows {
    table: &'static Table,
    len: usize,
    columns: HashMap<String, ArrayRef>,
}

impl Rows {
    pub fn new(name: impl Into<TableName>, len: usize) -> Self {
        Self { table: table(name), len, columns: HashMap::new() }
    }

    pub fn set(mut self, name: &str, array: impl Array + 'static) -> Self {
        assert_eq!(array.len(), self.len, "{name}");
        self.columns.insert(name.to_owned(), Arc::new(array));
        self
    }

    pub fn text(self, name: &str, values: Text) -> Self {
        self.set(name, StringArray::from(values))
    }

    pub fn word(self, name: &str, word: &str) -> Self {
        let len = self.len;
        self.text(name, vec![Some(word.to_owned()); len])
    }

    pub fn times(self, name: &str, values: Vec<i64>) -> Self {
        self.set(name, TimestampNanosecondArray::from(values))
    }

    pub fn map(self, name: &str, rows: &[Pairs]) -> Self {
        let field = self.table.schema.field_with_name(name).expect("the table has the column");
        let map = map_array(field.data_type(), rows);
        self.set(name, map)
    }

    pub fn finish(mut self) -> RecordBatch {
        let columns = self
            .table
            .schema
            .fields()
            .iter()
            .map(|field| self.columns.remove(field.name()).unwrap_or_else(|| blank(field, self.len)));
        let columns = columns.collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.table.schema), columns).expect("the columns fit the schema");
        assert!(self.columns.is_empty(), "no such columns: {:?}", self.columns.keys());
        batch
    }
}

/// The batch with other rows of a map.
pub fn with_map(batch: &RecordBatch, name: &str, rows: &[Pairs]) -> RecordBatch {
    let index = batch.schema().index_of(name).expect("the batch has the column");
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(map_array(batch.schema().field(index).data_type(), rows));
    RecordBatch::try_new(batch.schema(), columns).expect("the columns fit the schema")
}

/// Rows of a file with all of its table's columns: NULL where the file leaves one out. Columns that are none of the table's,
/// and the footer's metadata, go.
pub fn in_table(name: impl Into<TableName>, rows: &RecordBatch) -> RecordBatch {
    let table = table(name);
    let own = |field: &&FieldRef| table.schema.index_of(field.name()).is_ok();
    let schema = rows.schema();
    let stored: Vec<_> = schema.fields().iter().filter(own).collect();
    let expected = table.schema.fields().iter().filter(|field| schema.index_of(field.name()).is_ok());
    assert!(stored.into_iter().eq(expected), "a file of {} has other columns than its table", table.name);
    let columns = table.schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), rows.num_rows()),
    });
    RecordBatch::try_new(Arc::clone(&table.schema), columns.collect()).expect("what may not be NULL is there")
}

fn blank(field: &FieldRef, len: usize) -> ArrayRef {
    if field.is_nullable() {
        return new_null_array(field.data_type(), len);
    }
    match field.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from(vec![""; len])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![0; len])),
        DataType::List(element) => Arc::new(ListArray::new(
            Arc::clone(element),
            OffsetBuffer::new_zeroed(len),
            new_empty_array(element.data_type()),
            None,
        )),
        DataType::Map(..) => Arc::new(map_array(field.data_type(), &vec![vec![]; len])),
        other => panic!("{} of type {other} must be given", field.name()),
    }
}

pub fn map_array(data_type: &DataType, rows: &[Pairs]) -> MapArray {
    let DataType::Map(entries, sorted) = data_type else { panic!("{data_type} is no map") };
    let DataType::Struct(fields) = entries.data_type() else { panic!("a map's entries are a struct") };
    let keys: StringArray = rows.iter().flatten().map(|(key, _)| Some(key.as_str())).collect();
    let values: StringArray = rows.iter().flatten().map(|(_, value)| value.as_deref()).collect();
    let pairs = StructArray::new(fields.clone(), vec![Arc::new(keys), Arc::new(values)], None);
    MapArray::new(Arc::clone(entries), OffsetBuffer::from_lengths(rows.iter().map(Vec::len)), pairs, None, *sorted)
}

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

const SERVICES: &[&str] =
    &["frontend", "cart", "checkout", "payment", "shipping", "currency", "email", "recommendation", "ads", "catalog"];

/// The times, ids and names that the spans of both loads have: traces of eight spans.
fn spans(seed: &mut Seed, len: usize, start: i64) -> Rows {
    let mut ids: Vec<(String, String, Option<String>)> = Vec::with_capacity(len);
    for row in 0..len {
        let span = format!("{:016x}", seed.next());
        if row % 8 == 0 {
            ids.push((format!("{:016x}{:016x}", seed.next(), seed.next()), span, None));
        } else {
            let parent = &ids[row - 1 - seed.below(row as u64 % 8) as usize];
            ids.push((parent.0.clone(), span, Some(parent.1.clone())));
        }
    }
    let times = (0..len as i64).map(|row| start + row * 200_000 + seed.below(50_000) as i64).collect();
    let durations: Vec<i64> = (0..len).map(|_| 10_000 + (seed.below(1 << 20) * seed.below(64)) as i64).collect();
    let services: Vec<&str> = (0..len).map(|_| seed.of(SERVICES)).collect();
    let version = |service: &str| some(format!("1.{}.0", service.len()));
    Rows::new(Signal::Spans, len)
        .times("timestamp", times)
        .word("time_source", "sent")
        .set("duration_ns", Int64Array::from(durations))
        .text("trace_id", ids.iter().map(|id| some(&id.0)).collect())
        .text("span_id", ids.iter().map(|id| some(&id.1)).collect())
        .text("parent_span_id", ids.iter().map(|id| id.2.clone()).collect())
        .set("flags", Int64Array::from(vec![257; len]))
        .text("service_name", services.iter().map(|s| some(*s)).collect())
        .text("service_version", services.iter().map(|s| version(s)).collect())
        .text("deployment_environment", vec![some("production"); len])
        .text("resource_attributes.telemetry.sdk.language", vec![some("go"); len])
}

/// The shape of Jaeger's tracegen: eleven attributes of 97 keys a span, none of them promoted.
pub fn load_a(seed: &mut Seed, len: usize, start: i64) -> RecordBatch {
    let attributes: Vec<Pairs> = (0..len)
        .map(|row| {
            (0..11)
                .map(|i| (format!("attr_{:02}", (row * 11 + i) % 97), some(format!("val_{}", (row + i) % 97))))
                .collect()
        })
        .collect();
    let names = (0..len).map(|row| some(format!("fake-{}", row % 8))).collect();
    spans(seed, len, start)
        .text("name", names)
        .word("kind", "INTERNAL")
        .word("status_code", "UNSET")
        .text("scope_name", vec![some("tracegen"); len])
        .map("other_attributes", &attributes)
        .finish()
}

/// The semantic conventions of a shop: HTTP servers and database clients, paths, users and addresses of high entropy.
pub fn load_b(seed: &mut Seed, len: usize, start: i64) -> RecordBatch {
    const ROUTES: &[&str] = &["/api/products/{id}", "/api/cart", "/api/checkout", "/api/users/{id}/orders", "/healthz"];
    const TABLES: &[&str] = &["orders", "items", "users", "stock"];
    let server: Vec<bool> = (0..len).map(|_| seed.below(3) != 0).collect();
    let routes: Vec<&str> = (0..len).map(|_| seed.of(ROUTES)).collect();
    let tables: Vec<&str> = (0..len).map(|_| seed.of(TABLES)).collect();
    let http =
        |value: &mut dyn FnMut(usize) -> String| -> Text { (0..len).map(|i| server[i].then(|| value(i))).collect() };
    let db =
        |value: &mut dyn FnMut(usize) -> String| -> Text { (0..len).map(|i| (!server[i]).then(|| value(i))).collect() };
    let statuses: Vec<Option<i64>> =
        (0..len).map(|i| server[i].then(|| if seed.below(50) == 0 { 500 } else { 200 })).collect();
    let attributes: Vec<Pairs> = (0..len)
        .map(|i| {
            if !server[i] {
                return vec![];
            }
            vec![
                ("user.id".to_owned(), some(format!("u-{:08x}", seed.next() as u32))),
                ("user_agent.original".to_owned(), some(format!("Mozilla/5.0 (X11; Linux) rv:{}", seed.below(40)))),
                ("url.scheme".to_owned(), some("https")),
            ]
        })
        .collect();
    let rows = spans(seed, len, start);
    rows.text(
        "name",
        (0..len)
            .map(|i| some(if server[i] { format!("GET {}", routes[i]) } else { format!("SELECT {}", tables[i]) }))
            .collect(),
    )
    .text("kind", server.iter().map(|s| some(if *s { "SERVER" } else { "CLIENT" })).collect())
    .text("status_code", statuses.iter().map(|s| some(if *s == Some(500) { "ERROR" } else { "UNSET" })).collect())
    .text("attributes.http.request.method", http(&mut |_| "GET".to_owned()))
    .set("attributes.http.response.status_code", Int64Array::from(statuses))
    .text("attributes.http.route", http(&mut |i| routes[i].to_owned()))
    .text("attributes.url.path", http(&mut |i| routes[i].replace("{id}", &format!("{:010}", seed.below(1 << 32)))))
    .text(
        "attributes.client.address",
        http(&mut |_| format!("10.{}.{}.{}", seed.below(256), seed.below(256), seed.below(256))),
    )
    .text("attributes.server.address", http(&mut |i| format!("shop-{}.example.com", routes[i].len() % 4)))
    .text("attributes.db.system.name", db(&mut |_| "postgresql".to_owned()))
    .text("attributes.db.namespace", db(&mut |_| "shop".to_owned()))
    .text("attributes.db.operation.name", db(&mut |_| "SELECT".to_owned()))
    .text("attributes.db.collection.name", db(&mut |i| tables[i].to_owned()))
    .text("attributes.db.query.text", db(&mut |i| format!("SELECT * FROM {} WHERE id = $1", tables[i])))
    .text("scope_name", vec![some("go.opentelemetry.io/contrib/otelhttp"); len])
    .text("scope_version", vec![some("0.61.0"); len])
    .map("other_attributes", &attributes)
    .finish()
}

/// Log records of a few services.
pub fn logs(seed: &mut Seed, len: usize, start: i64) -> RecordBatch {
    let times: Vec<i64> = (0..len as i64).map(|row| start + row * 1_000_000).collect();
    Rows::new(Signal::Logs, len)
        .times("observed_timestamp", times.clone())
        .times("timestamp", times)
        .word("time_source", "sent")
        .set(
            "severity_number",
            Int64Array::from((0..len).map(|_| [9, 9, 13, 17][seed.below(4) as usize]).collect::<Vec<i64>>()),
        )
        .text("trace_id", (0..len).map(|i| (i % 2 == 0).then(|| format!("{:032x}", seed.below(1000)))).collect())
        .text(
            "body",
            (0..len).map(|_| some(format!("user {} paid {} cents", seed.below(1000), seed.below(100_000)))).collect(),
        )
        .text("service_name", (0..len).map(|_| some(seed.of(SERVICES))).collect())
        .text("attributes.log.iostream", (0..len).map(|i| (i % 3 == 0).then(|| "stdout".to_owned())).collect())
        .map("other_attributes", &(0..len).map(|i| vec![("line".to_owned(), some(i.to_string()))]).collect::<Vec<_>>())
        .finish()
}

/// Gauge points of `series` series.
pub fn metrics(seed: &mut Seed, len: usize, series: u64, start: i64) -> RecordBatch {
    let ids: Vec<u64> = (0..len as u64).map(|row| row % series).collect();
    Rows::new(Signal::Metrics, len)
        .times("timestamp", (0..len as i64).map(|row| start + row / series as i64 * SECOND).collect())
        .word("time_source", "sent")
        .text("metric_name", ids.iter().map(|id| some(format!("metric_{}", id % 30))).collect())
        .word("type", "GAUGE")
        .set("value", Float64Array::from((0..len).map(|_| seed.below(10_000) as f64 / 7.0).collect::<Vec<_>>()))
        .text(
            "series_id",
            ids.iter()
                .map(|id| {
                    some(format!(
                        "{:032x}",
                        (u128::from(*id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_1234_5678_9abc_def1)
                    ))
                })
                .collect(),
        )
        .text("service_name", ids.iter().map(|id| some(SERVICES[(id % 10) as usize])).collect())
        .text("resource_attributes.k8s.pod.name", ids.iter().map(|id| some(format!("pod-{id}"))).collect())
        .finish()
}

/// Changes of state of a few alerts.
pub fn alerts(seed: &mut Seed, len: usize, start: i64) -> RecordBatch {
    let times: Vec<i64> = (0..len as i64).map(|row| start + row * SECOND).collect();
    let services: Vec<&str> = (0..len).map(|_| seed.of(SERVICES)).collect();
    let labels: Vec<Pairs> = services.iter().map(|s| vec![("service_name".to_owned(), some(*s))]).collect();
    Rows::new(TableName::Alerts, len)
        .times("active_since", times.clone())
        .times("timestamp", times)
        .text("alert", (0..len).map(|_| some(seed.of(&["ErrorRatio", "Latency", "Silent"]))).collect())
        .text("fingerprint", (0..len).map(|_| some(format!("{:016x}", seed.next()))).collect())
        .word("rule_group", "services")
        .word("rule_file", "rules/services.yaml")
        .word("previous_state", "pending")
        .word("state", "firing")
        .set("value", Float64Array::from((0..len).map(|_| seed.below(100) as f64 / 100.0).collect::<Vec<_>>()))
        .map("labels", &labels)
        .text("service_name", services.into_iter().map(some).collect())
        .finish()
}

/// The names of all files below a lake's folder of data files, sorted.
pub fn data_files(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![dir.join("data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}
