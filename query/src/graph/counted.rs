//! What one request counts: spans one by one, and the hours that were counted beforehand, with the services that the
//! peers of both are known as.

use hashbrown::HashMap;
use orrery_api::Minutes;

use super::aggregate::{Aggregate, call};
use super::classify::{Class, EdgeKey, Flow, Found, resolve};
use super::learn::{Sought, Strangers, add, known_window, learn, sought};
use super::prepare::{Prepared, Reading, prepare};
use super::totals::Totals;
use crate::rollup::{GraphRows, Hour, MINUTE_NS, Plan, State, Translation, Used, plan};
use crate::spans::semantics::named_host;
use crate::spans::{Symbol, Symbols};
use crate::{QueryError, Session, Window};

/// The counted spans and flows.
pub struct Counted {
    pub prepared: Prepared,
    plan: Plan<GraphRows>,
    /// Of the plan's hours, into the symbols of the spans.
    translations: Vec<Translation>,
}

impl Counted {
    /// Reads a window. A filter is only answered span by span.
    pub async fn of(
        session: &Session,
        window: Window,
        filter: Option<&str>,
        rollups: bool,
        now_ns: i64,
    ) -> Result<Self, QueryError> {
        let plan =
            if rollups && filter.is_none() { plan(session, window, false).await? } else { Plan::spans_only(window) };
        Self::by_plan(session, plan, filter, rollups && filter.is_none(), now_ns).await
    }

    /// Reads a window so that each minute can be told from the others.
    pub async fn by_minute(session: &Session, window: Window, now_ns: i64) -> Result<Self, QueryError> {
        let plan = plan(session, window, true).await?;
        Self::by_plan(session, plan, None, true, now_ns).await
    }

    async fn by_plan(
        session: &Session,
        plan: Plan<GraphRows>,
        filter: Option<&str>,
        rollups: bool,
        now_ns: i64,
    ) -> Result<Self, QueryError> {
        let window = plan.scope.window;
        let mut prepared = prepare(session, &plan.scope, filter, Reading::Graph, now_ns).await?;
        let symbols = &mut prepared.spans.symbols;
        let translations: Vec<_> = plan.used.iter().map(|used| Translation::new(&used.rows.symbols, symbols)).collect();
        for (used, translation) in plan.used.iter().zip(&translations) {
            know(&mut prepared, used, translation);
        }
        let mut counted = Self { prepared, plan, translations };
        if let Some(sought) = sought(&counted.strangers(), &counted.prepared) {
            let stretches = if rollups {
                learn_from_rollups(session, &mut counted.prepared, &sought, known_window(window)).await?
            } else {
                vec![known_window(window)]
            };
            learn(session, &mut counted.prepared, &sought, &stretches).await?;
        }
        Ok(counted)
    }

    /// Everything added up.
    pub fn aggregate(&self) -> Aggregate {
        let mut sum = Aggregate::default();
        sum.add_spans(&self.prepared);
        for (used, translation) in self.plan.used.iter().zip(&self.translations) {
            for minute in used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute)) {
                sum.add_children(minute.children, minute.missing);
                minute.services.iter().for_each(|s| sum.add_service(translation.symbol(*s)));
            }
        }
        for (flow, totals) in self.flows() {
            sum.add_flow(flow, totals, &self.prepared.known, &self.prepared.spans.symbols);
        }
        sum
    }

    /// Each minute's edges: the minute's start, the edge, what was counted of it and how much of that is unpaired.
    pub fn edges_by_minute(&self) -> Vec<(i64, EdgeKey, Totals, u64)> {
        let mut found: HashMap<(i64, EdgeKey), (Totals, u64)> = HashMap::new();
        let (spans, classifier) = (&self.prepared.spans, self.prepared.classifier());
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            if let Class::Counted { edge, client, unpaired } = classifier.classify(i, &self.prepared.known) {
                let minute = spans.start_ns[i] - spans.start_ns[i].rem_euclid(MINUTE_NS);
                let (totals, sum) = found.entry((minute, edge)).or_default();
                totals.add(call(&self.prepared, i, client));
                *sum += u64::from(unpaired);
            }
        }
        for (used, translation) in self.plan.used.iter().zip(&self.translations) {
            for row in used.rows.flows.iter().filter(|row| used.minutes.contains(&row.minute)) {
                let flow = translation.flow(row.flow);
                let Some((edge, unpaired)) = resolve(flow, &self.prepared.known, &spans.symbols) else { continue };
                let (totals, sum) = found.entry((used.minute_ns(row.minute), edge)).or_default();
                totals.merge(&row.totals);
                if unpaired {
                    *sum += row.totals.calls();
                    totals.client.merge(&row.totals.latency);
                }
            }
        }
        found.into_iter().map(|((minute, edge), (totals, unpaired))| (minute, edge, totals, unpaired)).collect()
    }

    pub fn copies(&self) -> u64 {
        let minutes = |used: &Used<GraphRows>| {
            let within = used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute));
            within.map(|m| m.copies).sum::<u64>()
        };
        self.prepared.spans.copies + self.plan.used.iter().map(minutes).sum::<u64>()
    }

    pub fn minutes(&self) -> Minutes {
        self.plan.minutes()
    }

    /// What was counted beforehand.
    fn flows(&self) -> impl Iterator<Item = (Flow, &Totals)> {
        self.plan.used.iter().zip(&self.translations).flat_map(|(used, translation)| {
            let within = used.rows.flows.iter().filter(|row| used.minutes.contains(&row.minute));
            within.map(|row| (translation.flow(row.flow), &row.totals))
        })
    }

    /// What the counted spans and flows name as their other ends and is no known service.
    fn strangers(&self) -> Strangers {
        let mut strangers = Strangers::default();
        let (spans, classifier) = (&self.prepared.spans, self.prepared.classifier());
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            if let Found::Flow(flow, _) = classifier.flow(i) {
                strangers.add(flow, &self.prepared);
            }
        }
        self.flows().for_each(|(flow, _)| strangers.add(flow, &self.prepared));
        strangers
    }
}

/// The services of the minutes that are used, as if their spans had been read.
fn know(prepared: &mut Prepared, used: &Used<GraphRows>, translation: &Translation) {
    let bits = used.bits();
    for minute in used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute)) {
        for service in &minute.services {
            prepared.known.add_service(&prepared.spans.symbols, translation.symbol(*service));
        }
    }
    for row in used.rows.known.iter().filter(|row| row.with_ids && row.minutes & bits != 0) {
        let text = |s: Symbol| used.rows.symbols.text(s);
        let id = crate::spans::node::service_id(text(row.name), Some(text(row.namespace)));
        let service = prepared.spans.symbols.intern(&id);
        prepared.known.add_service(&prepared.spans.symbols, service);
        let address = named_host(text(row.address));
        if !address.is_empty() {
            prepared.known.add_address(address, service);
        }
    }
}

/// Asks the hours that were counted beforehand; gives the stretches of time that are left.
async fn learn_from_rollups(
    session: &Session,
    prepared: &mut Prepared,
    sought: &Sought,
    window: Window,
) -> Result<Vec<Window>, QueryError> {
    let Some(rollups) = session.rollups() else { return Ok(vec![window]) };
    let state = State::of(session);
    let (first, last) = (Hour::of(window.start_ns), Hour::of(window.end_ns));
    let mut left = Vec::new();
    let mut at = window.start_ns;
    for stored in state.read(rollups, first..=last, crate::rollup::KNOWN_PART).await? {
        let hour = Hour(stored.head.hour).window();
        let is_within = window.start_ns <= hour.start_ns && hour.end_ns <= window.end_ns;
        if !is_within || !state.holds(&stored) {
            continue;
        }
        let Some((symbols, rows)) = stored.part.as_deref().and_then(GraphRows::decode_known) else { continue };
        for row in rows {
            let text = |s: Symbol| Symbols::text(&symbols, s);
            let address = Some(text(row.address)).filter(|a| !a.is_empty());
            add(prepared, sought, text(row.name), text(row.namespace), address);
        }
        left.push(Window { start_ns: at, end_ns: hour.start_ns });
        at = hour.end_ns;
    }
    left.push(Window { start_ns: at, end_ns: window.end_ns });
    left.retain(|w| w.start_ns < w.end_ns);
    Ok(left)
}
