//! `AnyValue` and `KeyValue` as views of the wire, and the text form in which values are stored. Never decides which
//! column a value goes to.
//!
//! The text form (the type is stored beside it): a string as it is; `true` and `false`; integers in decimal; doubles
//! with the fewest digits that read back the same, always with `.`, `e`, `NaN` or `Infinity`; bytes in base64; arrays
//! and lists in JSON. Within JSON a string, boolean, integer and double is the plain JSON value, an array a JSON array, a
//! list of keys and values a JSON object; what JSON cannot say is the object that OTLP/JSON has for it:
//! `{"bytesValue":"…"}`, `{"doubleValue":"NaN"}`, `{}` for an empty value, and `{"kvlistValue":{"values":[{"key":…,
//! "value":…}]}}` for a list that is empty, repeats a key, or could be taken for one of these objects.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use orrery_model::ValueType;

use super::fault::{Fault, Reason};
use super::wire::keys::*;
use super::wire::{Wire, len};

/// A value, nothing of it decoded beyond its type.
#[derive(Clone, Copy)]
pub(super) enum Any<'a> {
    Empty,
    String(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(Wire<'a>),
    Kvlist(Wire<'a>),
}

const ANY_FIELDS: u32 = 0b1_1111_1110;
const KEY_VALUE_FIELDS: u32 = 0b1110;
const LIST_FIELDS: u32 = 0b10;

impl<'a> Any<'a> {
    /// Reads an `AnyValue`. The last field that is set wins. The index into a string table (field 8) belongs to the
    /// profiles signal alone; OTLP asks everyone else to take such a value for an empty one.
    #[inline]
    pub fn read(mut wire: Wire<'a>) -> Result<Self, Fault> {
        let mut value = Self::Empty;
        while let Some(key) = wire.key()? {
            if matches!(value, Self::Array(_) | Self::Kvlist(_)) {
                // Whatever follows replaces the message or has to be merged with it.
                return Err(Fault::Irregular);
            }
            value = match key {
                LEN_1 => Self::String(wire.text()?),
                VARINT_2 => Self::Bool(wire.varint()? != 0),
                VARINT_3 => Self::Int(wire.varint()? as i64),
                FIXED64_4 => Self::Double(wire.double()?),
                LEN_5 => Self::Array(wire.message()?),
                LEN_6 => Self::Kvlist(wire.message()?),
                LEN_7 => Self::Bytes(wire.bytes()?),
                VARINT_8 => {
                    wire.varint()?;
                    Self::Empty
                }
                _ => {
                    wire.skip(key, ANY_FIELDS)?;
                    value
                }
            };
        }
        Ok(value)
    }

    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Empty => ValueType::Empty,
            Self::String(_) => ValueType::String,
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Double(_) => ValueType::Double,
            Self::Bytes(_) => ValueType::Bytes,
            Self::Array(_) => ValueType::Array,
            Self::Kvlist(_) => ValueType::Kvlist,
        }
    }

    /// Appends the text form, nothing for an empty value. `nesting` levels of arrays and lists are allowed.
    pub fn write_text(self, out: &mut Vec<u8>, nesting: usize) -> Result<(), Fault> {
        match self {
            Self::Empty => {}
            Self::String(text) => out.extend_from_slice(text),
            Self::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Self::Int(value) => write_int(out, value),
            Self::Double(value) => write_double(out, value),
            Self::Bytes(bytes) => write_base64(out, bytes),
            Self::Array(wire) => write_array(out, wire, Levels::new(nesting))?,
            Self::Kvlist(wire) => write_kvlist(out, wire, Levels::new(nesting), true)?,
        }
        Ok(())
    }
}

/// Reads a `KeyValue`. Its index into a string table (field 3) is of the profiles signal, see [`Any::read`].
#[inline]
pub(super) fn key_value(mut wire: Wire<'_>) -> Result<(&[u8], Any<'_>), Fault> {
    let (mut key, mut value) = (&[][..], None);
    while let Some(field) = wire.key()? {
        match field {
            LEN_1 => key = wire.text()?,
            LEN_2 => {
                if value.is_some() {
                    return Err(Fault::Irregular);
                }
                value = Some(Any::read(wire.message()?)?);
            }
            VARINT_3 => drop(wire.varint()?),
            _ => wire.skip(field, KEY_VALUE_FIELDS)?,
        }
    }
    Ok((key, value.unwrap_or(Any::Empty)))
}

/// How deep a value may go yet.
#[derive(Clone, Copy)]
struct Levels {
    left: usize,
    limit: usize,
}

impl Levels {
    fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }

    fn inner(self) -> Result<Self, Fault> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(Fault::Reject(Reason::Nesting { limit: self.limit })),
        }
    }
}

fn write_json(out: &mut Vec<u8>, value: Any<'_>, levels: Levels) -> Result<(), Fault> {
    match value {
        Any::Empty => out.extend_from_slice(b"{}"),
        Any::String(text) => write_json_string(out, text),
        Any::Double(value) if !value.is_finite() => {
            out.extend_from_slice(b"{\"doubleValue\":\"");
            write_double(out, value);
            out.extend_from_slice(b"\"}");
        }
        Any::Bytes(bytes) => {
            out.extend_from_slice(b"{\"bytesValue\":\"");
            write_base64(out, bytes);
            out.extend_from_slice(b"\"}");
        }
        Any::Bool(_) | Any::Int(_) | Any::Double(_) => value.write_text(out, 0)?,
        Any::Array(wire) => write_array(out, wire, levels)?,
        Any::Kvlist(wire) => write_kvlist(out, wire, levels, false)?,
    }
    Ok(())
}

fn write_array(out: &mut Vec<u8>, mut wire: Wire<'_>, levels: Levels) -> Result<(), Fault> {
    let levels = levels.inner()?;
    out.push(b'[');
    let mut first = true;
    while let Some(field) = wire.key()? {
        if field != len(1) {
            wire.skip(field, LIST_FIELDS)?;
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_json(out, Any::read(wire.message()?)?, levels)?;
    }
    out.push(b']');
    Ok(())
}

fn write_kvlist(out: &mut Vec<u8>, mut wire: Wire<'_>, levels: Levels, outermost: bool) -> Result<(), Fault> {
    let levels = levels.inner()?;
    let mut entries = Vec::new();
    while let Some(field) = wire.key()? {
        match field {
            LEN_1 => entries.push(key_value(wire.message()?)?),
            _ => wire.skip(field, LIST_FIELDS)?,
        }
    }
    let plain = is_plain(&entries, outermost);
    out.extend_from_slice(if plain { b"{" } else { b"{\"kvlistValue\":{\"values\":[" });
    for (i, (key, value)) in entries.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if plain {
            write_json_string(out, key);
            out.push(b':');
            write_json(out, value, levels)?;
        } else {
            out.extend_from_slice(b"{\"key\":");
            write_json_string(out, key);
            out.extend_from_slice(b",\"value\":");
            write_json(out, value, levels)?;
            out.push(b'}');
        }
    }
    out.extend_from_slice(if plain { b"}" } else { b"]}}" });
    Ok(())
}

/// Whether a JSON object with these keys can be taken for nothing but the list.
fn is_plain(entries: &[(&[u8], Any<'_>)], outermost: bool) -> bool {
    match entries {
        [] => outermost,
        [(key, _)] => !matches!(*key, b"bytesValue" | b"doubleValue" | b"kvlistValue"),
        _ => {
            let mut keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            keys.windows(2).all(|pair| pair[0] != pair[1])
        }
    }
}

/// Appends an integer in decimal.
#[inline]
pub(super) fn write_int(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

fn write_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        write!(out, "{value:?}").expect("a vector takes every write");
    } else {
        let word: &[u8] = match value {
            f64::INFINITY => b"Infinity",
            f64::NEG_INFINITY => b"-Infinity",
            _ => b"NaN",
        };
        out.extend_from_slice(word);
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("the space is four bytes for each three");
}

/// Appends a JSON string. Bytes that are no UTF-8 are passed on, for the check of the whole column to find.
pub(super) fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => write!(out, "\\u{byte:04x}").expect("a vector takes every write"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
