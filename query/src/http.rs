//! What the API's handlers share: who asks, how parameters are read, how answers and errors are written. Knows no
//! route.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use orrery_api::{ApiError, ErrorBody};
use orrery_model::{Identity, Role};
use serde::de::DeserializeOwned;

use crate::QueryError;

/// The bytes of a request's body that are read at most: a query, never data.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Who asks. Extracting it refuses a credential that may only send.
#[derive(Clone, Debug)]
pub struct Caller(pub Identity);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = QueryError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, QueryError> {
        let identity = parts.extensions.get::<Identity>().cloned().unwrap_or_default();
        match identity.role {
            Role::Read | Role::Admin => Ok(Self(identity)),
            Role::Ingest => Err(QueryError::Forbidden("this credential may send telemetry but not read it".into())),
        }
    }
}

/// The query string as `T`; a parameter that does not fit is a `bad_request`.
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = QueryError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, QueryError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|e| QueryError::bad_request(format!("parameters: {}", e.body_text())))
    }
}

/// A JSON body as `T`, whatever its content type says.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = QueryError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, QueryError> {
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES)
            .await
            .map_err(|e| QueryError::bad_request(format!("reading the body (at most {MAX_BODY_BYTES} bytes): {e}")))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|e| QueryError::bad_request(format!("the body is not the JSON that is expected: {e}")))
    }
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        if matches!(self, Self::Internal(_)) {
            tracing::error!(error = %self, "query failed");
        }
        let body = ErrorBody {
            error: ApiError {
                code: self.code().into(),
                message: self.to_string(),
                hint: self.hint().map(str::to_owned),
            },
        };
        let mut response = (self.status(), Json(body)).into_response();
        if self.status() == http::StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The answer of a path that the design names and that is not built.
pub async fn not_built(uri: http::Uri) -> QueryError {
    QueryError::NotImplemented {
        what: uri.path().to_owned(),
        hint: Some("POST /api/v1/sql reads the same tables".into()),
    }
}
