//! Which of the names that CLIENTs and callers give for the other end are services that sent nothing within the window:
//! asks for them in the days before. Reads distinct names and addresses only.

use hashbrown::HashSet;

use super::classify::{Caller, Flow, Peer};
use super::known::names_of;
use super::prepare::Whole;
use crate::columns::Columns;
use crate::spans::Symbol;
use crate::spans::node::service_id;
use crate::{QueryError, Session, Window, quote};

/// How long before the window, from the whole hour on, a service must have been heard of to be known to a peer's name.
const KNOWN_FOR_NS: i64 = 7 * 86_400_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;
/// Names of peers that are looked up, the first ones by their bytes.
const MAX_PEERS: usize = 1_000;

/// Names of other ends that mean no service so far.
#[derive(Debug, Default)]
pub struct Strangers(HashSet<Symbol>);

impl Strangers {
    /// Takes in what a flow names.
    pub fn add(&mut self, flow: Flow, whole: &Whole) {
        let (service, named): (Symbol, &[Symbol]) = match &flow {
            Flow::Edge(_) => return,
            Flow::Peer(Peer { service, named }) => (*service, named),
            Flow::Caller(Caller { service, named }) => (*service, named),
        };
        let symbols = &whole.words.symbols;
        let unknown = |n: &Symbol| *n != 0 && whole.known.resolve(symbols, *n, service).is_none();
        self.0.extend(named.iter().copied().filter(unknown));
    }

    fn texts(&self, whole: &Whole) -> Vec<String> {
        let mut texts: Vec<String> = self.0.iter().map(|s| whole.words.symbols.text(*s).to_owned()).collect();
        texts.sort_unstable();
        texts.truncate(MAX_PEERS);
        texts
    }
}

/// What is asked of the services of other times.
#[derive(Debug)]
pub struct Sought {
    /// Service names without their namespace, as they were sent.
    pub names: HashSet<String>,
    /// As SERVER spans sent their own.
    pub addresses: HashSet<String>,
}

impl Sought {
    fn of(texts: &[String]) -> Self {
        let mut names: HashSet<String> = HashSet::new();
        for text in texts {
            for name in names_of(text) {
                names.extend([name.to_owned(), name.to_lowercase()]);
                names.extend(name.rsplit_once('/').map(|(_, name)| name.to_owned()));
            }
        }
        Self { names, addresses: texts.iter().cloned().collect() }
    }
}

/// When services must have been heard of.
pub fn known_window(window: Window) -> Window {
    let since = window.start_ns.saturating_sub(KNOWN_FOR_NS);
    Window { start_ns: since.saturating_sub(since.rem_euclid(HOUR_NS)), end_ns: window.end_ns }
}

/// Makes the services known that the strangers' names mean; `None` where there are no strangers.
pub fn sought(strangers: &Strangers, whole: &Whole) -> Option<Sought> {
    let texts = strangers.texts(whole);
    (!texts.is_empty()).then(|| Sought::of(&texts))
}

/// Adds a service that was heard of, with the address that it sent as its own, if what is sought is one of them.
pub fn add(whole: &mut Whole, sought: &Sought, name: &str, namespace: &str, address: Option<&str>) {
    let address = address.filter(|a| sought.addresses.contains(*a));
    if address.is_none() && !sought.names.contains(name) {
        return;
    }
    let service = whole.words.symbols.intern(&service_id(name, Some(namespace)));
    whole.known.add_service(&whole.words.symbols, service);
    if let Some(address) = address {
        whole.known.add_address(address, service);
    }
}

/// Asks the spans of some stretches of time.
pub async fn learn(
    session: &Session,
    whole: &mut Whole,
    sought: &Sought,
    stretches: &[Window],
) -> Result<(), QueryError> {
    if stretches.is_empty() {
        return Ok(());
    }
    let list = |texts: &HashSet<String>| {
        let mut quoted: Vec<String> = texts.iter().map(|t| quote(t)).collect();
        quoted.sort_unstable();
        quoted.join(",")
    };
    let within: Vec<String> = stretches.iter().map(|w| format!("({})", w.sql("timestamp"))).collect();
    let within = within.join(" OR ");
    let by_name = format!(
        "SELECT DISTINCT service_name, service_namespace, CAST(NULL AS VARCHAR) AS address FROM spans \
         WHERE ({within}) AND service_name IN ({})",
        list(&sought.names)
    );
    let by_address = format!(
        "SELECT DISTINCT service_name, service_namespace, \"attributes.server.address\" AS address FROM spans \
         WHERE ({within}) AND kind = 'SERVER' AND \"attributes.server.address\" IN ({})",
        list(&sought.addresses)
    );
    for query in [by_name, by_address] {
        for batch in session.collect(&query).await?.0 {
            let batch = Columns(&batch);
            let (name, namespace, address) =
                (batch.text("service_name")?, batch.text("service_namespace")?, batch.text("address")?);
            for row in 0..batch.0.num_rows() {
                add(whole, sought, name.or_empty(row), namespace.or_empty(row), address.get(row));
            }
        }
    }
    Ok(())
}
