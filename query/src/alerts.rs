//! `GET /api/v1/alerts` and `GET /api/v1/alerts/history`. Knows no rule: what is wrong at this moment comes from whoever
//! evaluates, the history from the table `alerts`.

use std::sync::Arc;

use arrow::array::Array;
use axum::extract::State;
use axum::{Extension, Json};
use orrery_api::{AlertHistory, AlertState, Alerts, Labels, Transition};
use orrery_model::TenantId;

use crate::asked::Asked;
use crate::columns::{Columns, Text, range};
use crate::http::Caller;
use crate::time::rfc3339;
use crate::{Engine, QueryError, quote};

const LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;

/// Put into the router as an `Extension<Arc<dyn AlertSource>>` by the server.
pub trait AlertSource: Send + Sync + 'static {
    /// A tenant's alerts, groups and files as they are at this moment; cheap.
    fn alerts(&self, tenant: &TenantId) -> Alerts;
}

/// `GET /api/v1/alerts`. Without anybody who evaluates rules there are none.
pub async fn current(
    Caller(identity): Caller,
    source: Option<Extension<Arc<dyn AlertSource>>>,
    asked: Asked,
) -> Result<Json<Alerts>, QueryError> {
    asked.finish()?;
    Ok(Json(source.map(|Extension(source)| source.alerts(&identity.tenant)).unwrap_or_default()))
}

/// `GET /api/v1/alerts/history`.
pub async fn history(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<AlertHistory>, QueryError> {
    let mut condition = asked.window(engine.clock().now_ns())?.sql("timestamp");
    for name in ["alert", "fingerprint"] {
        if let Some(value) = asked.take(name)? {
            condition = format!("{condition} AND {name} = {}", quote(&value));
        }
    }
    let limit = asked.limit("limit", LIMIT, MAX_LIMIT)?;
    asked.finish()?;
    let sql = format!(
        "SELECT timestamp, alert, rule_group, fingerprint, previous_state, state, value, labels FROM alerts \
         WHERE {condition} ORDER BY timestamp DESC, alert, fingerprint, state LIMIT {}",
        limit + 1
    );
    let work = Arc::clone(&engine);
    let answer = async move {
        let session = work.session(&identity).await?;
        let (batches, mut receipt) = session.collect(&sql).await?;
        let mut transitions = Vec::new();
        for batch in &batches {
            read(Columns(batch), &mut transitions)?;
        }
        if transitions.len() > limit {
            transitions.truncate(limit);
            receipt.partial = Some(format!("the newest {limit} changes of state; there are more"));
        }
        receipt.sql = Some(sql);
        Ok(Json(AlertHistory { transitions, receipt }))
    };
    engine.run(answer).await
}

fn read(batch: Columns<'_>, transitions: &mut Vec<Transition>) -> Result<(), QueryError> {
    let times = batch.integers("timestamp")?;
    let (alerts, groups) = (batch.text("alert")?, batch.text("rule_group")?);
    let (fingerprints, values) = (batch.text("fingerprint")?, batch.float64("value")?);
    let (from, to) = (batch.text("previous_state")?, batch.text("state")?);
    let labels = batch.map("labels")?;
    let (names, texts) = (Text::of(labels.keys().as_ref())?, Text::of(labels.values().as_ref())?);
    for i in 0..batch.0.num_rows() {
        let entries = range(labels.value_offsets(), labels.is_null(i), i);
        let value = values.value(i);
        transitions.push(Transition {
            timestamp: rfc3339(times.or_zero(i)),
            alert: alerts.or_empty(i).to_owned(),
            group: groups.or_empty(i).to_owned(),
            fingerprint: fingerprints.or_empty(i).to_owned(),
            from: state(from.or_empty(i)),
            to: state(to.or_empty(i)),
            value: value.is_finite().then_some(value),
            labels: entries.map(|e| (names.or_empty(e).to_owned(), texts.or_empty(e).to_owned())).collect::<Labels>(),
        });
    }
    Ok(())
}

fn state(word: &str) -> AlertState {
    match word {
        "pending" => AlertState::Pending,
        "firing" => AlertState::Firing,
        "resolved" => AlertState::Resolved,
        _ => AlertState::Inactive,
    }
}
