//! What all rows of a resource, a scope or a metric have in common. Decoded once; the columns are made of it at the end
//! by repeating each value as often as it has rows. Strings here are always checked one by one.

use orrery_model::attribute::{OLD_DEPLOYMENT_ENVIRONMENT, UNKNOWN_SERVICE};
use orrery_model::{Scope, Signal};

use super::any::{Any, write_json_string};
use super::attributes::{Keys, Maps, SetLimits, hash, unique};
use super::fault::Fault;
use super::series;
use super::wire::Wire;
use super::wire::keys::*;

/// A value of a promoted column.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(Vec<u8>),
    Int(i64),
}

/// A resource or an instrumentation scope.
pub(super) struct Shared {
    /// By the position in [`Keys::promoted`].
    pub promoted: Vec<Option<Value>>,
    pub maps: Maps,
    pub dropped_attributes: i64,
    pub schema_url: Vec<u8>,
    /// Of a scope.
    pub name: Vec<u8>,
    pub version: Vec<u8>,
    /// Of a resource: its entity references as OTLP/JSON, empty without any.
    pub entity_refs: Vec<u8>,
    /// Of the identity of a series, zero where the signal has none.
    pub digest: u128,
    /// How many attributes were dropped since a later one has the same key.
    pub duplicate_keys: u64,
}

impl Shared {
    /// Decodes a `Resource`.
    pub fn resource(message: Wire<'_>, schema_url: &[u8], signal: Signal, limits: &SetLimits) -> Result<Self, Fault> {
        let mut shared = Self::new(Scope::Resource, message, 1, schema_url, signal, limits)?;
        let mut wire = message.checked();
        while let Some(key) = wire.key()? {
            match key {
                LEN_1 => drop(wire.bytes()?),
                VARINT_2 => shared.dropped_attributes = i64::from(wire.uint32()?),
                LEN_3 => write_entity_ref(&mut shared.entity_refs, wire.message()?)?,
                _ => wire.skip(key, 0b1110)?,
            }
        }
        if !shared.entity_refs.is_empty() {
            shared.entity_refs.push(b']');
        }
        Ok(shared)
    }

    /// Decodes an `InstrumentationScope`.
    pub fn scope(message: Wire<'_>, schema_url: &[u8], signal: Signal, limits: &SetLimits) -> Result<Self, Fault> {
        let mut shared = Self::new(Scope::Scope, message, 3, schema_url, signal, limits)?;
        let mut wire = message.checked();
        while let Some(key) = wire.key()? {
            match key {
                LEN_1 => shared.name = wire.text()?.to_vec(),
                LEN_2 => shared.version = wire.text()?.to_vec(),
                LEN_3 => drop(wire.bytes()?),
                VARINT_4 => shared.dropped_attributes = i64::from(wire.uint32()?),
                _ => wire.skip(key, 0b1_1110)?,
            }
        }
        if signal == Signal::Metrics {
            shared.digest = series::scope_digest(&shared.name, &shared.version, shared.digest);
        }
        Ok(shared)
    }

    fn new(
        scope: Scope,
        message: Wire<'_>,
        field: u32,
        schema_url: &[u8],
        signal: Signal,
        limits: &SetLimits,
    ) -> Result<Self, Fault> {
        let keys = Keys::of(signal, scope);
        let (attributes, duplicate_keys) = unique(message.checked(), field, limits)?;
        let mut promoted: Vec<Option<Value>> = vec![None; keys.promoted.len()];
        let mut maps = Maps::default();
        for (key, value) in &attributes {
            let place = keys.find(hash(key), key);
            let wanted = place.map(|i| keys.promoted[i].1.value_type);
            match (place, wanted, *value) {
                (Some(i), Some(orrery_model::ValueType::String), Any::String(text)) => {
                    promoted[i] = Some(Value::Text(text.to_vec()));
                }
                (Some(i), Some(orrery_model::ValueType::Int), Any::Int(value)) => promoted[i] = Some(Value::Int(value)),
                _ => {
                    limits.guard.key(hash(key))?;
                    maps.put(0, key, *value, limits.nesting)?;
                }
            }
        }
        if scope == Scope::Resource {
            name_service(keys, &mut promoted, &mut maps);
            name_environment(keys, &attributes, &mut promoted, &mut maps);
        }
        let digest = if signal == Signal::Metrics { series::attributes_digest(attributes, limits)? } else { 0 };
        Ok(Self {
            promoted,
            maps,
            dropped_attributes: 0,
            schema_url: schema_url.to_vec(),
            name: Vec::new(),
            version: Vec::new(),
            entity_refs: Vec::new(),
            digest,
            duplicate_keys,
        })
    }

    /// Bytes that each row takes of what is repeated for it.
    pub fn row_bytes(&self) -> usize {
        let promoted = self.promoted.iter().flatten().map(|value| match value {
            Value::Text(text) => text.len(),
            Value::Int(_) => 8,
        });
        promoted.sum::<usize>()
            + self.maps.values.size_bytes()
            + self.maps.types.size_bytes()
            + self.schema_url.len()
            + self.name.len()
            + self.version.len()
            + self.entity_refs.len()
    }
}

/// Gives a resource without a service name the word for it. Where that word was really sent, or an empty name, the map
/// says so.
fn name_service(keys: &Keys, promoted: &mut [Option<Value>], maps: &mut Maps) {
    let Some(i) = position(keys, "service.name") else { return };
    let sent = match &promoted[i] {
        Some(Value::Text(name)) if !name.is_empty() && name != UNKNOWN_SERVICE.as_bytes() => return,
        Some(Value::Text(name)) => Some(name.clone()),
        _ => None,
    };
    if let Some(name) = sent {
        maps.values.put(0, b"service.name", &name);
    }
    promoted[i] = Some(Value::Text(UNKNOWN_SERVICE.as_bytes().to_vec()));
}

/// Lets the older key fill the environment's column where the newer one is absent. Where both were sent with one value,
/// the newer one goes to the map too, so that the two cases differ.
fn name_environment(keys: &Keys, sent: &[(&[u8], Any<'_>)], promoted: &mut [Option<Value>], maps: &mut Maps) {
    const NEW: &str = "deployment.environment.name";
    let old = sent.iter().find_map(|(key, value)| match value {
        Any::String(text) if *key == OLD_DEPLOYMENT_ENVIRONMENT.as_bytes() => Some(*text),
        _ => None,
    });
    let (Some(old), Some(i)) = (old, position(keys, NEW)) else { return };
    match &promoted[i] {
        None => promoted[i] = Some(Value::Text(old.to_vec())),
        Some(Value::Text(new)) if new == old => maps.values.put(0, NEW.as_bytes(), old),
        Some(_) => {}
    }
}

fn position(keys: &Keys, key: &str) -> Option<usize> {
    keys.find(hash(key.as_bytes()), key.as_bytes())
}

/// Appends one `EntityRef` to an OTLP/JSON array whose end is still open.
fn write_entity_ref(out: &mut Vec<u8>, mut wire: Wire<'_>) -> Result<(), Fault> {
    let (mut schema_url, mut kind, mut id_keys, mut description_keys) = (&[][..], &[][..], Vec::new(), Vec::new());
    while let Some(key) = wire.key()? {
        match key {
            LEN_1 => schema_url = wire.text()?,
            LEN_2 => kind = wire.text()?,
            LEN_3 => id_keys.push(wire.text()?),
            LEN_4 => description_keys.push(wire.text()?),
            _ => wire.skip(key, 0b1_1110)?,
        }
    }
    out.push(if out.is_empty() { b'[' } else { b',' });
    out.push(b'{');
    let mut first = true;
    for (name, value) in [("schemaUrl", schema_url), ("type", kind)] {
        if !value.is_empty() {
            write_member(out, &mut first, name);
            write_json_string(out, value);
        }
    }
    for (name, keys) in [("idKeys", id_keys), ("descriptionKeys", description_keys)] {
        if !keys.is_empty() {
            write_member(out, &mut first, name);
            for (i, key) in keys.into_iter().enumerate() {
                out.push(if i == 0 { b'[' } else { b',' });
                write_json_string(out, key);
            }
            out.push(b']');
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_member(out: &mut Vec<u8>, first: &mut bool, name: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_json_string(out, name.as_bytes());
    out.push(b':');
}

impl Value {
    pub fn text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }
}
