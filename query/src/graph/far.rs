//! What spans beyond those that were read decide of counted ones: parents that lie before, answers that come after, and
//! linked spans that name a message's destination. What is read beyond need changes no answer.

use hashbrown::HashSet;

use super::classify::messaging_role;
use super::prepare::Prepared;
use super::scope::Scope;
use crate::spans::lineage::REACH_NS;
use crate::spans::load::{Selection, Want, named, read};
use crate::spans::{Kind, LinkTarget, NewSpan, SharedVocabulary, SpanSet, Symbol};
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window};

/// Bytes that a trace or a span takes here, about.
const ENTRY_BYTES: usize = 64;

/// The traces of which spans that were not read may change how a counted span counts.
pub struct Far {
    /// Parents that are not there, or of which another of the same id may lie before what was read.
    before: HashSet<u128>,
    before_ns: i64,
    /// CLIENTs that may be answered after what was read.
    after: HashSet<u128>,
    after_ns: i64,
    /// Spans that name the destination of a message; at any time.
    pub linked: HashSet<LinkTarget>,
}

impl Default for Far {
    fn default() -> Self {
        Self {
            before: HashSet::new(),
            before_ns: i64::MIN,
            after: HashSet::new(),
            after_ns: i64::MAX,
            linked: HashSet::new(),
        }
    }
}

impl Far {
    /// Adds what decides how spans flow; gives whether there is anything.
    pub fn add(&mut self, prepared: &Prepared, scope: &Scope) -> bool {
        let spans = &prepared.spans;
        let mut any = false;
        let around = scope.around();
        if is_decided(prepared, &around) {
            return false;
        }
        for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
            let read = scope.read_within(&around, spans.start_ns[i]);
            any |= self.add_parent(prepared, i, read);
            let may_be_answered = spans.end_ns(i).saturating_add(REACH_NS) >= read.end_ns;
            if spans.kind[i] == Kind::Client && !prepared.answered[i] && may_be_answered {
                self.after.insert(spans.trace_id(i));
                self.after_ns = self.after_ns.min(read.end_ns);
                any = true;
            }
            for link in absent_destinations(spans, i) {
                self.linked.insert(*link);
                any = true;
            }
        }
        any
    }

    /// Adds the parents of spans of services that serve nothing: which of those are calls depends on the parents alone.
    pub fn add_parents_of_entering(&mut self, prepared: &Prepared, scope: &Scope) -> bool {
        let spans = &prepared.spans;
        let is_served = |i: usize| matches!(spans.kind[i], Kind::Server | Kind::Consumer);
        let counted = || (0..spans.len()).filter(|&i| spans.counted[i]);
        let serving: HashSet<Symbol> = counted().filter(|&i| is_served(i)).map(|i| spans.service[i]).collect();
        let around = scope.around();
        let mut any = false;
        for i in counted().filter(|&i| !serving.contains(&spans.service[i])) {
            any |= self.add_parent(prepared, i, scope.read_within(&around, spans.start_ns[i]));
        }
        any
    }

    /// The parent that is missing, or so far away that another one of its id may lie beyond what was read.
    fn add_parent(&mut self, prepared: &Prepared, i: usize, read: Window) -> bool {
        let (spans, lineage) = (&prepared.spans, &prepared.lineage);
        let is_far = match lineage.parent(i) {
            Some(parent) => spans.start_ns[parent] < read.start_ns.saturating_add(REACH_NS),
            None => lineage.is_missing(i),
        };
        if is_far {
            self.before.insert(spans.trace_id(i));
            self.before_ns = self.before_ns.max(read.start_ns);
        }
        is_far
    }

    /// The memory that it takes, about.
    pub fn bytes(&self) -> usize {
        (self.before.len() + self.after.len() + self.linked.len()) * ENTRY_BYTES
    }

    /// Reads the spans beyond those that `was_read` selects, and gives them to `take`.
    pub async fn read(
        &self,
        session: &Session,
        vocabulary: &SharedVocabulary,
        was_read: &str,
        want: Want,
        mut take: impl FnMut(&NewSpan, &[LinkTarget]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let before = format!("timestamp < {}", timestamp_sql(self.before_ns));
        let after = format!("timestamp >= {}", timestamp_sql(self.after_ns));
        for (traces, when) in [(&self.before, before), (&self.after, after)] {
            if traces.is_empty() {
                continue;
            }
            let condition = format!("{when} AND NOT {was_read} AND {}", named(session, traces)?);
            let asked = Selection { condition: &condition, counted: "false", want };
            read(session, vocabulary, asked, |rows| rows.iter().try_for_each(|(span, links)| take(&span, links)))
                .await?;
        }
        if !self.linked.is_empty() {
            let traces: HashSet<u128> = self.linked.iter().map(|target| target.trace).collect();
            let condition = format!("NOT {was_read} AND {}", named(session, &traces)?);
            let asked = Selection { condition: &condition, counted: "false", want };
            let is_linked = |span: &NewSpan| self.linked.contains(&LinkTarget { trace: span.trace, span: span.span });
            read(session, vocabulary, asked, |rows| {
                rows.iter().filter(|(span, _)| is_linked(span)).try_for_each(|(span, links)| take(&span, links))
            })
            .await?;
        }
        Ok(())
    }
}

/// Whether nothing beyond these spans can matter: all parents are there, nothing is linked, and all lie well within what was
/// read. So it is of most.
fn is_decided(prepared: &Prepared, around: &[Window]) -> bool {
    let (spans, lineage) = (&prepared.spans, &prepared.lineage);
    let Some(first) = spans.start_ns.iter().min() else { return true };
    let last_end = (0..spans.len()).map(|i| spans.end_ns(i)).max().unwrap_or(i64::MAX);
    let is_well_within = |read: &Window| {
        read.start_ns.saturating_add(REACH_NS) <= *first && last_end.saturating_add(REACH_NS) < read.end_ns
    };
    around.iter().any(is_well_within) && !spans.has_links() && !lineage.has_missing()
}

/// Links of a messaging span that names no destination, to spans that are not here.
fn absent_destinations(spans: &SpanSet, i: usize) -> impl Iterator<Item = &LinkTarget> {
    let asks = spans.semantics(i).destination == 0 && messaging_role(spans, i).is_some();
    let links = if asks { spans.links(i) } else { &[] };
    links.iter().filter(|link| spans.find(**link).next().is_none())
}
