//! A running receiver on real sockets, and clients that speak to it byte by byte, so that tests can send what no decent
//! client would. Never decides what is right.

#![allow(dead_code, reason = "each test uses its part")]

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use orrery_collector::decode::OtlpDecoder;
use orrery_collector::json::{JsonLimits, transcode};
use orrery_collector::rpc::{BadRequest, ExportResponse, RetryInfo, Status};
use orrery_collector::{Collector, CollectorConfig, Kind, Sink, both_router};
use orrery_model::{Signal, SystemClock, TenantId};
use orrery_storage::{Store, StoreConfig};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};

/// The receivers under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

pub const DOORS: [Door; 3] = [Door::Grpc, Door::HttpProtobuf, Door::HttpJson];
pub const ENCODINGS: [&str; 4] = ["identity", "gzip", "zstd", "deflate"];

/// A collector behind a socket of its own, with OTLP/gRPC and OTLP/HTTP on it.
pub struct Server<S = Store> {
    pub address: SocketAddr,
    pub collector: Arc<Collector<S>>,
    pub sink: Arc<S>,
    task: tokio::task::JoinHandle<()>,
}

impl<S> Drop for Server<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Sink> Server<S> {
    pub async fn start(sink: Arc<S>, config: CollectorConfig) -> Self {
        let collector = Collector::new(Arc::clone(&sink), config, Arc::new(SystemClock));
        Self::serve(both_router(Arc::clone(&collector)), collector, sink).await
    }

    pub async fn serve(router: axum::Router, collector: Arc<Collector<S>>, sink: Arc<S>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, collector, sink, task }
    }

    /// Sends one export and says what came of it.
    pub async fn export(&self, door: Door, signal: Signal, encoding: &str, body: &[u8]) -> Verdict {
        self.export_compressed(door, signal, encoding, &compress(encoding, body)).await
    }

    /// The same with a body that is compressed already, or pretends to be.
    pub async fn export_compressed(&self, door: Door, signal: Signal, encoding: &str, body: &[u8]) -> Verdict {
        self.send(door, signal, export_request(door, signal, encoding, body)).await
    }

    pub async fn send(&self, door: Door, signal: Signal, request: Request<Full<Bytes>>) -> Verdict {
        let answer = if door == Door::Grpc { self.http2(request).await } else { self.http1(request).await };
        Verdict::of(door, signal, &answer)
    }

    pub async fn http1(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1 handshake");
        let connection = tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(request).await.expect("an answer")).await;
        connection.abort();
        answer
    }

    pub async fn http2(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2 handshake");
        let connection = tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(request).await.expect("an answer")).await;
        connection.abort();
        answer
    }
}

/// A store in a folder of its own.
pub struct Lake {
    pub server: Server<Store>,
    _folder: tempfile::TempDir,
}

impl Lake {
    pub async fn start(config: CollectorConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreConfig { dir: folder.path().join("data"), floor_free_bytes: 0, ..StoreConfig::default() };
        let store = Store::open(store, Arc::new(OtlpDecoder), Arc::new(SystemClock)).await.expect("opens");
        Self { server: Server::start(store, config).await, _folder: folder }
    }

    /// Rows of a signal that a query would see.
    pub fn rows(&self, signal: Signal) -> usize {
        let snapshot = self.server.sink.snapshot(&TenantId::default());
        let table = snapshot.table(signal);
        table.memory.iter().map(|b| b.num_rows()).sum::<usize>()
            + table.files.iter().map(|f| f.rows as usize).sum::<usize>()
    }
}

/// A response, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    async fn read(response: http::Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.expect("a whole answer");
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, trailers, body: collected.to_bytes() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("ASCII"))
    }
}

/// What a client learns from an answer, whatever the door.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub http: u16,
    pub grpc: i32,
    pub rejected: i64,
    pub message: String,
    pub retry_after_s: Option<u64>,
}

impl Verdict {
    pub fn accepted() -> Self {
        Self::partial(0, "")
    }

    pub fn partial(rejected: i64, message: &str) -> Self {
        Self { http: 200, grpc: 0, rejected, message: message.into(), retry_after_s: None }
    }

    pub fn refused(door: Door, kind: Kind, message: &str) -> Self {
        let http = if door == Door::Grpc { 200 } else { kind.http_status().as_u16() };
        let retry_after_s = kind.retry_after().map(|d| d.as_secs());
        Self { http, grpc: kind.grpc_code() as i32, rejected: 0, message: message.into(), retry_after_s }
    }

    /// Reads an answer, and checks all that OTLP asks of every answer.
    pub fn of(door: Door, signal: Signal, answer: &Answer) -> Self {
        match door {
            Door::Grpc => Self::of_grpc(answer),
            _ => Self::of_http(door, signal, answer),
        }
    }

    fn of_http(door: Door, signal: Signal, answer: &Answer) -> Self {
        assert_eq!(answer.header("content-type"), content_type(door), "the content type is that of the request");
        assert_ne!(answer.header("access-control-allow-origin"), "", "CORS");
        let retry_after =
            answer.headers.get(header::RETRY_AFTER).map(|v| v.to_str().expect("ASCII").parse().expect("s"));
        let mut verdict = if answer.status == StatusCode::OK {
            let response = if door == Door::HttpJson {
                json_response(signal, &answer.body)
            } else {
                export_response(&answer.body)
            };
            let partial = response.partial_success.unwrap_or_default();
            Self::partial(partial.rejected, &partial.error_message)
        } else {
            let status = if door == Door::HttpJson { json_status(&answer.body) } else { status(&answer.body) };
            let verdict = Self::of_status(&status);
            assert_eq!(verdict.retry_after_s, retry_after, "Retry-After and RetryInfo agree");
            verdict
        };
        verdict.http = answer.status.as_u16();
        verdict
    }

    fn of_grpc(answer: &Answer) -> Self {
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert_eq!(answer.status, 200);
        // An error comes with headers alone, a success with trailers.
        let trailers = if answer.body.is_empty() { &answer.headers } else { &answer.trailers };
        let code: i32 = trailers["grpc-status"].to_str().expect("ASCII").parse().expect("a code");
        if code == 0 {
            assert_eq!(answer.body[0], 0, "not compressed");
            assert_eq!(answer.body[1..5], (answer.body.len() as u32 - 5).to_be_bytes());
            let partial = export_response(&answer.body[5..]).partial_success.unwrap_or_default();
            return Self::partial(partial.rejected, &partial.error_message);
        }
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(&trailers["grpc-status-details-bin"]);
        let verdict = Self::of_status(&status(&details.expect("base64")));
        assert_eq!(verdict.grpc, code);
        let message = tonic::Status::from_header_map(trailers).expect("a status");
        assert_eq!(message.message(), verdict.message);
        verdict
    }

    fn of_status(status: &Status) -> Self {
        let mut retry_after_s = None;
        for detail in &status.details {
            match detail.type_url.as_str() {
                "type.googleapis.com/google.rpc.RetryInfo" => {
                    let delay = RetryInfo::decode(&*detail.value).expect("RetryInfo").retry_delay.expect("a delay");
                    retry_after_s = Some(delay.seconds as u64);
                }
                "type.googleapis.com/google.rpc.BadRequest" => {
                    let bad = BadRequest::decode(&*detail.value).expect("BadRequest");
                    assert_eq!(bad.field_violations[0].description, status.message);
                }
                other => panic!("unknown detail {other}"),
            }
        }
        Self { http: 200, grpc: status.code, rejected: 0, message: status.message.clone(), retry_after_s }
    }
}

fn export_response(body: &[u8]) -> ExportResponse {
    let response = ExportResponse::decode(body).expect("an Export*ServiceResponse");
    assert_ne!(response.partial_success, Some(Default::default()), "unset where there is nothing to say");
    response
}

fn status(body: &[u8]) -> Status {
    Status::decode(body).expect("a google.rpc.Status")
}

fn json_response(signal: Signal, body: &[u8]) -> ExportResponse {
    let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let Some(partial) = json.get("partialSuccess") else {
        assert_eq!(json, serde_json::json!({}));
        return ExportResponse::default();
    };
    let name = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"][signal as usize - 1];
    let rejected = partial.get(name).map_or(0, |v| v.as_str().expect("a string").parse().expect("a number"));
    let error_message = partial["errorMessage"].as_str().expect("a message").to_owned();
    ExportResponse { partial_success: Some(orrery_collector::rpc::PartialSuccess { rejected, error_message }) }
}

fn json_status(body: &[u8]) -> Status {
    let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let mut status = Status {
        code: json["code"].as_i64().expect("a code") as i32,
        message: json["message"].as_str().expect("a message").to_owned(),
        details: Vec::new(),
    };
    for detail in json["details"].as_array().into_iter().flatten() {
        let type_url = detail["@type"].as_str().expect("a type").to_owned();
        let value = if let Some(delay) = detail.get("retryDelay") {
            let seconds = delay.as_str().and_then(|d| d.strip_suffix('s')).expect("as 1.5s").parse::<f64>().expect("s");
            let delay = prost_types::Duration { seconds: seconds as i64, nanos: 0 };
            RetryInfo { retry_delay: Some(delay) }.encode_to_vec()
        } else {
            let violation = &detail["fieldViolations"][0];
            let text = |name: &str| violation[name].as_str().expect("text").to_owned();
            let violation =
                orrery_collector::rpc::FieldViolation { field: text("field"), description: text("description") };
            BadRequest { field_violations: vec![violation] }.encode_to_vec()
        };
        status.details.push(prost_types::Any { type_url, value });
    }
    status
}

pub fn content_type(door: Door) -> &'static str {
    match door {
        Door::Grpc => "application/grpc",
        Door::HttpProtobuf => "application/x-protobuf",
        Door::HttpJson => "application/json",
    }
}

pub fn path(door: Door, signal: Signal) -> &'static str {
    let paths = if door == Door::Grpc { orrery_collector::grpc::PATHS } else { orrery_collector::http::PATHS };
    paths[signal as usize - 1].1
}

pub fn export_request(door: Door, signal: Signal, encoding: &str, body: &[u8]) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://localhost{}", path(door, signal)))
        .header(header::CONTENT_TYPE, content_type(door));
    let body = if door == Door::Grpc {
        request = request.header("te", "trailers").header("grpc-encoding", encoding);
        frame(encoding != "identity", body)
    } else {
        request = request.header(header::HOST, "localhost");
        if encoding != "identity" {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        Bytes::copy_from_slice(body)
    };
    request.body(Full::new(body)).expect("a request")
}

/// A gRPC message in its frame.
pub fn frame(compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(u8::from(compressed));
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

pub fn compress(encoding: &str, body: &[u8]) -> Vec<u8> {
    let fast = flate2::Compression::fast();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
            encoder.write_all(body).expect("in memory");
            encoder.finish().expect("in memory")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), fast);
            encoder.write_all(body).expect("in memory");
            encoder.finish().expect("in memory")
        }
        "zstd" => zstd::encode_all(body, 1).expect("in memory"),
        _ => body.to_vec(),
    }
}

/// A request written down as OTLP/JSON, as the door takes it.
pub fn body_for(door: Door, signal: Signal, json: &str) -> Vec<u8> {
    if door == Door::HttpJson {
        return json.as_bytes().to_vec();
    }
    let limits = JsonLimits { bytes: 1 << 30, value_depth: 1000 };
    transcode(signal, json.as_bytes(), limits).expect("good JSON").protobuf
}

/// A request that holds these records (spans, log records, or data points of one gauge).
pub fn request_of(signal: Signal, records: &[String]) -> String {
    let records = records.join(",");
    let resource = r#""resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}"#;
    match signal {
        Signal::Spans => format!(r#"{{"resourceSpans":[{{{resource},"scopeSpans":[{{"spans":[{records}]}}]}}]}}"#),
        Signal::Logs => format!(r#"{{"resourceLogs":[{{{resource},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#),
        Signal::Metrics => format!(
            r#"{{"resourceMetrics":[{{{resource},"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{records}]}}}}]}}]}}]}}"#
        ),
    }
}

/// A good record; `n` makes it differ from others, `more` is further fields of it.
pub fn record(signal: Signal, n: u64, more: &str) -> String {
    let time = 1_700_000_000_000_000_000 + n;
    let comma = if more.is_empty() { "" } else { "," };
    match signal {
        Signal::Spans => format!(
            r#"{{"traceId":"{n:032x}","spanId":"{n:016x}","name":"s","startTimeUnixNano":"{time}","endTimeUnixNano":"{time}"{comma}{more}}}"#
        ),
        Signal::Logs => format!(r#"{{"timeUnixNano":"{time}","body":{{"stringValue":"b"}}{comma}{more}}}"#),
        Signal::Metrics => format!(r#"{{"timeUnixNano":"{time}","asDouble":1.5{comma}{more}}}"#),
    }
}
