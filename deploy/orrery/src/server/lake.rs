//! What operators ask of the lake: `POST /api/v1/lake/flush` and `GET /api/v1/lake/status`. The door has checked who asks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use orrery_api::{ApiError, ErrorBody};
use orrery_storage::Store;
use serde_json::json;

pub fn router(store: Arc<Store>) -> Router {
    Router::new().route("/api/v1/lake/flush", post(flush)).route("/api/v1/lake/status", get(status)).with_state(store)
}

/// Answers when all that was acknowledged before is in files.
async fn flush(State(store): State<Arc<Store>>) -> Response {
    match store.flush().await {
        Ok(report) => Json(json!({
            "rows": report.rows,
            "flushed_sequence": report.flushed_sequence,
            "snapshot": report.snapshot.0,
        }))
        .into_response(),
        Err(error) => {
            tracing::error!(%error, "flush on request failed");
            let error = ApiError { code: "internal".to_owned(), message: error.to_string(), hint: None };
            (StatusCode::INTERNAL_SERVER_ERROR, Json(ErrorBody { error })).into_response()
        }
    }
}

async fn status(State(store): State<Arc<Store>>) -> Response {
    let status = store.status();
    Json(json!({
        "ingest": status.refusing.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string),
        "snapshot": status.snapshot_id,
        "flushed_sequence": status.flushed_sequence,
        "files": status.files,
        "file_rows": status.file_rows,
        "file_bytes": status.file_bytes,
        "memory_rows": status.memtable.active_rows + status.memtable.sealed_rows,
        "memory_bytes": status.memtable.active_bytes + status.memtable.sealed_bytes,
        "wal_segments": status.wal_segments,
        "wal_bytes": status.wal_bytes,
        "free_bytes": status.free_bytes,
    }))
    .into_response()
}
