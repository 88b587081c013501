//! What OTLP/HTTP and OTLP/gRPC each have of their own: methods, paths, content types, CORS, frames, encodings.

use std::sync::Arc;

use crate::common::{
    Answer, DOORS, Door, Lake, Server, Verdict, body_for, content_type, export_request, frame, record, request_of,
};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use orrery_collector::rpc::Status;
use orrery_collector::{CollectorConfig, Kind, grpc_router, http_router};
use orrery_model::{Identity, Role, Signal, TenantId};
use prost::Message;

/// Method, path, headers; status, content type and message of the answer.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str, String);

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Request<Full<Bytes>> {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from_static(body))).expect("a request")
}

fn message(answer: &Answer) -> String {
    match answer.header("content-type") {
        JSON => serde_json::from_slice::<serde_json::Value>(&answer.body).expect("JSON")["message"]
            .as_str()
            .expect("a message")
            .to_owned(),
        _ => Status::decode(&*answer.body).expect("a status").message,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_says_what_is_wrong_with_a_request() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let hint = "OTLP/HTTP is POST /v1/traces, /v1/logs or /v1/metrics";
    let types = "OTLP/HTTP is application/x-protobuf or application/json";
    let encodings = "use one of identity, gzip, zstd, deflate";
    let trace = "/v1/traces";
    let cases: &[Case] = &[
        (
            "GET",
            trace,
            &[("content-type", PROTOBUF)],
            405,
            PROTOBUF,
            "GET is not allowed here; OTLP/HTTP is POST".into(),
        ),
        ("GET", trace, &[], 405, JSON, "GET is not allowed here; OTLP/HTTP is POST".into()),
        ("PUT", trace, &[("content-type", JSON)], 405, JSON, "PUT is not allowed here; OTLP/HTTP is POST".into()),
        ("POST", "/", &[("content-type", PROTOBUF)], 404, PROTOBUF, format!("nothing at \"/\": {hint}")),
        ("POST", "/v1/trace", &[("content-type", JSON)], 404, JSON, format!("nothing at \"/v1/trace\": {hint}")),
        ("POST", "/v1/traces/", &[], 404, JSON, format!("nothing at \"/v1/traces/\": {hint}")),
        (
            "POST",
            "/v1development/profiles",
            &[("content-type", PROTOBUF)],
            404,
            PROTOBUF,
            format!("nothing at \"/v1development/profiles\": profiles are not supported; {hint}"),
        ),
        ("POST", trace, &[], 415, JSON, format!("no content type: {types}")),
        ("POST", trace, &[("content-type", "text/plain")], 415, JSON, format!("content type \"text/plain\": {types}")),
        (
            "POST",
            trace,
            &[("content-type", "application/grpc")],
            415,
            JSON,
            format!("content type \"application/grpc\": gRPC has a port of its own; {types}"),
        ),
        (
            "POST",
            trace,
            &[("content-type", PROTOBUF), ("content-encoding", "br")],
            415,
            PROTOBUF,
            format!("unsupported content encoding \"br\"; {encodings}"),
        ),
        (
            "POST",
            trace,
            &[("content-type", JSON), ("content-encoding", "gzip, gzip")],
            415,
            JSON,
            format!("unsupported content encoding \"gzip, gzip\"; {encodings}"),
        ),
    ];
    for (method, path, headers, status, content_type, text) in cases {
        let answer = lake.server.http1(request(method, path, headers, b"")).await;
        let what = format!("{method} {path} {headers:?}");
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (*status, *content_type), "{what}");
        assert_eq!(message(&answer), *text, "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{what}");
        assert_eq!(answer.header("allow"), if *status == 405 { "POST, OPTIONS" } else { "" }, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_types_are_taken_with_parameters_and_answered_as_they_came() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let json = body_for(Door::HttpJson, Signal::Logs, &request_of(Signal::Logs, &[record(Signal::Logs, 1, "")]));
    let protobuf =
        body_for(Door::HttpProtobuf, Signal::Logs, &request_of(Signal::Logs, &[record(Signal::Logs, 2, "")]));
    for (sent, body, answered, empty) in [
        ("application/json; charset=utf-8", &json, JSON, &b"{}"[..]),
        ("Application/JSON", &json, JSON, b"{}"),
        ("application/x-protobuf", &protobuf, PROTOBUF, b""),
        ("application/protobuf; messageType=\"x\"", &protobuf, "application/protobuf", b""),
    ] {
        let mut request = request("POST", "/v1/logs", &[("content-type", sent), ("content-encoding", "identity")], b"");
        *request.body_mut() = Full::new(Bytes::from(body.clone()));
        let answer = lake.server.http1(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type"), &*answer.body),
            (200, answered, empty),
            "{sent}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_any_origin_may_send() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let origin = ("origin", "https://shop.example");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-anything"),
    ];
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics", "/elsewhere"] {
        let answer = lake.server.http1(request("OPTIONS", path, &preflight, b"")).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "as sendBeacon asks");
        assert_eq!(answer.header("access-control-allow-methods"), "POST, OPTIONS");
        assert_eq!(answer.header("access-control-allow-headers"), "authorization,content-type,x-anything");
        assert_eq!(answer.header("access-control-max-age"), "7200");
    }
    for (path, content_type, status) in [("/v1/logs", JSON, 200), ("/v1/logs", "text/plain", 415), ("/", JSON, 404)] {
        let headers = [origin, ("content-type", content_type)];
        let answer = lake.server.http1(request("POST", path, &headers, b"")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example", "{path} {content_type}");
        assert_eq!(answer.header("access-control-expose-headers"), "retry-after");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_says_what_is_wrong_with_a_call() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let good = body_for(Door::Grpc, Signal::Spans, &request_of(Signal::Spans, &[record(Signal::Spans, 1, "")]));
    let call = |encoding: &str, body: Bytes| {
        let mut request = export_request(Door::Grpc, Signal::Spans, encoding, b"");
        *request.body_mut() = Full::new(body);
        request
    };
    let two = [frame(false, &good), frame(false, &good)].concat();
    let cases = [
        (call("identity", Bytes::new()), "the call ended before its message"),
        (call("identity", frame(false, &good).slice(..9)), "the call ended within its message"),
        (call("identity", two.into()), "the call has more than one message"),
        (call("identity", frame(true, &good)), "the message is compressed, but the call has no grpc-encoding"),
        (call("identity", Bytes::from_static(b"\x02\0\0\0\0")), "the message's compression flag is neither 0 nor 1"),
    ];
    for (request, message) in cases {
        let verdict = Verdict::of(Door::Grpc, Signal::Spans, &lake.server.http2(request).await);
        assert_eq!(verdict, Verdict::refused(Door::Grpc, Kind::BadData, message));
    }
    // A message that is not compressed may come in a call that announces a compression.
    let verdict = Verdict::of(Door::Grpc, Signal::Spans, &lake.server.http2(call("gzip", frame(false, &good))).await);
    assert_eq!(verdict, Verdict::accepted());

    let answer = lake.server.http2(call("snappy", frame(true, &good))).await;
    assert_eq!(answer.header("grpc-accept-encoding"), "identity,gzip,zstd,deflate");
    let message = "unsupported content encoding \"snappy\"; use one of identity, gzip, zstd, deflate";
    let refused = Verdict::refused(Door::Grpc, Kind::UnsupportedEncoding, message);
    assert_eq!(Verdict::of(Door::Grpc, Signal::Spans, &answer), refused);
    assert_eq!(refused.grpc, tonic::Code::Unimplemented as i32);

    let unknown = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    let mut request = call("identity", frame(false, b""));
    *request.uri_mut() = format!("http://localhost{unknown}").parse().expect("a URI");
    let verdict = Verdict::of(Door::Grpc, Signal::Spans, &lake.server.http2(request).await);
    let message =
        format!("no such call: {unknown}; OTLP/gRPC is Export of TraceService, LogsService and MetricsService");
    assert_eq!((verdict.grpc, verdict.message), (tonic::Code::Unimplemented as i32, message));
}

/// Each port alone tells a client of the other protocol where to go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_port_says_so() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let (collector, store) = (Arc::clone(&lake.server.collector), Arc::clone(&lake.server.sink));
    let grpc = Server::serve(grpc_router(Arc::clone(&collector)), Arc::clone(&collector), Arc::clone(&store)).await;
    let http = Server::serve(http_router(Arc::clone(&collector)), collector, store).await;

    for door in [Door::HttpProtobuf, Door::HttpJson] {
        let answer = grpc.http1(export_request(door, Signal::Spans, "identity", b"")).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (415, content_type(door)));
        let text =
            "this port takes OTLP/gRPC; OTLP/HTTP is POST /v1/traces, /v1/logs or /v1/metrics on a port of its own";
        assert_eq!(message(&answer), text);
    }
    let answer = http.http2(export_request(Door::Grpc, Signal::Logs, "identity", b"")).await;
    assert_eq!(answer.status, 404);
    assert!(message(&answer).contains("this port takes OTLP/HTTP, gRPC has a port of its own"), "{}", message(&answer));

    for (server, door) in [(&grpc, Door::Grpc), (&http, Door::HttpProtobuf), (&http, Door::HttpJson)] {
        assert_eq!(server.export(door, Signal::Metrics, "gzip", b"").await.http, 200);
    }
}

/// The tenant and what it may come with the credential, which the binary puts into the request's extensions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_identity_decides_who_may_send_and_where_it_goes() {
    let lake = Lake::start(CollectorConfig::default()).await;
    let (collector, store) = (Arc::clone(&lake.server.collector), Arc::clone(&lake.server.sink));
    let acme = TenantId::new("acme").expect("a name");
    for (role, allowed) in [(Role::Read, false), (Role::Ingest, true), (Role::Admin, true)] {
        let identity = Identity { tenant: acme.clone(), role };
        let router = orrery_collector::both_router(Arc::clone(&collector)).layer(axum::Extension(identity));
        let server = Server::serve(router, Arc::clone(&collector), Arc::clone(&store)).await;
        for door in DOORS {
            let n = door as u64 * 10 + role as u64;
            let body = body_for(door, Signal::Spans, &request_of(Signal::Spans, &[record(Signal::Spans, n, "")]));
            let verdict = server.export(door, Signal::Spans, "zstd", &body).await;
            let refused = Verdict::refused(door, Kind::Forbidden, "this credential may read, not send telemetry");
            assert_eq!(verdict, if allowed { Verdict::accepted() } else { refused }, "{role:?} through {door:?}");
        }
    }
    let rows = |tenant: &TenantId| -> usize {
        store.snapshot(tenant).table(Signal::Spans).memory.iter().map(|b| b.num_rows()).sum()
    };
    assert_eq!((rows(&acme), rows(&TenantId::default())), (6, 0));
}

/// A body over the limit is refused by its announced length, and a client that is still sending it gets the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_the_middle_of_a_large_body_gets_the_answer() {
    let lake = Lake::start(CollectorConfig::default()).await;
    for door in DOORS {
        let verdict = lake.server.export(door, Signal::Spans, "identity", &vec![0; 80 << 20]).await;
        let message = "the request exceeds 67108864 bytes; send smaller batches";
        assert_eq!(verdict, Verdict::refused(door, Kind::TooLarge, message), "{door:?}");
    }
}
