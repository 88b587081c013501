//! Two generated loads, the same for every benchmark: `a` has the shape of Jaeger's tracegen (10 services, 10 spans a
//! trace, all of one service, 11 attributes a child out of 97 keys and 1,000 values, both taken in turn), `b` that of a shop with semantic conventions (12
//! services, 12 spans a trace, high-entropy paths, users and client addresses). Seeded: the same spans in every run but
//! for the start time given. Not a benchmark itself.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    A,
    B,
}

/// Between the starts of two traces: 2 million spans cover a few minutes.
const TRACE_INTERVAL_NS: u64 = 1_000_000;

/// Encoded `ExportTraceServiceRequest`s of `per_request` spans each, `spans` in all, the first starting at `start_ns`. A
/// request holds whole runs of traces, its spans grouped by service as a Collector's batches are.
pub fn requests(shape: Shape, spans: usize, per_request: usize, start_ns: u64) -> Vec<Vec<u8>> {
    Requests::new(shape, spans, per_request, start_ns, TRACE_INTERVAL_NS).collect()
}

/// The requests one by one, for loads that no memory holds.
pub struct Requests {
    shape: Shape,
    random: Random,
    turns: Turns,
    /// Spans of traces that are begun, for the next request.
    pending: Vec<(usize, Span)>,
    left: usize,
    per_request: usize,
    /// Where the next trace starts.
    start_ns: u64,
    interval_ns: u64,
}

impl Requests {
    /// Like [`requests`], with the time between the starts of two traces.
    pub fn new(shape: Shape, spans: usize, per_request: usize, start_ns: u64, interval_ns: u64) -> Self {
        let random = Random(0x9e37_79b9_7f4a_7c15 ^ shape as u64);
        let pending = Vec::with_capacity(per_request + 12);
        Self { shape, random, turns: Turns::default(), pending, left: spans, per_request, start_ns, interval_ns }
    }
}

impl Iterator for Requests {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let wanted = self.per_request.min(self.left);
        if wanted == 0 {
            return None;
        }
        while self.pending.len() < wanted {
            match self.shape {
                Shape::A => trace_a(&mut self.random, &mut self.turns, self.start_ns, &mut self.pending),
                Shape::B => trace_b(&mut self.random, self.start_ns, &mut self.pending),
            }
            self.start_ns += self.interval_ns;
        }
        let rest = self.pending.split_off(wanted);
        self.left -= wanted;
        Some(request(self.shape, std::mem::replace(&mut self.pending, rest)))
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn trace_id(&mut self) -> Vec<u8> {
        [self.next().to_be_bytes(), self.next().to_be_bytes()].concat()
    }

    fn span_id(&mut self) -> Vec<u8> {
        self.next().to_be_bytes().to_vec()
    }

    /// A latency in ns with a long tail: 0.1 to 100 ms, mostly short.
    fn latency(&mut self) -> u64 {
        let exponent = self.below(10);
        (100_000 << exponent) + self.below(100_000 << exponent)
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn int(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(value as i64))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn request(shape: Shape, spans: Vec<(usize, Span)>) -> Vec<u8> {
    let mut by_service: Vec<Vec<Span>> = vec![Vec::new(); SERVICES_B.len()];
    for (service, span) in spans {
        by_service[service].push(span);
    }
    let resource_spans =
        by_service.into_iter().enumerate().filter(|(_, spans)| !spans.is_empty()).map(|(service, spans)| {
            ResourceSpans {
                resource: Some(Resource { attributes: resource(shape, service), ..Default::default() }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "load".into(),
                        version: "1".into(),
                        ..Default::default()
                    }),
                    spans,
                    ..Default::default()
                }],
                ..Default::default()
            }
        });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn resource(shape: Shape, service: usize) -> Vec<KeyValue> {
    match shape {
        Shape::A => vec![text("service.name", format!("tracegen-{service:02}"))],
        Shape::B => {
            let name = SERVICES_B[service];
            vec![
                text("service.name", name),
                text("service.namespace", "shop"),
                text("service.version", "2.4.1"),
                text("service.instance.id", format!("{name}-7d9f8b6c5-{service:05}")),
                text("deployment.environment.name", "production"),
                text("k8s.namespace.name", "shop"),
                text("k8s.pod.name", format!("{name}-7d9f8b6c5-{service:05}")),
                text("host.name", format!("node-{}", service % 4)),
                text("telemetry.sdk.language", "go"),
            ]
        }
    }
}

/// What comes next of load `a`: the trace, and of its attributes the key and the value.
#[derive(Default)]
struct Turns {
    trace: u64,
    key: u64,
    value: u64,
}

impl Turns {
    fn attribute(&mut self) -> KeyValue {
        let next = text(&format!("attr_{:02}", self.key), format!("val_{:02}", self.value));
        (self.key, self.value) = ((self.key + 1) % 97, (self.value + 1) % 1_000);
        next
    }
}

fn trace_a(random: &mut Random, turns: &mut Turns, start: u64, out: &mut Vec<(usize, Span)>) {
    let service = (turns.trace % SERVICES_A) as usize;
    turns.trace += 1;
    let trace_id = random.trace_id();
    let root = random.span_id();
    let span = |span_id: Vec<u8>, start: u64, duration: u64| Span {
        trace_id: trace_id.clone(),
        span_id,
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        ..Default::default()
    };
    out.push((
        service,
        Span {
            name: "lets-go".into(),
            kind: 2,
            attributes: vec![text("peer.service", "tracegen-server"), text("peer.host.ipv4", "1.1.1.1")],
            ..span(root.clone(), start, random.latency())
        },
    ));
    for i in 0..9_u64 {
        let own = span(random.span_id(), start + i * 123_000, random.latency());
        out.push((
            service,
            Span {
                parent_span_id: root.clone(),
                name: format!("child-span-{i:02}"),
                kind: 3,
                attributes: (0..11).map(|_| turns.attribute()).collect(),
                ..own
            },
        ));
    }
}

const SERVICES_A: u64 = 10;
pub const SERVICES_B: [&str; 12] = [
    "gateway",
    "catalog",
    "cart",
    "checkout",
    "payment",
    "shipping",
    "inventory",
    "search",
    "account",
    "review",
    "price",
    "mail",
];
const ROUTES: [&str; 8] = [
    "/api/products/{id}",
    "/api/cart/{user}",
    "/api/orders/{id}",
    "/api/pay",
    "/api/search",
    "/api/users/{id}",
    "/api/prices/{sku}",
    "/api/reviews/{id}",
];

/// Gateway (server, client) → four services (server, client each) → two database calls: 12 spans.
fn trace_b(random: &mut Random, start: u64, out: &mut Vec<(usize, Span)>) {
    let trace_id = random.trace_id();
    let mut parent = Vec::new();
    let mut service = 0;
    for i in 0..12_u64 {
        let span_id = random.span_id();
        let is_server = i % 2 == 0;
        if i > 0 && is_server {
            service = 1 + random.below(11) as usize;
        }
        let failed = random.below(100) == 0;
        let (kind, attributes) = match (is_server, i) {
            (true, _) => (2, server_attributes(random, failed)),
            (false, 5 | 11) => (3, database_attributes(random)),
            (false, _) => (3, client_attributes(random, failed)),
        };
        let offset = i * 50_000;
        out.push((
            service,
            Span {
                trace_id: trace_id.clone(),
                span_id: span_id.clone(),
                parent_span_id: parent,
                flags: 0x101,
                name: if kind == 2 { format!("GET {}", ROUTES[random.below(8) as usize]) } else { "GET".to_owned() },
                kind,
                start_time_unix_nano: start + offset,
                end_time_unix_nano: start + offset + random.latency(),
                attributes,
                status: failed.then(|| Status { code: 2, ..Default::default() }),
                ..Default::default()
            },
        ));
        parent = span_id;
    }
}

fn server_attributes(random: &mut Random, failed: bool) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("http.route", ROUTES[random.below(8) as usize]),
        text("url.path", format!("/api/{:016x}/{:08x}", random.next(), random.next() as u32)),
        int("http.response.status_code", if failed { 500 } else { 200 }),
        text("client.address", format!("10.{}.{}.{}", random.below(256), random.below(256), random.below(256))),
        text("user.id", format!("user-{}", random.below(1_000_000))),
        text("network.protocol.version", "1.1"),
    ]
}

fn client_attributes(random: &mut Random, failed: bool) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.full", format!("http://service/api/{:016x}", random.next())),
        text("server.address", SERVICES_B[random.below(12) as usize]),
        int("server.port", 8080),
        int("http.response.status_code", if failed { 500 } else { 200 }),
        text("network.protocol.version", "1.1"),
    ]
}

fn database_attributes(random: &mut Random) -> Vec<KeyValue> {
    vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "shop"),
        text("db.operation.name", "SELECT"),
        text("db.collection.name", "orders"),
        text("db.query.text", format!("SELECT * FROM orders WHERE id = $1 AND shard = {}", random.below(64))),
        text("server.address", format!("db-{}", random.below(3))),
        int("server.port", 5432),
    ]
}
