//! `POST /api/v1/sql`: one statement in, its rows out as they come. Knows formats and HTTP, nothing of planning.
//!
//! The status is decided by what happens up to the first rows. What fails later ends JSON and NDJSON with an `error`, and
//! cuts off the others, so that no part is taken for the whole. No format limits the rows; a statement's LIMIT does.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::header;
use orrery_api::SqlRequest;

use crate::formats::{self, Writer};
use crate::http::{Body, Caller};
use crate::time::WindowParams;
use crate::{Engine, QueryError, SqlStream};

/// The parameters that a query may have, beside its window's times.
pub const PARAMETERS: [&str; 2] = ["start", "end"];

/// Answers one statement.
pub async fn post(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    Body(request): Body<SqlRequest>,
) -> Result<Response, QueryError> {
    let session = engine.session(&identity).await?;
    let mut rows = if PARAMETERS.iter().any(|name| request.query.contains(&format!("${name}"))) {
        let window = WindowParams { start: request.start, end: request.end }.resolve(engine.clock().now_ns())?;
        session.sql_with_params(&request.query, &PARAMETERS, &[window.start_ns, window.end_ns]).await?
    } else {
        session.sql(&request.query).await?
    };
    drop(session);
    let mut writer = formats::writer(request.format, rows.schema())?;
    let mut first = Vec::new();
    writer.begin(&mut first)?;
    let ended = match rows.next().await.transpose()? {
        Some(batch) => {
            writer.batch(&batch, &mut first)?;
            false
        }
        None => {
            writer.end(&rows.receipt(), &mut first)?;
            true
        }
    };
    let rest = Answer { rows, writer, ended };
    let body = stream::once(async { Ok(Bytes::from(first)) }).chain(rest.into_stream());
    Ok(([(header::CONTENT_TYPE, formats::content_type(request.format))], HttpBody::from_stream(body)).into_response())
}

/// What is left of an answer after its first rows. Dropped with the body, it stops the query.
struct Answer {
    rows: SqlStream,
    writer: Box<dyn Writer>,
    ended: bool,
}

impl Answer {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, QueryError>> {
        stream::unfold(self, |mut answer| async move {
            if answer.ended {
                return None;
            }
            let chunk = answer.next_chunk().await;
            Some((chunk, answer))
        })
    }

    async fn next_chunk(&mut self) -> Result<Bytes, QueryError> {
        let mut out = Vec::new();
        let written = match self.rows.next().await {
            Some(Ok(batch)) => self.writer.batch(&batch, &mut out),
            Some(Err(error)) => Err(error),
            None => {
                self.ended = true;
                self.writer.end(&self.rows.receipt(), &mut out)
            }
        };
        match written {
            Ok(()) => Ok(Bytes::from(out)),
            Err(error) => {
                self.ended = true;
                tracing::warn!(%error, "query failed after its first rows");
                out.clear();
                if self.writer.fail(&error, &self.rows.receipt(), &mut out) { Ok(Bytes::from(out)) } else { Err(error) }
            }
        }
    }
}
