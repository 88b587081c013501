//! Columns for attribute keys, as operators ask for them: `POST /api/v1/lake/promote`, `POST /api/v1/lake/demote` and
//! `GET /api/v1/lake/columns`. The door has checked who asks; the tenant is the credential's.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json};
use http::StatusCode;
use orrery_api::{ApiError, ErrorBody, LearnedColumns};
use orrery_model::{Identity, LearnedColumn, Scope, Signal, TableName, ValueType};
use orrery_storage::{Lake, LakeError, LearnError, Store};
use serde::{Deserialize, Serialize};

/// Every path with what answers it.
pub fn routes() -> [(&'static str, MethodRouter<Arc<Store>>); 3] {
    [
        ("/api/v1/lake/promote", post(promote)),
        ("/api/v1/lake/demote", post(demote)),
        ("/api/v1/lake/columns", get(columns)),
    ]
}

/// `{"key": "user.id", "table": "spans", "scope": "item", "type": "string"}`; what is left out is as here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    key: String,
    #[serde(default = "spans")]
    table: Signal,
    scope: Option<String>,
    #[serde(rename = "type")]
    value_type: Option<String>,
}

fn spans() -> Signal {
    Signal::Spans
}

/// Gives a key a column; answers with what it is called.
async fn promote(State(store): State<Arc<Store>>, identity: Option<Extension<Identity>>, body: String) -> Response {
    let answer = async {
        let asked = parsed(&body)?;
        let word = asked.value_type.as_deref().unwrap_or(ValueType::String.word());
        let value_type =
            ValueType::from_word(word).ok_or_else(|| refused(format!("type: {word:?} is no type of values")))?;
        let (identity, table) = (of(identity), asked.table.table());
        let learnt = lake(&store)?.learn(&identity.tenant, table, scope(&asked)?, &asked.key, value_type).await;
        let column = learnt.map_err(|error| failure(&error))?;
        tracing::info!(lake.tenant = %identity.tenant, lake.table = %table, lake.column = column.column_name(), "gave a key a column");
        Ok(shown(table, &column))
    };
    answered(answer.await)
}

/// Takes a key's column out of use.
async fn demote(State(store): State<Arc<Store>>, identity: Option<Extension<Identity>>, body: String) -> Response {
    let answer = async {
        let asked = parsed(&body)?;
        if asked.value_type.is_some() {
            return Err(refused("type: a column that is taken out of use has one already".to_owned()));
        }
        let (identity, table) = (of(identity), asked.table.table());
        let retired = lake(&store)?.unlearn(&identity.tenant, table, scope(&asked)?, &asked.key).await;
        let column = retired.map_err(|error| failure(&error))?;
        tracing::info!(lake.tenant = %identity.tenant, lake.table = %table, lake.column = column.column_name(), "took a column out of use");
        Ok(shown(table, &column))
    };
    answered(answer.await)
}

/// All columns that keys were given, and how many of the live files have each.
async fn columns(State(store): State<Arc<Store>>, identity: Option<Extension<Identity>>) -> Response {
    let answer = lake(&store).map(|lake| {
        let (view, tenant) = (lake.view(), of(identity).tenant);
        let mut columns = Vec::new();
        for table in Signal::ALL.map(Signal::table) {
            let learned = view.learned.of(&tenant, table);
            let files = view.files(&tenant, table);
            for column in learned.all() {
                let has = |layout: &orrery_storage::FileLayout| layout.learned.contains(column);
                let with = files.iter().filter(|file| file.layout.as_deref().is_some_and(has));
                let (in_use, files) = (Some(learned.is_written(column)), Some(with.count() as u64));
                columns.push(orrery_api::LearnedColumn { in_use, files, ..shown(table, column) });
            }
        }
        LearnedColumns { columns }
    });
    answered(answer)
}

fn of(identity: Option<Extension<Identity>>) -> Identity {
    identity.map(|Extension(identity)| identity).unwrap_or_default()
}

fn lake(store: &Store) -> Result<&Lake, Failure> {
    store
        .lake()
        .ok_or_else(|| Failure(StatusCode::NOT_IMPLEMENTED, "not_implemented", "this store has no lake".to_owned()))
}

fn parsed(body: &str) -> Result<Asked, Failure> {
    serde_json::from_str(body).map_err(|error| refused(format!("the body is not the JSON that is expected: {error}")))
}

fn scope(asked: &Asked) -> Result<Scope, Failure> {
    let word = asked.scope.as_deref().unwrap_or(Scope::Item.word());
    Scope::from_word(word).ok_or_else(|| refused(format!("scope: {word:?} is none of item, resource, scope")))
}

fn shown(table: TableName, column: &LearnedColumn) -> orrery_api::LearnedColumn {
    orrery_api::LearnedColumn {
        table: table.as_str().to_owned(),
        scope: column.scope.word().to_owned(),
        key: column.key.to_string(),
        value_type: column.value_type.word().to_owned(),
        column: column.column_name().to_string(),
        in_use: None,
        files: None,
    }
}

/// Status, code and message.
struct Failure(StatusCode, &'static str, String);

fn refused(message: String) -> Failure {
    Failure(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn failure(error: &LakeError) -> Failure {
    match error {
        LakeError::Learn(LearnError::Unknown { .. } | LearnError::NoTenant(_)) => {
            Failure(StatusCode::NOT_FOUND, "not_found", error.to_string())
        }
        LakeError::Learn(_) => refused(error.to_string()),
        error => {
            tracing::error!(%error, "a column could not be given or taken");
            Failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
        }
    }
}

fn answered(answer: Result<impl Serialize, Failure>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(Failure(status, code, message)) => {
            let error = ApiError { code: code.to_owned(), message, hint: None };
            (status, Json(ErrorBody { error })).into_response()
        }
    }
}
