//! The identity of a metric series: XXH3-128 over a canonical encoding, version 1 (`storage/FORMAT.md`, "Series ids").
//! Never changes for a version, since the ids are stored.
//!
//! ```text
//! attributes = for each, ordered by key bytes: string(key) u8(type) string(text form)
//! string(s)  = u32(length) s                            all integers little-endian
//! resource   = XXH3-128(attributes)                     16 bytes, big-endian, as are all digests
//! scope      = XXH3-128(string(name) string(version) XXH3-128(attributes))
//! metric     = XXH3-128(u8(1) resource scope string(name) string(type) string(unit) string(temporality))
//! series     = XXH3-128(metric attributes)              shown as 32 lower-case hex digits
//! ```

use orrery_model::ValueType;
use xxhash_rust::xxh3::xxh3_128;

use super::any::Any;
use super::attributes::SetLimits;
use super::fault::Fault;

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The digest of a set of attributes whose keys are unique.
pub(super) fn attributes_digest(mut attributes: Vec<(&[u8], Any<'_>)>, limits: &SetLimits) -> Result<u128, Fault> {
    let mut out = Vec::new();
    write_attributes(&mut out, &mut attributes, limits)?;
    Ok(xxh3_128(&out))
}

pub(super) fn scope_digest(name: &[u8], version: &[u8], attributes: u128) -> u128 {
    let mut out = Vec::new();
    write_string(&mut out, name);
    write_string(&mut out, version);
    out.extend_from_slice(&attributes.to_be_bytes());
    xxh3_128(&out)
}

/// What the ids of all points of a metric begin with.
pub(super) fn metric_digest(resource: u128, scope: u128, identity: [&[u8]; 4]) -> u128 {
    let mut out = vec![VERSION];
    out.extend_from_slice(&resource.to_be_bytes());
    out.extend_from_slice(&scope.to_be_bytes());
    identity.into_iter().for_each(|part| write_string(&mut out, part));
    xxh3_128(&out)
}

/// Gives ids to the points of a metric; `scratch` is room to work in.
pub(super) fn series_id(
    metric: u128,
    attributes: &mut [(&[u8], Any<'_>)],
    limits: &SetLimits,
    scratch: &mut Vec<u8>,
) -> Result<u128, Fault> {
    scratch.clear();
    scratch.extend_from_slice(&metric.to_be_bytes());
    write_attributes(scratch, attributes, limits)?;
    Ok(xxh3_128(scratch))
}

fn write_attributes(out: &mut Vec<u8>, attributes: &mut [(&[u8], Any<'_>)], limits: &SetLimits) -> Result<(), Fault> {
    attributes.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in attributes {
        write_string(out, key);
        out.push(type_tag(value.value_type()));
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        value.write_text(out, limits.nesting)?;
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

const fn type_tag(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::Empty => 0,
        ValueType::String => 1,
        ValueType::Bool => 2,
        ValueType::Int => 3,
        ValueType::Double => 4,
        ValueType::Bytes => 5,
        ValueType::Array => 6,
        ValueType::Kvlist => 7,
    }
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}
