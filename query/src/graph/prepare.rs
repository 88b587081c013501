//! Reads what the graph's rules need: the spans that are counted and all around them, and further away what decides how
//! those count; all at once, or a part of the traces at a time where they are too many. What is counted of the parts adds
//! up to what would be counted of all. Decides nothing itself.

use hashbrown::HashSet;
use orrery_model::Signal;

use super::classify::{Classifier, answered, beside, is_major, is_minor};
use super::far::Far;
use super::known::Known;
use super::scope::Scope;
use crate::spans::gather::{Gathered, Held, Part, Parts, Room, expected, gather};
use crate::spans::load::{Selection, Want, named, read, regain, settle, share};
use crate::spans::shelves::{SHELVES, Shelves};
use crate::spans::{Lineage, LinkTarget, NewSpan, SpanSet, Vocabulary};
use crate::{QueryError, Session};

/// All that classifying counted spans takes, but for what is known of services: of all traces, or of a part of them.
pub struct Prepared {
    pub spans: SpanSet,
    pub lineage: Lineage,
    /// Of each span, whether a child is its answer.
    pub answered: Vec<bool>,
    /// See [`beside`].
    beside: HashSet<u32>,
    now_ns: i64,
}

impl Prepared {
    fn of(spans: SpanSet, now_ns: i64) -> Self {
        let lineage = spans.lineage();
        let answered = answered(&spans, &lineage);
        Self { beside: beside(&spans, &lineage), spans, lineage, answered, now_ns }
    }

    pub fn classifier(&self) -> Classifier<'_> {
        Classifier::new(&self.spans, &self.lineage, &self.answered, &self.beside, self.now_ns)
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

/// What the parts have in common when all are counted.
#[derive(Default)]
pub struct Whole {
    pub words: Vocabulary,
    /// The services of the window's spans.
    pub known: Known,
    /// Copies left out of those that window and filter take in.
    pub copies: u64,
}

/// Reads the spans of a scope, and gives them to `count`: each counted span is in one part, with all that decides how it
/// counts.
pub async fn prepare(
    session: &Session,
    scope: &Scope,
    filter: Option<&str>,
    reading: Reading,
    now_ns: i64,
    mut count: impl FnMut(&Prepared) + Send,
) -> Result<Whole, QueryError> {
    if scope.is_empty() {
        return Ok(Whole::default());
    }
    let want =
        Want { semantics: reading != Reading::Services, names: reading == Reading::GraphAndNames, ..Want::default() };
    let counted = match filter {
        Some(text) => format!("{} AND {}", scope.counted_sql(), session.filter(Signal::Spans, text).await?.sql()),
        None => scope.counted_sql(),
    };
    let condition = scope.read_sql();
    let asked = Selection { condition: &condition, counted: &counted, want };
    let (room, held) = (Room::of(session), Held::of(session));
    let mut preparing = Preparing { session, scope, asked, reading, now_ns, room, held, whole: Whole::default() };
    let around = scope.around();
    match gather(session, asked, expected(session, &around), &around, room, &preparing.held).await? {
        Gathered::All(spans) => preparing.all(spans, &mut count).await?,
        Gathered::Parts(parts) => preparing.parts(parts, &mut count).await?,
    }
    Ok(preparing.whole)
}

struct Preparing<'a> {
    session: &'a Session,
    scope: &'a Scope,
    asked: Selection<'a>,
    reading: Reading,
    now_ns: i64,
    room: Room,
    held: Held,
    whole: Whole,
}

impl Preparing<'_> {
    async fn all(&mut self, mut spans: SpanSet, count: &mut (impl FnMut(&Prepared) + Send)) -> Result<(), QueryError> {
        settle(self.session, &mut spans, self.asked).await?;
        let mut prepared = Prepared::of(spans, self.now_ns);
        let mut far = Far::default();
        if self.ask(&mut far, &prepared) {
            let near = prepared.spans.len();
            let spans = &mut prepared.spans;
            let vocabulary = share(&mut spans.words);
            let Selection { condition, want, .. } = self.asked;
            far.read(self.session, &vocabulary, condition, want, |span, links| {
                spans.push(span, links);
                Ok(())
            })
            .await?;
            spans.words = regain(&vocabulary);
            if spans.len() > near {
                self.held.resize(spans.bytes())?;
                prepared = Prepared::of(prepared.spans, self.now_ns);
            }
        }
        self.whole.known.add_spans(&prepared.spans, self.scope.window);
        self.whole.words = self.count(prepared, count).words;
        Ok(())
    }

    /// Counts each part that nothing outside of it decides, then those of which something outside does, when it is known
    /// what that is.
    async fn parts(&mut self, mut parts: Parts, count: &mut (impl FnMut(&Prepared) + Send)) -> Result<(), QueryError> {
        let Preparing { session, asked, .. } = *self;
        let mut outside = Outside::new(self);
        let mut left = Vec::new();
        let held = std::mem::replace(&mut self.held, Held::of(session));
        let take = |part: &Part, spans: SpanSet| {
            self.whole.known.add_spans(&spans, self.scope.window);
            let prepared = Prepared::of(spans, self.now_ns);
            outside.add_senders(&prepared.spans)?;
            let minors = minors(&prepared.spans).next().is_some();
            let spans = if self.ask(&mut outside.far, &prepared) || minors {
                left.push(part.clone());
                prepared.spans
            } else {
                self.count(prepared, count)
            };
            outside.held.resize(outside.far.bytes())?;
            Ok(spans)
        };
        parts.each(session, asked, &held, take).await?;
        if !left.is_empty() {
            parts.words = outside.read(self, std::mem::take(&mut parts.words)).await?;
        }
        for part in left {
            let mut spans = parts.take_down(session, asked, &held, &part).await?;
            outside.add_to(&mut spans, &part)?;
            self.whole.known.add_spans(&spans, self.scope.window);
            parts.words = self.count(Prepared::of(spans, self.now_ns), count).words;
        }
        self.whole.words = parts.words;
        Ok(())
    }

    fn ask(&self, far: &mut Far, prepared: &Prepared) -> bool {
        match self.reading {
            Reading::Services => far.add_parents_of_entering(prepared, self.scope),
            Reading::Graph | Reading::GraphAndNames => far.add(prepared, self.scope),
        }
    }

    fn count(&mut self, prepared: Prepared, count: &mut impl FnMut(&Prepared)) -> SpanSet {
        count(&prepared);
        self.whole.copies += prepared.spans.copies;
        prepared.spans
    }
}

/// What decides how the spans of a part count, and is not in the part.
struct Outside {
    far: Far,
    held: Held,
    /// The spans that [`Far`] asked for by their traces.
    beyond: Shelves,
    /// Those that were asked for as linked, of other parts or beyond.
    linked: Vec<(NewSpan, Vec<LinkTarget>)>,
    /// `send` and `process` spans with links: what they link to is beside them.
    senders: Shelves,
}

impl Outside {
    fn new(preparing: &Preparing<'_>) -> Self {
        let Preparing { session, room, .. } = *preparing;
        Self {
            far: Far::default(),
            held: Held::of(session),
            beyond: room.shelves(session),
            linked: Vec::new(),
            senders: room.shelves(session),
        }
    }

    fn add_senders(&mut self, spans: &SpanSet) -> Result<(), QueryError> {
        let is_sender = |&i: &usize| is_major(spans, i) && !spans.links(i).is_empty();
        (0..spans.len()).filter(is_sender).try_for_each(|i| self.senders.put(&spans.get(i), spans.links(i)))
    }

    async fn read(&mut self, preparing: &Preparing<'_>, mut words: Vocabulary) -> Result<Vocabulary, QueryError> {
        let Self { far, beyond, linked, .. } = self;
        let Preparing { session, asked, .. } = *preparing;
        let is_linked = |span: &NewSpan| far.linked.contains(&LinkTarget { trace: span.trace, span: span.span });
        let vocabulary = share(&mut words);
        far.read(session, &vocabulary, asked.condition, asked.want, |span, links| {
            if is_linked(span) {
                linked.push((*span, links.to_vec()));
            }
            beyond.put(span, links)
        })
        .await?;
        let mut spans = SpanSet::default();
        if !far.linked.is_empty() {
            let traces: HashSet<u128> = far.linked.iter().map(|target| target.trace).collect();
            let condition = format!("{} AND {}", asked.condition, named(session, &traces)?);
            read(session, &vocabulary, Selection { condition: &condition, ..asked }, |rows| {
                for (span, links) in rows.iter().filter(|(span, _)| is_linked(span)) {
                    spans.push(&span, links);
                }
                Ok(())
            })
            .await?;
        }
        spans.words = regain(&vocabulary);
        settle(session, &mut spans, asked).await?;
        linked.extend((0..spans.len()).map(|i| (NewSpan { counted: false, ..spans.get(i) }, spans.links(i).to_vec())));
        Ok(spans.words)
    }

    /// Adds to a part what decides how its spans count; none of it is counted there.
    fn add_to(&self, spans: &mut SpanSet, part: &Part) -> Result<(), QueryError> {
        let own = spans.traces.len();
        let shelves = if let Part::Shelves(shelves) = part { shelves.clone() } else { 0..SHELVES };
        self.beyond.read(shelves, |span, links| {
            if spans.is_among_first(own, span.trace) {
                spans.push(span, links);
            }
        })?;
        for (span, links) in &self.linked {
            spans.push(span, links);
        }
        let messages: HashSet<LinkTarget> = minors(spans).flat_map(|i| spans.links(i)).copied().collect();
        self.senders.read(0..SHELVES, |span, links| {
            let is_beside_one = |link: &LinkTarget| {
                messages.contains(link) || spans.find(*link).any(|i| spans.counted[i] && is_minor(spans, i))
            };
            if !spans.is_among_first(own, span.trace) && links.iter().any(is_beside_one) {
                spans.push(&NewSpan { counted: false, ..*span }, links);
            }
        })
    }
}

/// The counted spans of which a span of another trace may say that they are not to be counted.
fn minors(spans: &SpanSet) -> impl Iterator<Item = usize> {
    (0..spans.len()).filter(|&i| spans.counted[i] && is_minor(spans, i))
}
