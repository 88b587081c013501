//! The one list of routes of the public API under `/api/v1`. Holds no logic.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::http::not_built;
use crate::{Engine, QueryError, attributes_api, graph, logs, metrics, services, sql, status, traces};

/// The public API. The caller's [`orrery_model::Identity`] is taken from the request's extensions.
pub fn router(engine: Arc<Engine>) -> Router {
    Router::new()
        .route("/api/v1/sql", post(sql::post))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/{*name}", get(services::detail))
        .route("/api/v1/service-graph", get(graph::service_graph))
        .route("/api/v1/service-graph/spans", get(graph::edge_spans))
        .route("/api/v1/traces", get(traces::search))
        .route("/api/v1/traces/{id}", get(traces::trace))
        .route("/api/v1/logs", get(logs::logs))
        .route("/api/v1/logs/tail", get(not_built))
        .route("/api/v1/metrics", get(metrics::metrics))
        .route("/api/v1/attributes", get(attributes_api::attributes))
        .route("/api/v1/alerts", get(not_built))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/openapi.json", get(not_built))
        .route("/api/v1/{*rest}", axum::routing::any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::Extension(Arc::new(status::Rates::default())))
        .with_state(engine)
}

async fn unknown(uri: http::Uri) -> QueryError {
    QueryError::not_found(format!("{} is no path of this API; /api/v1/openapi.json lists them", uri.path()))
}

async fn wrong_method(method: http::Method, uri: http::Uri) -> impl axum::response::IntoResponse {
    let error = QueryError::bad_request(format!("{method} is not a method of {}", uri.path()));
    (http::StatusCode::METHOD_NOT_ALLOWED, error)
}
