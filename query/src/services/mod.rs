//! `GET /api/v1/services` and `GET /api/v1/services/{name}`: rates, errors and latencies of each service over a window,
//! from its stored spans; the list also from what was counted of them beforehand, where that holds.

pub mod facts;
mod sums;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use hashbrown::HashMap;
use orrery_api::{Operation, Service, ServiceDetail, Services};
use orrery_model::{Identity, Scope, Signal};

use self::facts::{Facts, by_service, facts};
use self::sums::{Steps, copies_of, facts_of};
use crate::asked::Asked;
use crate::columns::Columns;
use crate::graph::USE_ROLLUPS;
use crate::graph::prepare::{Reading, prepare};
use crate::histogram::Histogram;
use crate::http::Caller;
use crate::records::{Attributes, attribute_columns, select_list};
use crate::rollup::{Plan, plan};
use crate::spans::load::{Want, load};
use crate::spans::node::service_id;
use crate::spans::{Kind, Lineage, SpanSet, Symbol};
use crate::time::rfc3339;
use crate::{Engine, QueryError, Session, Window, quote};

/// Steps of the small charts in the list, and of those of one service.
const LIST_STEPS: usize = 30;
const DETAIL_STEPS: usize = 60;
/// Operations of a service that are shown at most, those with the most calls.
const MAX_OPERATIONS: usize = 500;

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
    let prepared = prepare(&session, &plan.scope, filter, Reading::Services, engine.clock().now_ns()).await?;
    let mut said = facts_of(&plan).collect::<Vec<_>>();
    // Spans that were left out of what was counted beforehand are in its facts.
    for stretch in &plan.scope.stretches {
        said.extend(facts(&session, &condition(&session, *stretch, filter).await?, "CAST(0 AS BIGINT)").await?);
    }
    let mut services = sums::services(&prepared, &plan, &by_service(said), steps);
    services.sort_by(|a, b| a.id.cmp(&b.id));
    let mut receipt = session.receipt();
    receipt.copies = prepared.spans.copies + copies_of(&plan);
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
    let numbers = Numbers::of(session, &condition, window, DETAIL_STEPS, true).await?;
    let facts = by_service(facts(session, &condition, "CAST(0 AS BIGINT)").await?);
    let Some(service) = numbers.services(&facts).into_iter().find(|s| s.id == id) else { return Ok(None) };
    let (p50_over_time, p95_over_time) = numbers.latency_over_time();
    let resource_attributes = resource(session, &condition).await?;
    let mut receipt = session.receipt();
    receipt.copies = numbers.spans.copies;
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

/// The spans of a window with the step each one falls into.
struct Numbers {
    spans: SpanSet,
    /// Whether a span is a call of its service.
    is_call: Vec<bool>,
    window: Window,
    step_ns: i64,
    steps: usize,
}

impl Numbers {
    async fn of(
        session: &Session,
        condition: &str,
        window: Window,
        steps: usize,
        names: bool,
    ) -> Result<Self, QueryError> {
        let mut spans = SpanSet::default();
        load(session, &mut spans, condition, "true", Want { semantics: false, names }).await?;
        let is_call = calls(&spans, &spans.lineage());
        let step_ns = (window.width_ns() / steps as i64).max(1);
        Ok(Self { spans, is_call, window, step_ns, steps })
    }

    fn step(&self, i: usize) -> usize {
        let offset = self.spans.start_ns[i].saturating_sub(self.window.start_ns).max(0);
        usize::try_from(offset / self.step_ns).unwrap_or(usize::MAX).min(self.steps - 1)
    }

    fn services(&self, facts: &HashMap<String, Facts>) -> Vec<Service> {
        let s = &self.spans;
        let mut found: HashMap<Symbol, (Service, Histogram)> = HashMap::new();
        for i in 0..s.len() {
            let (service, latency) = found.entry(s.service[i]).or_insert_with(|| {
                let id = s.symbols.text(s.service[i]);
                (empty(id, self.steps, facts.get(id)), Histogram::default())
            });
            service.spans += 1;
            if self.is_call[i] {
                let step = self.step(i);
                service.calls += 1;
                service.calls_over_time[step] += 1;
                service.errors += u64::from(s.error[i]);
                service.errors_over_time[step] += u64::from(s.error[i]);
                latency.record(s.duration_ns[i]);
            }
        }
        let finish = |(mut service, latency): (Service, Histogram)| {
            service.sum_ns = latency.sum();
            service.p50_ns = latency.quantile(0.5);
            service.p95_ns = latency.quantile(0.95);
            service.p99_ns = latency.quantile(0.99);
            service
        };
        found.into_values().map(finish).collect()
    }

    fn latency_over_time(&self) -> (Vec<Option<i64>>, Vec<Option<i64>>) {
        let mut steps = vec![Histogram::default(); self.steps];
        for i in (0..self.spans.len()).filter(|&i| self.is_call[i]) {
            steps[self.step(i)].record(self.spans.duration_ns[i]);
        }
        let of = |q| steps.iter().map(|h| (h.count() > 0).then(|| h.quantile(q))).collect();
        (of(0.5), of(0.95))
    }

    fn operations(&self) -> Vec<Operation> {
        let s = &self.spans;
        let mut found: HashMap<(Symbol, Kind), (u64, Histogram)> = HashMap::new();
        for i in (0..s.len()).filter(|&i| self.is_call[i]) {
            let (errors, latency) = found.entry((s.name[i], s.kind[i])).or_default();
            *errors += u64::from(s.error[i]);
            latency.record(s.duration_ns[i]);
        }
        let operation = |((name, kind), (errors, latency)): ((Symbol, Kind), (u64, Histogram))| Operation {
            name: s.symbols.text(name).to_owned(),
            kind: kind.word().to_owned(),
            calls: latency.count(),
            errors,
            p50_ns: latency.quantile(0.5),
            p95_ns: latency.quantile(0.95),
            p99_ns: latency.quantile(0.99),
        };
        let mut all: Vec<Operation> = found.into_iter().map(operation).collect();
        all.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| (&a.name, &a.kind).cmp(&(&b.name, &b.kind))));
        all.truncate(MAX_OPERATIONS);
        all
    }
}

/// Which spans are calls of their service: SERVER and CONSUMER; of a service without any, those whose parent is not a
/// span of the service itself.
fn calls(s: &SpanSet, lineage: &Lineage) -> Vec<bool> {
    let served = |i: usize| matches!(s.kind[i], Kind::Server | Kind::Consumer);
    let serving: hashbrown::HashSet<Symbol> = (0..s.len()).filter(|&i| served(i)).map(|i| s.service[i]).collect();
    (0..s.len())
        .map(|i| {
            if serving.contains(&s.service[i]) {
                return served(i);
            }
            lineage.parent(i).is_none_or(|parent| s.service[parent] != s.service[i])
        })
        .collect()
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
