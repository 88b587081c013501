//! What is kept of an hour of spans: its flows, its operations and the services that were heard of, minute by minute, and
//! what the rest of the lake may still change. Knows its bytes; never where they are kept.

use hashbrown::HashMap;
use orrery_api::EdgeKind;

use super::codec::{Reader, Writer};
use crate::graph::classify::{Caller, EdgeKey, Flow, NodeKey, Peer};
use crate::graph::totals::Totals;
use crate::spans::{Kind, Symbol, Symbols};

/// The form of the bytes, and the rules that they were counted by. Another version's are counted again.
pub const VERSION: i64 = 1;
pub const HOUR_NS: i64 = 3_600_000_000_000;
pub const MINUTE_NS: i64 = 60_000_000_000;

/// The parts of an hour, under the names that they are kept by.
pub const HOUR_PART: &str = "hour";
pub const MINUTES_PART: &str = "minutes";
pub const OPERATIONS_PART: &str = "operations";
pub const KNOWN_PART: &str = "known";

/// What of an hour depends on spans outside of it, in every part that counts spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Traces that are not counted here, since what they count as is for the rest of the lake to say; in order.
    pub strays: Vec<u128>,
    /// Of the parents that were nowhere, [`parent_hash`]; in order. If one of them arrives, nothing here holds.
    pub orphans: Vec<u64>,
}

/// The graph of an hour: minute by minute, or as a whole in minute 0.
#[derive(Debug, Default)]
pub struct GraphRows {
    pub open: Open,
    pub symbols: Symbols,
    pub minutes: Vec<MinuteRow>,
    pub flows: Vec<FlowRow>,
    pub known: Vec<KnownRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinuteRow {
    pub minute: u8,
    pub spans: u64,
    /// Spans that name a parent, and of these the ones whose parent is missing.
    pub children: u64,
    pub missing: u64,
    pub copies: u64,
    pub services: Vec<Symbol>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FlowRow {
    pub minute: u8,
    pub flow: Flow,
    pub totals: Totals,
}

/// A service that was heard of, with what a SERVER span of it sent as its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRow {
    pub name: Symbol,
    pub namespace: Symbol,
    /// 0 for none.
    pub address: Symbol,
    /// Of spans with ids; others are in no graph.
    pub with_ids: bool,
    /// The minutes, a bit each.
    pub minutes: u64,
}

/// The operations of an hour, and its services.
#[derive(Debug, Default)]
pub struct OperationRows {
    pub open: Open,
    pub symbols: Symbols,
    pub services: Vec<ServiceRow>,
    pub facts: Vec<FactRow>,
    pub operations: Vec<OperationRow>,
}

/// The spans of a service in a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    pub minute: u8,
    pub service: Symbol,
    pub spans: u64,
    /// Copies left out.
    pub copies: u64,
}

/// What spans say of their service, whether they have ids or not. Symbols, 0 for what is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// `service.name`, `service.namespace`, version, environment, language and instance.
    pub words: [Symbol; 6],
    pub minute: u8,
    /// The first and the last start.
    pub first_ns: i64,
    pub last_ns: i64,
}

/// The calls of an operation: spans that enter their service.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationRow {
    pub minute: u8,
    pub service: Symbol,
    pub name: Symbol,
    pub kind: Kind,
    pub totals: Totals,
}

/// FNV-1a, 64 bits, of a trace id and the id of a parent in it, 24 bytes little-endian.
pub fn parent_hash(trace: u128, parent: u64) -> u64 {
    let bytes = trace.to_le_bytes().into_iter().chain(parent.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Open {
    fn write(&self, writer: &mut Writer) {
        writer.count(self.strays.len());
        self.strays.iter().for_each(|trace| writer.fixed(trace.to_le_bytes()));
        writer.count(self.orphans.len());
        self.orphans.iter().for_each(|hash| writer.fixed(hash.to_le_bytes()));
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let strays = (0..reader.count()?).map(|_| reader.fixed().map(u128::from_le_bytes)).collect::<Option<_>>()?;
        let orphans = (0..reader.count()?).map(|_| reader.fixed().map(u64::from_le_bytes)).collect::<Option<_>>()?;
        Some(Self { strays, orphans })
    }
}

impl GraphRows {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.open.write(&mut writer);
        writer.symbols(&self.symbols);
        writer.count(self.minutes.len());
        for minute in &self.minutes {
            writer.byte(minute.minute);
            for number in [minute.spans, minute.children, minute.missing, minute.copies] {
                writer.number(number);
            }
            writer.count(minute.services.len());
            minute.services.iter().for_each(|s| writer.number(*s));
        }
        writer.count(self.flows.len());
        for row in &self.flows {
            writer.byte(row.minute);
            write_flow(&mut writer, row.flow);
            writer.totals(&row.totals);
        }
        write_known(&mut writer, &self.known);
        writer.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let open = Open::read(&mut reader)?;
        let symbols = reader.symbols()?;
        let mut minutes = Vec::new();
        for _ in 0..reader.count()? {
            minutes.push(MinuteRow {
                minute: reader.byte()?,
                spans: reader.number()?,
                children: reader.number()?,
                missing: reader.number()?,
                copies: reader.number()?,
                services: (0..reader.count()?).map(|_| reader.symbol(&symbols)).collect::<Option<_>>()?,
            });
        }
        let mut flows = Vec::new();
        for _ in 0..reader.count()? {
            flows.push(FlowRow {
                minute: reader.byte()?,
                flow: read_flow(&mut reader, &symbols)?,
                totals: reader.totals()?,
            });
        }
        let known = read_known(&mut reader, &symbols)?;
        reader.0.is_empty().then_some(Self { open, symbols, minutes, flows, known })
    }

    /// The same with all minutes added up.
    pub fn whole(&self) -> Self {
        let mut minute = MinuteRow::default();
        for m in &self.minutes {
            minute.spans += m.spans;
            minute.children += m.children;
            minute.missing += m.missing;
            minute.copies += m.copies;
            minute.services.extend(&m.services);
        }
        minute.services.sort_unstable();
        minute.services.dedup();
        let mut flows: HashMap<Flow, Totals> = HashMap::new();
        for row in &self.flows {
            flows.entry(row.flow).or_default().merge(&row.totals);
        }
        Self {
            open: self.open.clone(),
            symbols: self.symbols.clone(),
            minutes: vec![minute],
            flows: flows.into_iter().map(|(flow, totals)| FlowRow { minute: 0, flow, totals }).collect(),
            known: self.known.clone(),
        }
    }

    /// The part of it that says which services were heard of.
    pub fn encode_known(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.symbols(&self.symbols);
        write_known(&mut writer, &self.known);
        writer.0
    }

    pub fn decode_known(bytes: &[u8]) -> Option<(Symbols, Vec<KnownRow>)> {
        let mut reader = Reader(bytes);
        let symbols = reader.symbols()?;
        let known = read_known(&mut reader, &symbols)?;
        reader.0.is_empty().then_some((symbols, known))
    }
}

impl OperationRows {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.open.write(&mut writer);
        writer.symbols(&self.symbols);
        writer.count(self.services.len());
        for row in &self.services {
            writer.byte(row.minute);
            writer.number(row.service);
            writer.number(row.spans);
            writer.number(row.copies);
        }
        writer.count(self.facts.len());
        for row in &self.facts {
            row.words.iter().for_each(|word| writer.number(*word));
            writer.byte(row.minute);
            writer.signed(row.first_ns);
            writer.signed(row.last_ns);
        }
        writer.count(self.operations.len());
        for row in &self.operations {
            writer.byte(row.minute);
            writer.number(row.service);
            writer.number(row.name);
            writer.byte(row.kind as u8);
            writer.totals(&row.totals);
        }
        writer.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let open = Open::read(&mut reader)?;
        let symbols = reader.symbols()?;
        let mut services = Vec::new();
        for _ in 0..reader.count()? {
            let (minute, service) = (reader.byte()?, reader.symbol(&symbols)?);
            services.push(ServiceRow { minute, service, spans: reader.number()?, copies: reader.number()? });
        }
        let mut facts = Vec::new();
        for _ in 0..reader.count()? {
            let mut words = [0; 6];
            for word in &mut words {
                *word = reader.symbol(&symbols)?;
            }
            let minute = reader.byte()?;
            facts.push(FactRow { words, minute, first_ns: reader.signed()?, last_ns: reader.signed()? });
        }
        let mut operations = Vec::new();
        for _ in 0..reader.count()? {
            operations.push(OperationRow {
                minute: reader.byte()?,
                service: reader.symbol(&symbols)?,
                name: reader.symbol(&symbols)?,
                kind: *Kind::ALL.get(usize::from(reader.byte()?))?,
                totals: reader.totals()?,
            });
        }
        reader.0.is_empty().then_some(Self { open, symbols, services, facts, operations })
    }
}

const EDGE_KINDS: [EdgeKind; 5] =
    [EdgeKind::Call, EdgeKind::Messaging, EdgeKind::Database, EdgeKind::External, EdgeKind::Entry];

fn write_flow(writer: &mut Writer, flow: Flow) {
    match flow {
        Flow::Edge(EdgeKey { kind, source, target }) => {
            writer.byte(0);
            writer.byte(EDGE_KINDS.iter().position(|k| *k == kind).unwrap_or(0) as u8);
            write_node(writer, source);
            write_node(writer, target);
        }
        Flow::Peer(Peer { service, named }) => {
            writer.byte(1);
            writer.number(service);
            named.into_iter().for_each(|n| writer.number(n));
        }
        Flow::Caller(Caller { service, named }) => {
            writer.byte(2);
            writer.number(service);
            named.into_iter().for_each(|n| writer.number(n));
        }
    }
}

fn read_flow(reader: &mut Reader<'_>, symbols: &Symbols) -> Option<Flow> {
    let symbol = |reader: &mut Reader<'_>| reader.symbol(symbols);
    match reader.byte()? {
        0 => {
            let kind = *EDGE_KINDS.get(usize::from(reader.byte()?))?;
            let (source, target) = (read_node(reader, symbols)?, read_node(reader, symbols)?);
            Some(Flow::Edge(EdgeKey { kind, source, target }))
        }
        1 => {
            let service = symbol(reader)?;
            let named = [symbol(reader)?, symbol(reader)?, symbol(reader)?, symbol(reader)?];
            Some(Flow::Peer(Peer { service, named }))
        }
        2 => {
            let service = symbol(reader)?;
            Some(Flow::Caller(Caller { service, named: [symbol(reader)?, symbol(reader)?] }))
        }
        _ => None,
    }
}

fn write_node(writer: &mut Writer, node: NodeKey) {
    let (tag, symbols): (u8, &[Symbol]) = match &node {
        NodeKey::Service(s) => (0, &[*s]),
        NodeKey::Database(system, place) => (1, &[*system, *place]),
        NodeKey::Messaging(system, to) => (2, &[*system, *to]),
        NodeKey::External(host) => (3, &[*host]),
        NodeKey::User => (4, &[]),
    };
    writer.byte(tag);
    symbols.iter().for_each(|s| writer.number(*s));
}

fn read_node(reader: &mut Reader<'_>, symbols: &Symbols) -> Option<NodeKey> {
    Some(match reader.byte()? {
        0 => NodeKey::Service(reader.symbol(symbols)?),
        1 => NodeKey::Database(reader.symbol(symbols)?, reader.symbol(symbols)?),
        2 => NodeKey::Messaging(reader.symbol(symbols)?, reader.symbol(symbols)?),
        3 => NodeKey::External(reader.symbol(symbols)?),
        4 => NodeKey::User,
        _ => return None,
    })
}

fn write_known(writer: &mut Writer, known: &[KnownRow]) {
    writer.count(known.len());
    for row in known {
        writer.number(row.name);
        writer.number(row.namespace);
        writer.number(row.address);
        writer.byte(u8::from(row.with_ids));
        writer.number(row.minutes);
    }
}

fn read_known(reader: &mut Reader<'_>, symbols: &Symbols) -> Option<Vec<KnownRow>> {
    let row = |reader: &mut Reader<'_>| {
        Some(KnownRow {
            name: reader.symbol(symbols)?,
            namespace: reader.symbol(symbols)?,
            address: reader.symbol(symbols)?,
            with_ids: reader.byte()? != 0,
            minutes: reader.number()?,
        })
    };
    (0..reader.count()?).map(|_| row(reader)).collect()
}

/// From the symbols of one set to those of another.
pub struct Translation(Vec<Symbol>);

impl Translation {
    pub fn new(from: &Symbols, to: &mut Symbols) -> Self {
        Self((0..from.len()).map(|s| to.intern(from.text(s as Symbol))).collect())
    }

    pub fn symbol(&self, symbol: Symbol) -> Symbol {
        self.0[symbol as usize]
    }

    pub fn flow(&self, flow: Flow) -> Flow {
        match flow {
            Flow::Edge(EdgeKey { kind, source, target }) => {
                Flow::Edge(EdgeKey { kind, source: self.node(source), target: self.node(target) })
            }
            Flow::Peer(Peer { service, named }) => {
                Flow::Peer(Peer { service: self.symbol(service), named: named.map(|n| self.symbol(n)) })
            }
            Flow::Caller(Caller { service, named }) => {
                Flow::Caller(Caller { service: self.symbol(service), named: named.map(|n| self.symbol(n)) })
            }
        }
    }

    fn node(&self, node: NodeKey) -> NodeKey {
        match node {
            NodeKey::Service(s) => NodeKey::Service(self.symbol(s)),
            NodeKey::Database(system, place) => NodeKey::Database(self.symbol(system), self.symbol(place)),
            NodeKey::Messaging(system, to) => NodeKey::Messaging(self.symbol(system), self.symbol(to)),
            NodeKey::External(host) => NodeKey::External(self.symbol(host)),
            NodeKey::User => NodeKey::User,
        }
    }
}
