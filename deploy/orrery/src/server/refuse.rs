//! The answers a door gives by itself, each in the protocol of the request: JSON for the API, `google.rpc.Status` in the
//! request's own content type for OTLP/HTTP, trailers for gRPC. Never says more than the sender may know.

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use orrery_api::{ApiError, ErrorBody};
use orrery_collector as otlp;

use super::door::Kind;
use crate::auth::Denied;

pub enum Refusal {
    Denied(Denied),
    /// The lake is being opened; a retry helps.
    Starting,
    /// A name or origin under which this server is not reached.
    WrongHost(String),
}

impl Refusal {
    fn message(&self) -> &str {
        match self {
            Self::Denied(denied) => denied.message(),
            Self::Starting => "the server is starting and reads its log; retry soon",
            Self::WrongHost(reason) => reason,
        }
    }
}

pub fn refuse(kind: Kind, request: &Request<Body>, refusal: &Refusal) -> Response<Body> {
    match kind {
        Kind::Dashboard => api(refusal),
        Kind::Otlp => telemetry(request, refusal),
    }
}

fn api(refusal: &Refusal) -> Response<Body> {
    let (status, code, hint) = match refusal {
        Refusal::Denied(Denied::Unauthenticated) => {
            (StatusCode::UNAUTHORIZED, "unauthorized", "send `Authorization: Bearer <token>`")
        }
        Refusal::Denied(Denied::Forbidden) => (
            StatusCode::FORBIDDEN,
            "forbidden",
            "use a token with the role `read`, or `admin` for what changes the lake",
        ),
        Refusal::Starting => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting", "/-/ready answers 200 when the server has started")
        }
        Refusal::WrongHost(_) => {
            (StatusCode::FORBIDDEN, "forbidden", "add the name to `allowed_hosts` in the configuration")
        }
    };
    let error = ApiError { code: code.to_owned(), message: refusal.message().to_owned(), hint: Some(hint.to_owned()) };
    let mut response = (status, axum::Json(ErrorBody { error })).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        // A browser asks its user for the token, as the password of any name.
        let challenge = "Basic realm=\"Orrery: the token is the password\", charset=\"UTF-8\"";
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn telemetry(request: &Request<Body>, refusal: &Refusal) -> Response<Body> {
    let kind = match refusal {
        Refusal::Denied(Denied::Unauthenticated) => otlp::Kind::Unauthenticated,
        Refusal::Denied(Denied::Forbidden) | Refusal::WrongHost(_) => otlp::Kind::Forbidden,
        Refusal::Starting => otlp::Kind::Closing,
    };
    let refusal = otlp::Refusal::new(kind, refusal.message());
    if otlp::grpc::is_grpc(request.headers()) {
        return otlp::grpc::refuse(&refusal);
    }
    let mut response = otlp::http::refuse(&refusal, request.headers());
    // A page of another origin may read why it was refused.
    let origin = request.headers().get(ORIGIN).cloned().unwrap_or(HeaderValue::from_static("*"));
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    response
}
