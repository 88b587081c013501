//! Cross-origin requests: telemetry may come from a page of any origin, with any headers. The preflight is answered before
//! anything else looks at the request, since it carries no credentials. Only for the OTLP receivers.

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Router, body::Body};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

/// How long a browser may remember a preflight's answer, in seconds; browsers allow up to two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Answers preflights and puts the CORS headers on every response of `router`, the unrouted and refused ones too. To be
/// applied outside of whatever checks credentials.
pub fn cors(router: Router) -> Router {
    router.layer(from_fn(handle))
}

async fn handle(request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { answer_preflight(request.headers()) } else { next.run(request).await };
    allow(origin, response.headers_mut());
    response
}

/// Lets a page of that origin read the response with these headers.
pub(crate) fn allow(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    // `navigator.sendBeacon` sends with credentials, and then a browser wants the origin itself rather than `*`. Nothing
    // here is decided by a cookie, so this gives nothing away.
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    } else {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    }
    headers.insert(header::VARY, HeaderValue::from_static("origin, access-control-request-headers"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
}

fn answer_preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    // `*` would not cover `Authorization`.
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ANY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if asked.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
    }
    response
}
