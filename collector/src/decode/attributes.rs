//! The attributes of one item: promoted keys to their columns, the others to the maps, keys unique. Never looks at
//! resource or scope.

use std::sync::LazyLock;

use arrow::array::ArrayRef;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use orrery_model::{Promoted, Scope, Signal, Table, ValueType, table};

use super::any::{Any, key_value};
use super::cardinality::Guard;
use super::column::{Column, Map, Numbers, Text, Zeros};
use super::fault::{Fault, Reason};
use super::wire::{Wire, len};

/// A key and its value.
pub(super) type Attribute<'a> = (&'a [u8], Any<'a>);

/// A map of values and the map of their types, as every set of attributes is stored.
#[derive(Default)]
pub(super) struct Maps {
    pub values: Map,
    pub types: Map,
}

impl Maps {
    #[inline]
    pub fn put(&mut self, row: usize, key: &[u8], value: Any<'_>, nesting: usize) -> Result<(), Fault> {
        if let Any::String(text) = value {
            self.values.put(row, key, text);
            return Ok(());
        }
        let out = self.values.open(row, key);
        if let Any::Empty = value {
            self.values.close_null();
        } else {
            value.write_text(out, nesting)?;
            self.values.close();
        }
        self.types.put(row, key, value.value_type().word().as_bytes());
        Ok(())
    }

    pub fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.types.truncate(rows);
    }
}

/// The attributes of something within an item, an event say: all in maps.
pub(super) struct NestedAttributes {
    pub maps: Maps,
    seen: Seen,
}

impl NestedAttributes {
    pub fn new() -> Self {
        Self { maps: Maps::default(), seen: Seen::new() }
    }

    pub fn begin(&mut self) {
        self.seen.begin();
    }

    /// Takes one `KeyValue` of an element.
    pub fn put(&mut self, element: usize, attribute: Wire<'_>, limits: &SetLimits) -> Result<(), Fault> {
        let (key, value) = key_value(attribute)?;
        let hash = hash(key);
        self.seen.note(hash, limits)?;
        limits.guard.key(hash)?;
        if self.seen.repeated { Ok(()) } else { self.maps.put(element, key, value, limits.nesting) }
    }

    /// Ends the attributes of an element, which stand in `field` of `message`. Returns how many were dropped since a
    /// later one has the same key.
    pub fn end(&mut self, element: usize, message: Wire<'_>, field: u32, limits: &SetLimits) -> Result<u64, Fault> {
        if !self.seen.repeated {
            return Ok(0);
        }
        self.maps.truncate(element);
        let (unique, dropped) = unique(message, field, limits)?;
        for (key, value) in unique {
            self.maps.put(element, key, value, limits.nesting)?;
        }
        Ok(dropped)
    }
}

/// The limits on one set of attributes.
#[derive(Clone, Copy)]
pub(super) struct SetLimits<'a> {
    pub attributes: usize,
    pub nesting: usize,
    /// Of all that the tenant sends.
    pub guard: &'a Guard<'a>,
}

/// The keys of the set that is being decoded, by hash: says that a key may have been there before. A false alarm only
/// costs the slow way.
pub(super) struct Seen {
    slots: Vec<(u32, u32)>,
    round: u32,
    count: usize,
    pub repeated: bool,
}

impl Seen {
    pub fn new() -> Self {
        Self { slots: vec![(0, 0); 64], round: 0, count: 0, repeated: false }
    }

    pub fn begin(&mut self) {
        self.round += 1;
        self.count = 0;
        self.repeated = false;
    }

    /// Notes a key by its hash, unless it may be there already.
    #[inline]
    pub fn note(&mut self, hash: u64, limits: &SetLimits) -> Result<(), Fault> {
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
        if self.count > limits.attributes {
            return Err(Fault::Reject(Reason::Attributes { limit: limits.attributes }));
        }
        let mask = self.slots.len() - 1;
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & mask;
        while self.slots[at].0 == self.round {
            if self.slots[at].1 == tag {
                self.repeated = true;
                return Ok(());
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = (self.round, tag);
        Ok(())
    }

    /// Doubles the room. Where each tag stood depended on bits that are gone, so the set takes the slow way.
    #[cold]
    fn grow(&mut self) {
        let len = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(len, (0, 0));
        self.repeated = true;
    }
}

/// A hash of all bytes of a key, for tables that live as long as a request.
#[inline]
pub(super) fn hash(key: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (key.len() as u64).wrapping_mul(K);
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(K);
        state ^= state >> 32;
    };
    if let (Some(first), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        mix(u64::from_le_bytes(*first));
        key[8..].as_chunks::<8>().0.iter().for_each(|chunk| mix(u64::from_le_bytes(*chunk)));
        mix(u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        mix(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32);
    } else {
        mix(key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    state ^ state >> 29
}

/// The attributes of a message that stand in `field`, keys unique: of a key that repeats, the last. And how many were
/// dropped for that.
pub(super) fn unique<'a>(
    mut message: Wire<'a>,
    field: u32,
    limits: &SetLimits,
) -> Result<(Vec<Attribute<'a>>, u64), Fault> {
    let mut all = Vec::new();
    while let Some(key) = message.key()? {
        if key == len(field) {
            all.push(key_value(message.message()?)?);
            if all.len() > limits.attributes {
                return Err(Fault::Reject(Reason::Attributes { limit: limits.attributes }));
            }
        } else {
            message.skip_value(key, 0)?;
        }
    }
    let dropped = keep_last(&mut all);
    Ok((all, dropped))
}

/// Keeps the last of the attributes that share a key; returns how many went.
fn keep_last(attributes: &mut Vec<Attribute<'_>>) -> u64 {
    let mut last = hashbrown::HashMap::with_capacity(attributes.len());
    for (i, (key, _)) in attributes.iter().enumerate() {
        last.insert(*key, i);
    }
    let before = attributes.len();
    let mut i = 0;
    attributes.retain(|(key, _)| {
        i += 1;
        last.get(key) == Some(&(i - 1))
    });
    (before - attributes.len()) as u64
}

/// The promoted keys of one scope of a signal, found by hash.
pub(super) struct Keys {
    /// 0 for none, else one more than the index in `promoted`.
    slots: [u8; 256],
    pub promoted: Vec<(usize, &'static Promoted)>,
}

impl Keys {
    fn new(table: &Table, scope: Scope) -> Self {
        let promoted: Vec<_> = table.promoted().filter(|(_, p)| p.scope == scope).collect();
        assert!(promoted.len() < 128, "the table of promoted keys stays sparse");
        let mut slots = [0; 256];
        for (i, (_, p)) in promoted.iter().enumerate() {
            let mut at = hash(p.key.as_bytes()) as usize % 256;
            while slots[at] != 0 {
                at = (at + 1) % 256;
            }
            slots[at] = i as u8 + 1;
        }
        Self { slots, promoted }
    }

    pub fn of(signal: Signal, scope: Scope) -> &'static Self {
        static ALL: LazyLock<Vec<Keys>> = LazyLock::new(|| {
            let of = |signal| Scope::ALL.map(|scope| Keys::new(table(signal), scope));
            Signal::ALL.into_iter().flat_map(of).collect()
        });
        &ALL[(signal as usize - 1) * Scope::ALL.len() + scope as usize]
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mut at = hash as usize % 256;
        while let Some(i) = usize::from(self.slots[at]).checked_sub(1) {
            if self.promoted[i].1.key.as_bytes() == key {
                return Some(i);
            }
            at = (at + 1) % 256;
        }
        None
    }
}

/// A promoted column.
enum PromotedColumn {
    Text(Text),
    Int(Numbers<Int64Type>),
}

impl PromotedColumn {
    fn as_column(&mut self) -> &mut dyn Column {
        match self {
            Self::Text(column) => column,
            Self::Int(column) => column,
        }
    }
}

/// The columns that the attributes of a signal's items go to.
pub(super) struct ItemAttributes {
    keys: &'static Keys,
    promoted: Vec<PromotedColumn>,
    pub others: Maps,
    seen: Seen,
}

impl ItemAttributes {
    pub fn new(signal: Signal) -> Self {
        let keys = Keys::of(signal, Scope::Item);
        let column = |p: &Promoted| match p.value_type {
            ValueType::Int => PromotedColumn::Int(Numbers::nullable()),
            _ => PromotedColumn::Text(Text::default()),
        };
        let promoted = keys.promoted.iter().map(|(_, p)| column(p)).collect();
        Self { keys, promoted, others: Maps::default(), seen: Seen::new() }
    }

    /// Begins the attributes of a row.
    pub fn begin(&mut self) {
        self.seen.begin();
    }

    /// Takes one `KeyValue` of the row.
    #[inline]
    pub fn put(&mut self, row: usize, attribute: Wire<'_>, limits: &SetLimits) -> Result<(), Fault> {
        let (key, value) = key_value(attribute)?;
        let hash = hash(key);
        self.seen.note(hash, limits)?;
        // A set that repeats a key is put anew at its end.
        if self.seen.repeated { Ok(()) } else { self.put_new(row, hash, key, value, limits) }
    }

    #[inline]
    fn put_new(&mut self, row: usize, hash: u64, key: &[u8], value: Any<'_>, limits: &SetLimits) -> Result<(), Fault> {
        if let Some(i) = self.keys.find(hash, key) {
            match (&mut self.promoted[i], value) {
                (PromotedColumn::Text(column), Any::String(text)) => {
                    column.put(row, text);
                    return Ok(());
                }
                (PromotedColumn::Int(column), Any::Int(value)) => {
                    column.put(row, value);
                    return Ok(());
                }
                _ => {}
            }
        }
        limits.guard.key(hash)?;
        self.others.put(row, key, value, limits.nesting)
    }

    /// Takes all attributes of a row at once; `attributes` is left with unique keys, of a key that repeats the last.
    /// Returns how many were dropped for that.
    pub fn put_set<'a>(
        &mut self,
        row: usize,
        attributes: &mut Vec<Attribute<'a>>,
        limits: &SetLimits,
    ) -> Result<u64, Fault> {
        self.seen.begin();
        for (key, _) in attributes.iter() {
            self.seen.note(hash(key), limits)?;
        }
        let dropped = if self.seen.repeated { keep_last(attributes) } else { 0 };
        for (key, value) in attributes.iter() {
            self.put_new(row, hash(key), key, *value, limits)?;
        }
        Ok(dropped)
    }

    /// Ends the attributes of a row, which stand in `field` of `record`. Returns how many were dropped since a later
    /// one has the same key.
    pub fn end(&mut self, row: usize, record: Wire<'_>, field: u32, limits: &SetLimits) -> Result<u64, Fault> {
        if !self.seen.repeated {
            return Ok(0);
        }
        self.truncate(row);
        let (unique, dropped) = unique(record, field, limits)?;
        for (key, value) in unique {
            self.put_new(row, hash(key), key, value, limits)?;
        }
        Ok(dropped)
    }

    pub fn truncate(&mut self, rows: usize) {
        self.promoted.iter_mut().for_each(|column| column.as_column().truncate(rows));
        self.others.truncate(rows);
    }

    /// Puts the finished columns to their places.
    pub fn finish(
        &mut self,
        rows: usize,
        table: &Table,
        zeros: &Zeros,
        arrays: &mut [Option<ArrayRef>],
    ) -> Result<(), ArrowError> {
        for ((index, _), column) in self.keys.promoted.iter().zip(&mut self.promoted) {
            arrays[*index] = Some(column.as_column().finish(rows, table.schema.field(*index).data_type(), zeros)?);
        }
        for (name, map) in
            [(Scope::Item.other_name(), &mut self.others.values), (Scope::Item.types_name(), &mut self.others.types)]
        {
            let index = table.index_of(name);
            arrays[index] = Some(map.finish(rows, table.schema.field(index).data_type(), zeros)?);
        }
        Ok(())
    }
}
