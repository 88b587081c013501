//! Reads what the graph's rules need: the spans of the window, and beyond its ends the parents, children and linked
//! spans that decide how those count. Decides nothing itself.

use hashbrown::HashSet;
use orrery_model::Signal;

use super::classify::{Classifier, answered, messaging_role, peers};
use super::known::{Known, names_of};
use crate::columns::Columns;
use crate::spans::load::{Services, Want, in_traces, load, load_more};
use crate::spans::{Kind, Lineage, SpanSet, Symbol};
use crate::time::timestamp_sql;
use crate::{QueryError, Session, Window, quote};

/// A child is looked for beyond the window's ends where its parent's time, widened by this, reaches over them.
const MARGIN_NS: i64 = 60_000_000_000;
/// How long before the window a service must have been heard of to be known to a peer's name.
const KNOWN_FOR_NS: i64 = 7 * 86_400_000_000_000;
/// Names of peers that are looked up.
const MAX_PEERS: usize = 1_000;

/// All that classifying a window's spans takes.
pub struct Prepared {
    pub spans: SpanSet,
    pub lineage: Lineage,
    known: Known,
    now_ns: i64,
}

impl Prepared {
    pub fn classifier(&self) -> Classifier<'_> {
        Classifier::new(&self.spans, &self.lineage, &self.known, self.now_ns)
    }
}

pub async fn prepare(
    session: &Session,
    window: Window,
    filter: Option<&str>,
    now_ns: i64,
) -> Result<Prepared, QueryError> {
    let want = Want { semantics: true, names: false };
    let counted = match filter {
        Some(text) => session.filter(Signal::Spans, text).await?.sql().to_owned(),
        None => "true".to_owned(),
    };
    let mut spans = SpanSet::default();
    let inside = window.sql("timestamp");
    load(session, &mut spans, &inside, &counted, want).await?;
    let mut lineage = spans.lineage();
    let wanted = beyond(&spans, &lineage, window);
    if !wanted.is_empty() {
        let those = in_traces(&wanted, &inside);
        let before = format!("timestamp < {} AND {those}", timestamp_sql(window.start_ns));
        let after = format!("timestamp >= {} AND {those}", timestamp_sql(window.end_ns));
        load_more(session, &mut spans, &before, "false", want).await?;
        load_more(session, &mut spans, &after, "false", want).await?;
        lineage = spans.lineage();
    }
    let mut known = Known::of(&spans);
    learn(session, &mut spans, &lineage, &mut known, window).await?;
    Ok(Prepared { spans, lineage, known, now_ns })
}

/// The traces of which spans outside the window may change how a counted span counts.
fn beyond(spans: &SpanSet, lineage: &Lineage, window: Window) -> HashSet<u128> {
    let answered = answered(spans, lineage);
    let near_start = window.start_ns.saturating_add(MARGIN_NS);
    let near_end = window.end_ns.saturating_sub(MARGIN_NS);
    let mut traces = HashSet::new();
    for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
        let start = spans.start_ns[i];
        let end = start.saturating_add(spans.duration_ns[i].max(0));
        let unanswered = spans.kind[i] == Kind::Client && !answered[i] && (start < near_start || end >= near_end);
        // The CLIENT whose id it may share, and the roots that it then is not.
        let shared = spans.kind[i] == Kind::Server && start < near_start;
        let messaging = messaging_role(spans, i).is_some() && (start < near_start || end >= near_end);
        if lineage.is_missing(i) || unanswered || shared || messaging {
            traces.insert(spans.trace_id(i));
        }
        if messaging_role(spans, i).is_some() && spans.semantics(i).destination == 0 {
            let absent = |l: &&crate::spans::LinkTarget| spans.find(l.trace, l.span).is_none();
            traces.extend(spans.links(i).iter().filter(absent).map(|l| l.trace));
        }
    }
    traces
}

/// Finds out which of the unanswered CLIENTs' peers are services that sent nothing within the window.
async fn learn(
    session: &Session,
    spans: &mut SpanSet,
    lineage: &Lineage,
    known: &mut Known,
    window: Window,
) -> Result<(), QueryError> {
    let answered = answered(spans, lineage);
    let mut strangers: HashSet<Symbol> = HashSet::new();
    for i in (0..spans.len()).filter(|&i| spans.counted[i]) {
        let semantics = spans.semantics(i);
        let asks = (spans.kind[i] == Kind::Client && !answered[i] && !semantics.is_database)
            || (spans.kind[i] == Kind::Server && lineage.is_root(i));
        if asks && strangers.len() < MAX_PEERS {
            let named = peers(semantics).chain([semantics.client].into_iter().filter(|c| *c != 0));
            strangers.extend(named.filter(|&p| known.resolve(spans, p, spans.service[i]).is_none()));
        }
    }
    if strangers.is_empty() {
        return Ok(());
    }
    let texts: Vec<&str> = strangers.iter().map(|&s| spans.symbols.text(s)).collect();
    let mut names: Vec<String> = Vec::new();
    for text in &texts {
        for name in names_of(text) {
            names.extend([quote(name), quote(&name.to_lowercase())]);
            names.extend(name.rsplit_once('/').map(|(_, name)| quote(name)));
        }
    }
    let addresses: Vec<String> = texts.iter().map(|t| quote(t)).collect();
    let since = timestamp_sql(window.start_ns.saturating_sub(KNOWN_FOR_NS));
    let until = timestamp_sql(window.end_ns);
    let within = format!("timestamp >= {since} AND timestamp < {until}");
    let by_name = format!(
        "SELECT DISTINCT service_name, service_namespace, CAST(NULL AS VARCHAR) AS address FROM spans \
         WHERE {within} AND service_name IN ({})",
        names.join(",")
    );
    let by_address = format!(
        "SELECT DISTINCT service_name, service_namespace, \"attributes.server.address\" AS address FROM spans \
         WHERE {within} AND kind = 'SERVER' AND \"attributes.server.address\" IN ({})",
        addresses.join(",")
    );
    let mut services = Services::default();
    for query in [by_name, by_address] {
        for batch in session.collect(&query).await?.0 {
            let batch = Columns(&batch);
            let (name, namespace, address) =
                (batch.text("service_name")?, batch.text("service_namespace")?, batch.text("address")?);
            for row in 0..batch.0.num_rows() {
                let service = services.id(spans, name.or_empty(row), namespace.or_empty(row));
                known.add_service(spans, service);
                if let Some(address) = address.get(row) {
                    known.add_address(address, service);
                }
            }
        }
    }
    Ok(())
}
