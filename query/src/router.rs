//! The one list of routes of the public API under `/api/v1`. Holds no logic.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::http::not_built;
use crate::{Engine, QueryError, alerts, attributes_api, graph, logs, metrics, openapi, services, sql, status, traces};

/// Every path with what answers it; the OpenAPI document describes exactly these.
pub(crate) fn routes() -> Vec<(&'static str, MethodRouter<Arc<Engine>>)> {
    vec![
        ("/api/v1/sql", post(sql::post)),
        ("/api/v1/services", get(services::list)),
        ("/api/v1/services/{*name}", get(services::detail)),
        ("/api/v1/service-graph", get(graph::service_graph)),
        ("/api/v1/service-graph/spans", get(graph::edge_spans)),
        ("/api/v1/traces", get(traces::search)),
        ("/api/v1/traces/{id}", get(traces::trace)),
        ("/api/v1/logs", get(logs::logs)),
        ("/api/v1/logs/tail", get(not_built)),
        ("/api/v1/metrics", get(metrics::metrics)),
        ("/api/v1/attributes", get(attributes_api::attributes)),
        ("/api/v1/alerts", get(alerts::current)),
        ("/api/v1/alerts/history", get(alerts::history)),
        ("/api/v1/status", get(status::status)),
        ("/api/v1/openapi.json", get(openapi::document)),
    ]
}

/// The APIs of other systems, each to be under a prefix of its own.
const OTHER_SYSTEMS: [&str; 4] = ["/prometheus/{*rest}", "/tempo/{*rest}", "/jaeger/{*rest}", "/loki/{*rest}"];

/// The public API. The caller's [`orrery_model::Identity`] is taken from the request's extensions.
pub fn router(engine: Arc<Engine>) -> Router {
    let other_systems = OTHER_SYSTEMS.into_iter().map(|prefix| (prefix, axum::routing::any(not_built)));
    routes()
        .into_iter()
        .chain(other_systems)
        .fold(Router::new(), |router, (path, answer)| router.route(path, answer))
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
