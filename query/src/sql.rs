//! `POST /api/v1/sql`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use orrery_api::{SqlRequest, SqlResponse};

use crate::http::{Body, Caller};
use crate::{Engine, QueryError};

/// Answers one statement.
pub async fn post(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    Body(request): Body<SqlRequest>,
) -> Result<Json<SqlResponse>, QueryError> {
    let session = engine.session(&identity).await?;
    let (_, receipt) = session.collect(&request.query).await?;
    Ok(Json(SqlResponse { columns: Vec::new(), rows: Vec::new(), receipt }))
}
