//! OTLP/gRPC: the three `Export` calls. All are unary, so a call is a body of one length-prefixed message and an answer of
//! one, and the message goes through the same reading, admission and decompression as over HTTP: tonic's server would
//! decompress before anyone could be asked, and answers OTLP's cases with other codes. Statuses are tonic's.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::{Router, routing::any};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use orrery_model::Signal;
use prost::Message;
use tonic::metadata::MetadataValue;

use crate::compression::Encoding;
use crate::http::{refuse as refuse_http, routes as http_routes, unrouted as http_unrouted};
use crate::metrics::Protocol;
use crate::pipeline::{Collector, IDEMPOTENCY_KEY, Payload, Sink};
use crate::refusal::{Kind, Refusal};
use crate::rpc;

/// The calls, as OTLP fixes them.
pub const PATHS: [(Signal, &str); 3] = [
    (Signal::Spans, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    (Signal::Logs, "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    (Signal::Metrics, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
];

/// A message's flag and length.
const PREFIX_BYTES: usize = 5;
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const ACCEPTED: &str = "identity,gzip,zstd,deflate";

/// The receivers of OTLP/gRPC.
pub fn grpc_router<S: Sink>(collector: Arc<Collector<S>>) -> Router {
    routes(&collector).fallback(move |request: Request| async move {
        collector.count_unrouted();
        if is_grpc(request.headers()) {
            return unimplemented(request.uri().path());
        }
        let message =
            "this port takes OTLP/gRPC; OTLP/HTTP is POST /v1/traces, /v1/logs or /v1/metrics on a port of its own";
        refuse_http(&Refusal::new(Kind::UnsupportedMediaType, message), request.headers())
    })
}

/// OTLP/HTTP and OTLP/gRPC on one port, told apart by their paths, with CORS on every response.
pub fn both_router<S: Sink>(collector: Arc<Collector<S>>) -> Router {
    let router = http_routes(&collector).merge(routes(&collector)).fallback(move |request: Request| async move {
        if is_grpc(request.headers()) {
            collector.count_unrouted();
            return unimplemented(request.uri().path());
        }
        http_unrouted(collector, request).await
    });
    crate::cors::cors(router)
}

/// A refusal as a gRPC response.
pub fn refuse(refusal: &Refusal) -> Response {
    let code = refusal.kind.grpc_code();
    let detail = refusal.detail();
    let details = rpc::Status::new(code as i32, refusal.message().to_owned(), detail.as_ref()).encode_to_vec();
    let mut status = tonic::Status::with_details(code, refusal.message(), Bytes::from(details));
    if refusal.kind == Kind::UnsupportedEncoding {
        status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static(ACCEPTED));
    }
    status.into_http()
}

/// Whether a request says that it is gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    // `application/grpc-web` and `application/grpc+json` are other protocols.
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| {
        let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
        rest.is_empty() || rest.starts_with(b";")
    })
}

fn routes<S: Sink>(collector: &Arc<Collector<S>>) -> Router {
    PATHS.into_iter().fold(Router::new(), |router, (signal, path)| {
        let collector = Arc::clone(collector);
        router.route(path, any(move |request: Request| receive(Arc::clone(&collector), signal, request)))
    })
}

fn unimplemented(path: &str) -> Response {
    let path: String = path.chars().take(200).collect();
    let message = format!("no such call: {path}; OTLP/gRPC is Export of TraceService, LogsService and MetricsService");
    refuse(&Refusal::new(Kind::NotFound, message))
}

async fn receive<S: Sink>(collector: Arc<Collector<S>>, signal: Signal, request: Request) -> Response {
    if request.method() != Method::POST || !is_grpc(request.headers()) {
        let message = format!("{} is POST with the content type application/grpc", request.uri().path());
        let refusal = Refusal::new(Kind::UnsupportedMediaType, message);
        collector.count_refused(signal, Protocol::Grpc, &refusal);
        return refuse_http(&refusal, request.headers());
    }
    match accept(&collector, signal, request).await {
        Ok(message) => respond(message),
        Err(refusal) => {
            collector.count_refused(signal, Protocol::Grpc, &refusal);
            refuse(&refusal)
        }
    }
}

async fn accept<S: Sink>(collector: &Collector<S>, signal: Signal, request: Request) -> Result<Bytes, Refusal> {
    let (parts, mut body) = request.into_parts();
    let encoding = match parts.headers.get("grpc-encoding") {
        None => Encoding::Identity,
        Some(value) => Encoding::parse(value.to_str().unwrap_or("?"))?,
    };
    let mut admission = collector.admit(&parts.extensions)?;
    let framed = collector.read(&mut body, PREFIX_BYTES, &mut admission).await?;
    let (encoding, wire) = unframe(framed, encoding)?;
    let idempotency_key = parts.headers.get(IDEMPOTENCY_KEY).cloned();
    let payload = Payload { signal, protocol: Protocol::Grpc, encoding, wire, idempotency_key };
    let response = collector.receive(payload, admission).await?;
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + response.encoded_len());
    message.put_u8(0);
    message.put_u32(response.encoded_len() as u32);
    response.encode_raw(&mut message);
    Ok(message.freeze())
}

/// Takes the one message of a unary call out of its frame.
fn unframe(mut framed: Bytes, encoding: Encoding) -> Result<(Encoding, Bytes), Refusal> {
    let bad = |message: &str| Err(Refusal::new(Kind::BadData, message));
    let [flag, length @ ..] = framed.get(..PREFIX_BYTES).unwrap_or_default() else {
        return bad("the call ended before its message");
    };
    let encoding = match (*flag, encoding) {
        (0, _) => Encoding::Identity,
        (1, Encoding::Identity) => return bad("the message is compressed, but the call has no grpc-encoding"),
        (1, encoding) => encoding,
        _ => return bad("the message's compression flag is neither 0 nor 1"),
    };
    let length = length.iter().fold(0, |n: usize, byte| n << 8 | usize::from(*byte));
    let wire = framed.split_off(PREFIX_BYTES);
    if wire.len() < length {
        return bad("the call ended within its message");
    }
    if wire.len() > length {
        return bad("the call has more than one message");
    }
    Ok((encoding, wire))
}

fn respond(message: Bytes) -> Response {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}
