//! What one request counts: spans one by one, and the hours that were counted beforehand, with the services that the
//! peers of both are known as.

use hashbrown::HashMap;
use orrery_api::Minutes;

use super::aggregate::Aggregate;
use super::classify::{EdgeKey, Flow, resolve};
use super::learn::{Sought, Strangers, add, known_window, learn, sought};
use super::prepare::{Reading, Whole, prepare};
use super::sums::{Flows, FlowsByMinute, Sums};
use super::totals::Totals;
use crate::rollup::{GraphRows, Hour, Plan, State, Translation, Used, plan};
use crate::spans::semantics::named_host;
use crate::spans::{Symbol, Symbols};
use crate::{QueryError, Session, Window};

/// The counted spans and flows.
pub struct Counted<S> {
    pub sums: S,
    pub whole: Whole,
    plan: Plan<GraphRows>,
    /// Of the plan's hours, into the symbols of the spans.
    translations: Vec<Translation>,
}

impl<S: Sums> Counted<S> {
    /// Reads a window, and adds to the sums. A filter is only answered span by span.
    pub async fn of(
        session: &Session,
        window: Window,
        filter: Option<&str>,
        rollups: bool,
        now_ns: i64,
        sums: S,
    ) -> Result<Self, QueryError> {
        let plan =
            if rollups && filter.is_none() { plan(session, window, false).await? } else { Plan::spans_only(window) };
        Self::by_plan(session, plan, filter, rollups && filter.is_none(), now_ns, sums).await
    }

    async fn by_plan(
        session: &Session,
        plan: Plan<GraphRows>,
        filter: Option<&str>,
        rollups: bool,
        now_ns: i64,
        mut sums: S,
    ) -> Result<Self, QueryError> {
        let window = plan.scope.window;
        let mut whole =
            prepare(session, &plan.scope, filter, Reading::Graph, now_ns, |prepared| sums.add(prepared)).await?;
        let symbols = &mut whole.words.symbols;
        let translations: Vec<_> = plan.used.iter().map(|used| Translation::new(&used.rows.symbols, symbols)).collect();
        for (used, translation) in plan.used.iter().zip(&translations) {
            know(&mut whole, used, translation);
        }
        let mut counted = Self { sums, whole, plan, translations };
        if let Some(sought) = sought(&counted.strangers(), &counted.whole) {
            let stretches = if rollups {
                learn_from_rollups(session, &mut counted.whole, &sought, known_window(window)).await?
            } else {
                vec![known_window(window)]
            };
            learn(session, &mut counted.whole, &sought, &stretches).await?;
        }
        Ok(counted)
    }

    /// The edge that a flow is, and whether it is a call without an answer. `None` where nothing names the peer.
    pub fn resolve(&self, flow: Flow) -> Option<(EdgeKey, bool)> {
        resolve(flow, &self.whole.known, &self.whole.words.symbols)
    }

    pub fn copies(&self) -> u64 {
        let minutes = |used: &Used<GraphRows>| {
            let within = used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute));
            within.map(|m| m.copies).sum::<u64>()
        };
        self.whole.copies + self.plan.used.iter().map(minutes).sum::<u64>()
    }

    pub fn minutes(&self) -> Minutes {
        self.plan.minutes()
    }

    /// What was counted beforehand.
    fn flows_beforehand(&self) -> impl Iterator<Item = (Flow, &Totals)> {
        self.plan.used.iter().zip(&self.translations).flat_map(|(used, translation)| {
            let within = used.rows.flows.iter().filter(|row| used.minutes.contains(&row.minute));
            within.map(|row| (translation.flow(row.flow), &row.totals))
        })
    }

    /// What the counted spans and flows name as their other ends and is no known service.
    fn strangers(&self) -> Strangers {
        let mut strangers = Strangers::default();
        let beforehand = self.flows_beforehand().map(|(flow, _)| flow);
        self.sums.flows().chain(beforehand).for_each(|flow| strangers.add(flow, &self.whole));
        strangers
    }
}

impl Counted<Flows> {
    /// Everything added up.
    pub fn aggregate(&self) -> Aggregate {
        let mut sum = Aggregate::default();
        let Flows { totals, services, children, missing, pending, .. } = &self.sums;
        sum.add_children(*children, *missing);
        sum.add_pending(*pending);
        services.iter().for_each(|s| sum.add_service(*s));
        for (used, translation) in self.plan.used.iter().zip(&self.translations) {
            for minute in used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute)) {
                sum.add_children(minute.children, minute.missing);
                minute.services.iter().for_each(|s| sum.add_service(translation.symbol(*s)));
            }
        }
        for (flow, totals) in totals.iter().map(|(flow, totals)| (*flow, totals)).chain(self.flows_beforehand()) {
            sum.add_flow(flow, totals, &self.whole.known, &self.whole.words.symbols);
        }
        sum
    }
}

impl Counted<FlowsByMinute> {
    /// Reads a window so that each minute can be told from the others.
    pub async fn by_minute(session: &Session, window: Window, now_ns: i64) -> Result<Self, QueryError> {
        let plan = plan(session, window, true).await?;
        Self::by_plan(session, plan, None, true, now_ns, FlowsByMinute::default()).await
    }

    /// Each minute's edges: the minute's start, the edge, what was counted of it and how much of that is unpaired.
    pub fn edges_by_minute(&self) -> Vec<(i64, EdgeKey, Totals, u64)> {
        let mut found: HashMap<(i64, EdgeKey), (Totals, u64)> = HashMap::new();
        let mut add = |minute_ns: i64, flow: Flow, totals: &Totals| {
            let Some((edge, unpaired)) = self.resolve(flow) else { return };
            let (sum, calls) = found.entry((minute_ns, edge)).or_default();
            sum.merge(totals);
            if unpaired {
                *calls += totals.calls();
                sum.client.merge(&totals.latency);
            }
        };
        self.sums.0.iter().for_each(|((minute_ns, flow), totals)| add(*minute_ns, *flow, totals));
        for (used, translation) in self.plan.used.iter().zip(&self.translations) {
            for row in used.rows.flows.iter().filter(|row| used.minutes.contains(&row.minute)) {
                add(used.minute_ns(row.minute), translation.flow(row.flow), &row.totals);
            }
        }
        found.into_iter().map(|((minute, edge), (totals, unpaired))| (minute, edge, totals, unpaired)).collect()
    }
}

/// The services of the minutes that are used, as if their spans had been read.
fn know(whole: &mut Whole, used: &Used<GraphRows>, translation: &Translation) {
    let bits = used.bits();
    for minute in used.rows.minutes.iter().filter(|m| used.minutes.contains(&m.minute)) {
        for service in &minute.services {
            whole.known.add_service(&whole.words.symbols, translation.symbol(*service));
        }
    }
    for row in used.rows.known.iter().filter(|row| row.with_ids && row.minutes & bits != 0) {
        let text = |s: Symbol| used.rows.symbols.text(s);
        let id = crate::spans::node::service_id(text(row.name), Some(text(row.namespace)));
        let service = whole.words.symbols.intern(&id);
        whole.known.add_service(&whole.words.symbols, service);
        let address = named_host(text(row.address));
        if !address.is_empty() {
            whole.known.add_address(address, service);
        }
    }
}

/// Asks the hours that were counted beforehand; gives the stretches of time that are left.
async fn learn_from_rollups(
    session: &Session,
    whole: &mut Whole,
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
            add(whole, sought, text(row.name), text(row.namespace), address);
        }
        left.push(Window { start_ns: at, end_ns: hour.start_ns });
        at = hour.end_ns;
    }
    left.push(Window { start_ns: at, end_ns: window.end_ns });
    left.retain(|w| w.start_ns < w.end_ns);
    Ok(left)
}
