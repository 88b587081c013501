//! Reads what the graph's rules need: the spans that are counted and all around them, and further away the parents,
//! children and linked spans that decide how those count. What is read beyond need changes no answer. Decides nothing
//! itself.

use hashbrown::HashSet;
use orrery_model::Signal;

use super::classify::{Classifier, answered, messaging_role};
use super::known::Known;
use super::scope::Scope;
use crate::spans::lineage::REACH_NS;
use crate::spans::load::{Want, in_traces, load, load_more};
use crate::spans::{Kind, Lineage, LinkTarget, SpanSet, Symbol};
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// All that classifying the counted spans takes, but for what is known of services elsewhere.
pub struct Prepared {
    pub spans: SpanSet,
    pub lineage: Lineage,
    pub known: Known,
    now_ns: i64,
}

impl Prepared {
    pub fn classifier(&self) -> Classifier<'_> {
        Classifier::new(&self.spans, &self.lineage, self.now_ns)
    }
}

/// What spans are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Their flows.
    Graph,
    /// Their flows and the operations that they are.
    GraphAndNames,
    /// Which of them are calls of their services.
    Services,
}

/// Reads the spans of a scope.
pub async fn prepare(
    session: &Session,
    scope: &Scope,
    filter: Option<&str>,
    reading: Reading,
    now_ns: i64,
) -> Result<Prepared, QueryError> {
    let want = Want { semantics: reading != Reading::Services, names: reading == Reading::GraphAndNames };
    let counted = match filter {
        Some(text) => format!("{} AND {}", scope.counted_sql(), session.filter(Signal::Spans, text).await?.sql()),
        None => scope.counted_sql(),
    };
    let mut spans = SpanSet::default();
    if scope.is_empty() {
        let lineage = spans.lineage();
        return Ok(Prepared { spans, lineage, known: Known::default(), now_ns });
    }
    let (read, part) = (scope.read_sql(), scope.with_part_sql());
    load(session, &mut spans, &format!("{read} AND {part}"), &counted, want).await?;
    let mut lineage = spans.lineage();
    let far = match reading {
        Reading::Services => Far::parents_of_entering(&spans, &lineage, scope),
        Reading::Graph | Reading::GraphAndNames => Far::of(&spans, &lineage, scope),
    };
    for (traces, when) in far.sought() {
        let those = in_traces(traces, &format!("{read} AND {part}"));
        load_more(session, &mut spans, &format!("{when} AND NOT {read} AND {those}"), "false", want).await?;
    }
    if !far.is_empty() {
        lineage = spans.lineage();
    }
    let known = Known::of(&spans, scope.window);
    Ok(Prepared { spans, lineage, known, now_ns })
}

/// The traces of which spans that were not read may change how a counted span counts.
#[derive(Default)]
struct Far {
    /// Parents that are not there, or of which another of the same id may lie before what was read.
    before: HashSet<u128>,
    before_ns: i64,
    /// CLIENTs that may be answered after what was read.
    after: HashSet<u128>,
    after_ns: i64,
    /// Spans that name the destination of a message; at any time.
    linked: HashSet<u128>,
}

impl Far {
    fn of(spans: &SpanSet, lineage: &Lineage, scope: &Scope) -> Self {
        let answered = answered(spans, lineage);
        let mut far = Self { before_ns: i64::MIN, after_ns: i64::MAX, ..Self::default() };
        let around = scope.around();
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            let read = scope.read_within(&around, spans.start_ns[i]);
            far.add_parent(spans, lineage, i, read);
            let may_be_answered = spans.end_ns(i).saturating_add(REACH_NS) >= read.end_ns;
            if spans.kind[i] == Kind::Client && !answered[i] && may_be_answered {
                far.after.insert(spans.trace_id(i));
                far.after_ns = far.after_ns.min(read.end_ns);
            }
            far.linked.extend(absent_destinations(spans, i).map(|l| l.trace));
        }
        far
    }

    /// Of services that serve nothing: which of their spans are calls depends on the parents alone.
    fn parents_of_entering(spans: &SpanSet, lineage: &Lineage, scope: &Scope) -> Self {
        let is_served = |i: usize| matches!(spans.kind[i], Kind::Server | Kind::Consumer);
        let counted = || (0..spans.len()).filter(|&i| spans.counted[i]);
        let serving: HashSet<Symbol> = counted().filter(|&i| is_served(i)).map(|i| spans.service[i]).collect();
        let mut far = Self { before_ns: i64::MIN, after_ns: i64::MAX, ..Self::default() };
        let around = scope.around();
        for i in counted().filter(|&i| !serving.contains(&spans.service[i])) {
            far.add_parent(spans, lineage, i, scope.read_within(&around, spans.start_ns[i]));
        }
        far
    }

    /// The parent that is missing, or so far away that another one of its id may lie beyond what was read.
    fn add_parent(&mut self, spans: &SpanSet, lineage: &Lineage, i: usize, read: Window) {
        let is_far = match lineage.parent(i) {
            Some(parent) => spans.start_ns[parent] < read.start_ns.saturating_add(REACH_NS),
            None => lineage.is_missing(i),
        };
        if is_far {
            self.before.insert(spans.trace_id(i));
            self.before_ns = self.before_ns.max(read.start_ns);
        }
    }

    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.linked.is_empty()
    }

    /// The traces with the condition of when their spans are looked for.
    fn sought(&self) -> impl Iterator<Item = (&HashSet<u128>, String)> {
        let before = format!("timestamp < {}", timestamp_sql(self.before_ns));
        let after = format!("timestamp >= {}", timestamp_sql(self.after_ns));
        [(&self.before, before), (&self.after, after), (&self.linked, "true".to_owned())]
            .into_iter()
            .filter(|(traces, _)| !traces.is_empty())
    }
}

/// Links of a messaging span that names no destination, to spans that are not here.
pub fn absent_destinations(spans: &SpanSet, i: usize) -> impl Iterator<Item = &LinkTarget> {
    let asks = spans.semantics(i).destination == 0 && messaging_role(spans, i).is_some();
    let links = if asks { spans.links(i) } else { &[] };
    links.iter().filter(|l| spans.find(l.trace, l.span).is_none())
}
