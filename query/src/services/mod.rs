//! `GET /api/v1/services` and `GET /api/v1/services/{name}`: rates, errors and latencies of each service over a window,
//! from its stored spans; the list also from what was counted of them beforehand, where that holds.

pub mod facts;
mod numbers;
mod sums;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use orrery_api::{Service, ServiceDetail, Services};
use orrery_model::{Identity, Scope, Signal};

use self::facts::{Facts, by_service, facts};
use self::numbers::Numbers;
use self::sums::{OfSpans, Steps, copies_of, facts_of};
use crate::asked::Asked;
use crate::columns::Columns;
use crate::graph::USE_ROLLUPS;
use crate::graph::prepare::{Prepared, Reading, prepare};
use crate::http::Caller;
use crate::records::{Attributes, attribute_columns, select_list};
use crate::rollup::{Plan, plan};
use crate::spans::node::service_id;
use crate::time::rfc3339;
use crate::{Engine, QueryError, Session, Window, quote};

/// Steps of the small charts in the list, and of those of one service.
const LIST_STEPS: usize = 30;
const DETAIL_STEPS: usize = 60;

/// `GET /api/v1/services`.
pub async fn list(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    mut asked: Asked,
) -> Result<Json<Services>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    let rollups = asked.word("rollups", &USE_ROLLUPS)?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    engine.run(async move { all(&work, &identity, window, filter.as_deref(), rollups).await }).await.map(Json)
}

async fn all(
    engine: &Engine,
    identity: &Identity,
    window: Window,
    filter: Option<&str>,
    rollups: bool,
) -> Result<Services, QueryError> {
    let session = engine.session(identity).await?;
    let steps = Steps::new(window, LIST_STEPS);
    let plan = if rollups && filter.is_none() && steps.are_of_minutes() {
        plan(&session, window, true).await?
    } else {
        Plan::spans_only(window)
    };
    let mut of_spans = OfSpans::default();
    let count = |prepared: &Prepared| of_spans.add(prepared, steps);
    let whole = prepare(&session, &plan.scope, filter, Reading::Services, engine.clock().now_ns(), count).await?;
    let mut said = facts_of(&plan).collect::<Vec<_>>();
    // Spans that were left out of what was counted beforehand are in its facts.
    for stretch in &plan.scope.stretches {
        said.extend(facts(&session, &condition(&session, *stretch, filter).await?, "CAST(0 AS BIGINT)").await?);
    }
    let mut services = sums::services(of_spans, &whole.words.symbols, &plan, &by_service(said), steps);
    services.sort_by(|a, b| a.id.cmp(&b.id));
    let mut receipt = session.receipt();
    receipt.copies = whole.copies + copies_of(&plan);
    receipt.minutes = Some(plan.minutes());
    Ok(Services { services, receipt })
}

/// `GET /api/v1/services/{name}`; the name is the service's id and may hold a slash. Without its namespace it will do where
/// there is one service of that name, as alerts name most of theirs.
pub async fn detail(
    State(engine): State<Arc<Engine>>,
    Caller(identity): Caller,
    Path(id): Path<String>,
    mut asked: Asked,
) -> Result<Json<ServiceDetail>, QueryError> {
    let window = asked.window(engine.clock().now_ns())?;
    let filter = asked.take("filter")?;
    asked.finish()?;
    let work = Arc::clone(&engine);
    engine.run(async move { one(&work, &identity, id, window, filter.as_deref()).await }).await.map(Json)
}

async fn one(
    engine: &Engine,
    identity: &Identity,
    id: String,
    window: Window,
    filter: Option<&str>,
) -> Result<ServiceDetail, QueryError> {
    let session = engine.session(identity).await?;
    let inside = condition(&session, window, filter).await?;
    if let Some(found) = described(&session, &id, &inside, window).await? {
        return Ok(found);
    }
    let namesakes = namesakes(&session, &id, &inside).await?;
    if let [only] = namesakes.as_slice()
        && let Some(found) = described(&session, only, &inside, window).await?
    {
        return Ok(found);
    }
    let hint = match namesakes.as_slice() {
        [] => "widen the window with start and end; the id is namespace/name where a namespace is sent".to_owned(),
        several => format!("services of that name are {}", several.join(", ")),
    };
    let shown: String = id.chars().take(200).collect();
    Err(QueryError::not_found(format!("service {shown:?} has no spans in the window")).with_hint(hint))
}

/// Services that are named when one of them is meant.
const MAX_NAMESAKES: usize = 10;

/// The ids of services of that name in any namespace.
async fn namesakes(session: &Session, name: &str, inside: &str) -> Result<Vec<String>, QueryError> {
    let query = format!(
        "SELECT DISTINCT service_namespace FROM spans WHERE service_name = {} AND service_namespace <> '' AND {inside} \
         ORDER BY 1 LIMIT {MAX_NAMESAKES}",
        quote(name)
    );
    let mut found = Vec::new();
    for batch in session.collect(&query).await?.0 {
        let namespaces = Columns(&batch).text("service_namespace")?;
        found.extend((0..batch.num_rows()).map(|i| service_id(name, namespaces.get(i))));
    }
    Ok(found)
}

/// The service with this id; `None` where it has no span.
async fn described(
    session: &Session,
    id: &str,
    inside: &str,
    window: Window,
) -> Result<Option<ServiceDetail>, QueryError> {
    let condition = format!("{} AND {inside}", is_service(id));
    let numbers = Numbers::of(session, &condition, window, DETAIL_STEPS).await?;
    let facts = by_service(facts(session, &condition, "CAST(0 AS BIGINT)").await?);
    let Some(service) = numbers.service(id, facts.get(id)) else { return Ok(None) };
    let (p50_over_time, p95_over_time) = numbers.latency_over_time();
    let resource_attributes = resource(session, &condition).await?;
    let mut receipt = session.receipt();
    receipt.copies = numbers.copies;
    Ok(Some(ServiceDetail {
        service,
        operations: numbers.operations(),
        resource_attributes,
        step_ns: numbers.step_ns,
        p50_over_time,
        p95_over_time,
        receipt,
    }))
}

/// The condition that a row is of the service with this id. A name may hold a slash itself.
pub fn is_service(id: &str) -> String {
    let plain = format!("(service_name = {} AND coalesce(service_namespace, '') = '')", quote(id));
    let split = id.match_indices('/').map(|(at, _)| {
        format!("(service_name = {} AND service_namespace = {})", quote(&id[at + 1..]), quote(&id[..at]))
    });
    format!("({})", std::iter::once(plain).chain(split).collect::<Vec<_>>().join(" OR "))
}

async fn condition(session: &Session, window: Window, filter: Option<&str>) -> Result<String, QueryError> {
    let inside = window.sql("timestamp");
    Ok(match filter {
        Some(text) => format!("{inside} AND {}", session.filter(Signal::Spans, text).await?.sql()),
        None => inside,
    })
}

fn empty(id: &str, steps: usize, facts: Option<&Facts>) -> Service {
    let facts = facts.cloned().unwrap_or_default();
    let (namespace, name) = match (&facts.namespace, id.rsplit_once('/')) {
        (Some(namespace), _) => (Some(namespace.clone()), id[namespace.len() + 1..].to_owned()),
        _ => (None, id.to_owned()),
    };
    Service {
        id: id.to_owned(),
        name,
        namespace,
        environments: facts.environments,
        versions: facts.versions,
        language: facts.language,
        instances: facts.instances,
        spans: 0,
        calls: 0,
        errors: 0,
        sum_ns: 0,
        p50_ns: 0,
        p95_ns: 0,
        p99_ns: 0,
        calls_over_time: vec![0; steps],
        errors_over_time: vec![0; steps],
        first_seen: rfc3339(facts.first_ns),
        last_seen: rfc3339(facts.last_ns),
    }
}

/// The resource of the newest span.
async fn resource(session: &Session, condition: &str) -> Result<Vec<orrery_api::Attribute>, QueryError> {
    let columns = select_list(attribute_columns(Signal::Spans, Scope::Resource));
    let query = format!(
        "SELECT {columns} FROM spans WHERE timestamp = (SELECT max(timestamp) FROM spans WHERE {condition}) AND {condition} LIMIT 1"
    );
    for batch in session.collect(&query).await?.0 {
        if batch.num_rows() > 0 {
            return Ok(Attributes::of(Columns(&batch), Signal::Spans, Scope::Resource)?.row(0));
        }
    }
    Ok(Vec::new())
}
