//! `GET /api/v1/metrics`: the catalogue, and with `name` one metric's series over a window.

mod quantile;
mod series;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hashbrown::HashMap;
use orrery_api::{MetricInfo, Metrics};
use orrery_model::Signal;

use crate::asked::Asked;
use crate::columns::Columns;
use crate::http::Caller;
use crate::spans::node::service_id;
use crate::time::rfc3339;
use crate::{Engine, QueryError, Session};

const LIMIT: usize = 20;
const MAX_LIMIT: usize = 1_000;
/// Metrics of the catalogue at most.
const MAX_METRICS: usize = 20_000;

/// `GET /api/v1/metrics`.
pub async fn metrics(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Response, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let (filter, name) = (asked.take("filter")?, asked.take("name")?);
    let limit = asked.limit("limit", LIMIT, MAX_LIMIT)?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    let answer = async move {
        let session = work.session(&identity).await?;
        let mut condition = window.sql("timestamp");
        if let Some(text) = filter {
            condition = format!("{condition} AND {}", session.filter(Signal::Metrics, &text).await?.sql());
        }
        match name {
            Some(name) => Ok(Json(series::series(&session, &condition, window, name, limit).await?).into_response()),
            None => Ok(Json(catalogue(&session, &condition).await?).into_response()),
        }
    };
    engine.run(answer).await
}

async fn catalogue(session: &Session, condition: &str) -> Result<Metrics, QueryError> {
    let mut metrics = infos(session, condition).await?;
    let mut receipt = session.receipt();
    if metrics.len() > MAX_METRICS {
        receipt.partial = Some(format!("the first {MAX_METRICS} of {} metrics by name", metrics.len()));
        metrics.truncate(MAX_METRICS);
    }
    receipt.sql = Some(format!(
        "SELECT metric_name, type, unit, temporality, is_monotonic, count(DISTINCT series_id) AS series, count(*) AS points, \
         max(timestamp) AS last_seen FROM metrics WHERE {condition} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1"
    ));
    Ok(Metrics { metrics, receipt })
}

/// The metrics that meet a condition, by name; one name with two types or units is two.
pub(super) async fn infos(session: &Session, condition: &str) -> Result<Vec<MetricInfo>, QueryError> {
    let query = format!(
        "SELECT metric_name, type, unit, temporality, is_monotonic, service_name, service_namespace, \
         max(description) AS description, count(DISTINCT series_id) AS series, count(*) AS points, max(timestamp) AS last_seen \
         FROM metrics WHERE metric_name IS NOT NULL AND {condition} GROUP BY 1, 2, 3, 4, 5, 6, 7"
    );
    type Key = (String, String, Option<String>, Option<String>, Option<bool>);
    let mut found: HashMap<Key, (MetricInfo, i64)> = HashMap::new();
    for batch in session.collect(&query).await?.0 {
        let batch = Columns(&batch);
        let text = |name| batch.text(name);
        let (name, kind, unit, temporality) =
            (text("metric_name")?, text("type")?, text("unit")?, text("temporality")?);
        let (service, namespace, description) =
            (text("service_name")?, text("service_namespace")?, text("description")?);
        let monotonic = batch.bools("is_monotonic")?;
        let (series, points, last) =
            (batch.integers("series")?, batch.integers("points")?, batch.integers("last_seen")?);
        for i in 0..batch.0.num_rows() {
            let is_monotonic = (!arrow::array::Array::is_null(monotonic, i)).then(|| monotonic.value(i));
            let key: Key = (
                name.or_empty(i).to_owned(),
                kind.or_empty(i).to_owned(),
                unit.owned(i),
                temporality.owned(i),
                is_monotonic,
            );
            let (info, last_ns) = found.entry(key).or_insert_with(|| {
                let info = MetricInfo {
                    name: name.or_empty(i).to_owned(),
                    metric_type: kind.or_empty(i).to_owned(),
                    unit: unit.owned(i),
                    description: None,
                    temporality: temporality.owned(i),
                    is_monotonic,
                    series: 0,
                    points: 0,
                    services: Vec::new(),
                    last_seen: String::new(),
                };
                (info, i64::MIN)
            });
            // A series id covers the resource, so no series is counted for two services.
            info.series += series.or_zero(i).max(0) as u64;
            info.points += points.or_zero(i).max(0) as u64;
            info.services.push(service_id(service.or_empty(i), namespace.get(i)));
            info.description = info.description.take().or_else(|| description.owned(i));
            *last_ns = (*last_ns).max(last.or_zero(i));
        }
    }
    let finish = |(mut info, last_ns): (MetricInfo, i64)| {
        info.services.sort_unstable();
        info.services.dedup();
        info.last_seen = rfc3339(last_ns);
        info
    };
    let mut all: Vec<MetricInfo> = found.into_values().map(finish).collect();
    all.sort_by(|a, b| {
        (&a.name, &a.metric_type, &a.unit, &a.temporality).cmp(&(&b.name, &b.metric_type, &b.unit, &b.temporality))
    });
    Ok(all)
}
