//! What operators ask of the lake, under `/api/v1/lake/`: how it is, and by `POST` that it be flushed, merged, relieved of
//! what need not be kept, or verified. The door has checked who asks.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::RETRY_AFTER;
use orrery_api::{ApiError, ErrorBody, LakeStatus};
use orrery_storage::{Store, StoreError};
use serde_json::{Value, json};

use super::columns;

/// Every path with what answers it.
fn routes() -> impl Iterator<Item = (&'static str, MethodRouter<Arc<Store>>)> {
    let own = [
        ("/api/v1/lake/status", get(status)),
        ("/api/v1/lake/flush", post(flush)),
        ("/api/v1/lake/compact", post(compact)),
        ("/api/v1/lake/expire", post(expire)),
        ("/api/v1/lake/verify", post(verify)),
    ];
    own.into_iter().chain(columns::routes())
}

pub fn router(store: Arc<Store>) -> Router {
    routes().fold(Router::new(), |router, (path, answer)| router.route(path, answer)).with_state(store)
}

/// Answers when all that was acknowledged before is in files.
async fn flush(State(store): State<Arc<Store>>) -> Response {
    let answer = |report: orrery_storage::FlushReport| {
        json!({
            "rows": report.rows,
            "flushed_sequence": report.flushed_sequence,
            "snapshot": report.snapshot.0,
        })
    };
    answered("flush", store.flush().await.map(answer))
}

/// Answers when there is nothing more to merge.
async fn compact(State(store): State<Arc<Store>>) -> Response {
    answered("compact", store.compact().await.map(|done| json!(done)))
}

/// Answers when all is dropped and deleted that can be.
async fn expire(State(store): State<Arc<Store>>) -> Response {
    answered("expire", store.expire().await.map(|done| json!(done)))
}

/// Answers when every file has been read. Damage is an answer too.
async fn verify(State(store): State<Arc<Store>>) -> Response {
    answered("verify", store.verify().await.map(|found| json!(found)))
}

fn answered(verb: &str, result: Result<Value, StoreError>) -> Response {
    let error = match result {
        Ok(answer) => return Json(answer).into_response(),
        Err(error) => error,
    };
    let (status, code, hint) = match &error {
        StoreError::DiskFull(_) => {
            let hint =
                "make room on the data folder's disk; it is tried again by itself, and nothing is lost meanwhile";
            (StatusCode::INSUFFICIENT_STORAGE, "disk_full", Some(hint))
        }
        StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some("ask again when the server runs")),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
    };
    let message = format!("{:#}", anyhow::Error::new(error));
    tracing::error!(lake.verb = verb, error = message, "what was asked of the lake failed");
    let error = ApiError { code: code.to_owned(), message, hint: hint.map(str::to_owned) };
    let mut response = (status, Json(ErrorBody { error })).into_response();
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("10"));
    }
    response
}

async fn status(State(store): State<Arc<Store>>) -> Json<LakeStatus> {
    let status = store.status();
    let (merged, upkeep) = (&status.compaction, &status.upkeep);
    let dropped = |what: usize| upkeep.dropped.iter().map(|(_, counts)| counts[what]).sum::<u64>();
    Json(LakeStatus {
        ingest: status.refusing.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string),
        snapshot: status.snapshot_id,
        flushed_sequence: status.flushed_sequence,
        files: status.files,
        file_rows: status.file_rows,
        file_bytes: status.file_bytes,
        memory_rows: status.memtable.active_rows + status.memtable.sealed_rows,
        memory_bytes: (status.memtable.active_bytes + status.memtable.sealed_bytes) as u64,
        wal_segments: status.wal_segments,
        wal_bytes: status.wal_bytes,
        free_bytes: status.free_bytes,
        pending_bytes: upkeep.pending_bytes,
        compaction: merged.state.to_owned(),
        merges: merged.runs,
        merged_files: merged.files,
        merged_rows: merged.rows,
        merge_failures: merged.failures,
        merges_put_off: merged.put_off,
        dropped_files: dropped(0),
        dropped_rows: dropped(1),
        dropped_bytes: dropped(2),
        deleted_files: upkeep.deleted_files,
        deleted_bytes: upkeep.deleted_bytes,
        upkeep_failures: upkeep.failures,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_openapi_document_describes_exactly_these_paths() {
        let document: Value = serde_json::from_str(include_str!("../../../../query/src/openapi.json")).expect("JSON");
        let paths = document["paths"].as_object().expect("paths").keys();
        let described: BTreeSet<String> =
            paths.filter(|path| path.starts_with("/lake/")).map(|path| format!("/api/v1{path}")).collect();
        assert_eq!(described, routes().map(|(path, _)| path.to_owned()).collect());
    }
}
