//! Which services are known, by name and by the addresses that they sent as their own: what a peer's name is resolved
//! with. Never guesses: a name that two services could mean, and an address that every machine calls its own, resolve
//! to none.

use hashbrown::{HashMap, HashSet};

use crate::Window;
use crate::spans::semantics::is_loopback;
use crate::spans::{Kind, Latest, SpanSet, Symbol, Symbols};

#[derive(Debug, Default)]
pub struct Known {
    /// Service ids, lower case and without the namespace, to the ids' symbols.
    names: HashMap<String, HashSet<Symbol>>,
    addresses: HashMap<String, HashSet<Symbol>>,
}

impl Known {
    /// Adds the services of the window's spans, and what its SERVER spans call their own address.
    pub fn add_spans(&mut self, spans: &SpanSet, window: Window) {
        let mut pairs: HashSet<(Symbol, Symbol)> = HashSet::new();
        let mut latest = Latest::default();
        for i in (0..spans.len()).filter(|&i| window.holds(spans.start_ns[i])) {
            let address = if spans.kind[i] == Kind::Server { spans.semantics(i).server_address } else { 0 };
            let pair = (spans.service[i], address);
            latest.get(Some(pair), pair.0 ^ pair.1.rotate_left(8), |_| {
                pairs.insert(pair);
                0
            });
        }
        for (service, address) in pairs {
            self.add_service(spans.symbols(), service);
            if address != 0 {
                self.add_address(spans.symbols().text(address), service);
            }
        }
    }

    pub fn add_service(&mut self, symbols: &Symbols, service: Symbol) {
        let id = symbols.text(service).to_lowercase();
        if let Some((_, name)) = id.rsplit_once('/') {
            self.names.entry(name.to_owned()).or_default().insert(service);
        }
        self.names.entry(id).or_default().insert(service);
    }

    pub fn add_address(&mut self, address: &str, service: Symbol) {
        if !is_loopback(address) {
            self.addresses.entry(address.to_lowercase()).or_default().insert(service);
        }
    }

    /// The service that a peer's name or address means to a caller, if it is plain: of several of one name the one in the
    /// caller's own namespace.
    pub fn resolve(&self, symbols: &Symbols, peer: Symbol, caller: Symbol) -> Option<Symbol> {
        let peer = symbols.text(peer).to_lowercase();
        if let Some(services) = names_of(&peer).find_map(|name| self.names.get(name)) {
            return one_of(services).or_else(|| {
                let namespace = |s: Symbol| symbols.text(s).rsplit_once('/').map(|(namespace, _)| namespace);
                one_of(&services.iter().copied().filter(|&s| namespace(s) == namespace(caller)).collect())
            });
        }
        self.addresses.get(&peer).and_then(one_of)
    }
}

/// The service names that a host may be: itself, and of a Kubernetes service's full name the first label.
pub fn names_of(host: &str) -> impl Iterator<Item = &str> {
    let cluster = host.contains(".svc.") || host.ends_with(".svc");
    std::iter::once(host).chain(host.split('.').next().filter(|_| cluster))
}

fn one_of(services: &HashSet<Symbol>) -> Option<Symbol> {
    if services.len() == 1 { services.iter().next().copied() } else { None }
}
