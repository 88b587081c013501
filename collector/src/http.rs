//! OTLP/HTTP: protobuf and JSON on `/v1/traces`, `/v1/logs` and `/v1/metrics`, answered in the content type of the
//! request. What happens to a request is the pipeline's; here it is only taken apart and its outcome put into HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::{Router, routing::any};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use orrery_model::Signal;
use prost::Message;

use crate::body;
use crate::compression::Encoding;
use crate::cors::{allow, cors};
use crate::metrics::Protocol;
use crate::pipeline::{Collector, IDEMPOTENCY_KEY, Payload, Sink};
use crate::refusal::{Kind, Refusal};
use crate::rpc::{self, ExportResponse};

/// The paths, as OTLP fixes them.
pub const PATHS: [(Signal, &str); 3] =
    [(Signal::Spans, "/v1/traces"), (Signal::Logs, "/v1/logs"), (Signal::Metrics, "/v1/metrics")];

/// The receivers of OTLP/HTTP, with CORS on every response.
pub fn http_router<S: Sink>(collector: Arc<Collector<S>>) -> Router {
    cors(routes(&collector).fallback(move |request: Request| unrouted(Arc::clone(&collector), request)))
}

/// The routes alone, without CORS and without an answer for other paths.
pub(crate) fn routes<S: Sink>(collector: &Arc<Collector<S>>) -> Router {
    PATHS.into_iter().fold(Router::new(), |router, (signal, path)| {
        let collector = Arc::clone(collector);
        router.route(path, any(move |request: Request| receive(Arc::clone(&collector), signal, request)))
    })
}

/// Answers a request to a path that is none of OTLP's.
pub(crate) async fn unrouted<S: Sink>(collector: Arc<Collector<S>>, request: Request) -> Response {
    collector.count_unrouted();
    let path: String = request.uri().path().chars().take(200).collect();
    let hint = match path.as_str() {
        "/v1development/profiles" => "profiles are not supported; ",
        "/api/v2/spans" | "/api/traces" => "Zipkin's and Jaeger's own formats are not supported; ",
        path if path.starts_with("/opentelemetry.proto.") => "this port takes OTLP/HTTP, gRPC has a port of its own; ",
        _ => "",
    };
    let message = format!("nothing at {path:?}: {hint}OTLP/HTTP is POST /v1/traces, /v1/logs or /v1/metrics");
    refuse(&Refusal::new(Kind::NotFound, message), request.headers())
}

/// A refusal as an HTTP response in the content type of the request that had these headers, CORS included: also for
/// whoever refuses before a request gets here.
pub fn refuse(refusal: &Refusal, request: &HeaderMap) -> Response {
    let format = Format::of(request).unwrap_or(Format::Json);
    let (code, detail) = (refusal.kind.grpc_code() as i32, refusal.detail());
    let body = match format {
        Format::Json => rpc::status_json(code, refusal.message(), detail.as_ref()),
        _ => Bytes::from(rpc::Status::new(code, refusal.message().to_owned(), detail.as_ref()).encode_to_vec()),
    };
    let mut response = respond(refusal.kind.http_status(), format, body);
    let headers = response.headers_mut();
    allow(request.get(header::ORIGIN).cloned(), headers);
    if let Some(delay) = refusal.retry_after() {
        let seconds = delay.as_secs_f64().ceil() as u64;
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal.kind {
        Kind::MethodNotAllowed => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"))),
        Kind::UnsupportedEncoding => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(crate::compression::ACCEPTED));
        }
        Kind::Unauthenticated => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// The encoding of a request, and so of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Protobuf,
    /// The same under the name that some clients give it.
    ProtobufAlias,
    Json,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let content_type = headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?")).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let formats = [Self::Protobuf, Self::ProtobufAlias, Self::Json];
        formats.into_iter().find(|f| f.name().eq_ignore_ascii_case(media_type)).ok_or_else(|| {
            let found = if media_type.is_empty() {
                "no content type".to_owned()
            } else {
                format!("content type {media_type:?}")
            };
            let hint = if media_type.starts_with("application/grpc") { "gRPC has a port of its own; " } else { "" };
            let message = format!("{found}: {hint}OTLP/HTTP is application/x-protobuf or application/json");
            Refusal::new(Kind::UnsupportedMediaType, message)
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::ProtobufAlias => "application/protobuf",
            Self::Json => "application/json",
        }
    }

    const fn protocol(self) -> Protocol {
        match self {
            Self::Json => Protocol::HttpJson,
            _ => Protocol::HttpProtobuf,
        }
    }
}

async fn receive<S: Sink>(collector: Arc<Collector<S>>, signal: Signal, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let outcome = accept(&collector, signal, &parts, &mut body).await;
    match outcome {
        Ok((format, response)) => {
            let body = match format {
                Format::Json => response.json(signal),
                _ => Bytes::from(response.encode_to_vec()),
            };
            respond(StatusCode::OK, format, body)
        }
        Err(refusal) => {
            // HTTP/2 resets the stream alone, and a client that waits for `100 Continue` has sent nothing.
            let sending = refusal.kind != Kind::TooSlow && !parts.headers.contains_key(header::EXPECT);
            if parts.version < Version::HTTP_2 && sending {
                body::linger(&mut body).await;
            }
            refuse(&refusal, &parts.headers)
        }
    }
}

async fn accept<S: Sink>(
    collector: &Collector<S>,
    signal: Signal,
    parts: &http::request::Parts,
    body: &mut Body,
) -> Result<(Format, ExportResponse), Refusal> {
    let format = Format::of(&parts.headers);
    let protocol = format.as_ref().map_or(Protocol::HttpProtobuf, |f| f.protocol());
    let result = async {
        if parts.method != Method::POST {
            let message = format!("{} is not allowed here; OTLP/HTTP is POST", parts.method);
            return Err(Refusal::new(Kind::MethodNotAllowed, message));
        }
        let format = format?;
        let encoding = content_encoding(&parts.headers)?;
        let mut admission = collector.admit(&parts.extensions)?;
        let wire = collector.read(body, 0, &mut admission).await?;
        let idempotency_key = parts.headers.get(IDEMPOTENCY_KEY).cloned();
        let payload = Payload { signal, protocol, encoding, wire, idempotency_key };
        let response = collector.receive(payload, admission).await?;
        Ok((format, response))
    };
    let result = result.await;
    if let Err(refusal) = &result {
        collector.count_refused(signal, protocol, refusal);
    }
    result
}

fn content_encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Encoding::Identity),
        (Some(value), None) => Encoding::parse(value.to_str().unwrap_or("?")),
        _ => Err(Refusal::new(Kind::UnsupportedEncoding, "several content encodings, one over the other")),
    }
}

fn respond(status: StatusCode, format: Format, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.name()));
    response
}
