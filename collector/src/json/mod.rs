//! OTLP/JSON to OTLP protobuf, at the door: one pass over the bytes, driven by the tables of [`schema`], straight onto the
//! wire format. Follows "JSON Protobuf Encoding" of the OTLP specification: ids in hex of either case, enumerations as
//! numbers (names are taken too), 64-bit numbers as strings or numbers, `NaN` and the infinities as strings, null as
//! absent, unknown fields ignored. Never builds messages in memory, and never looks at what the values mean.

mod number;
mod reader;
pub mod schema;

use std::fmt;

use orrery_model::Signal;
use reader::{Failure, Read, Reader, Step};
use schema::{Enum, Field, Kind, Label, Message};

/// A request in protobuf.
#[derive(Debug)]
pub struct Transcoded {
    pub protobuf: Vec<u8>,
    /// A field that was ignored and probably not meant to be: `resource_spans` for `resourceSpans`.
    pub warning: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct JsonLimits {
    /// Of the protobuf that comes out.
    pub bytes: usize,
    /// Levels of `AnyValue` within one another that are carried over. The levels below are left out: to be set higher than
    /// the decoder's own limit, which then rejects the one record rather than this the whole request.
    pub value_depth: usize,
}

/// What is wrong with the JSON, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonError {
    /// As in `resourceSpans[0].scopeSpans[2].spans[17].kind`; empty for the request itself.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    pub message: String,
    /// The result would be larger than [`JsonLimits::bytes`].
    pub too_large: bool,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, message, .. } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{path}{colon}{message} (line {line}, column {column})")
    }
}

impl std::error::Error for JsonError {}

/// Turns an OTLP/JSON `Export*ServiceRequest` into protobuf.
pub fn transcode(signal: Signal, json: &[u8], limits: JsonLimits) -> Result<Transcoded, JsonError> {
    let mut transcoder = Transcoder {
        reader: Reader::new(json),
        out: Vec::with_capacity((json.len() / 2).min(limits.bytes)),
        scratch: Vec::new(),
        limits,
        value_depth: 0,
        warning: None,
    };
    let result = transcoder.message(schema::request(signal)).and_then(|()| transcoder.reader.end());
    match result {
        Ok(()) => Ok(Transcoded { protobuf: transcoder.out, warning: transcoder.warning }),
        Err(failure) => Err(located(json, *failure)),
    }
}

struct Transcoder<'a> {
    reader: Reader<'a>,
    out: Vec<u8>,
    /// Bytes of an id on their way out.
    scratch: Vec<u8>,
    limits: JsonLimits,
    /// How many `AnyValue` enclose the reader's position.
    value_depth: usize,
    warning: Option<String>,
}

impl Transcoder<'_> {
    fn message(&mut self, message: &'static Message) -> Read<()> {
        self.reader.expect(b'{')?;
        if self.reader.eat(b'}') {
            return Ok(());
        }
        let mut seen = Seen::default();
        let mut guess = 0;
        loop {
            let offset = self.reader.offset();
            if self.reader.peek() != b'"' {
                return Err(self.reader.unexpected("a field name"));
            }
            let key = self.reader.string()?;
            self.reader.expect(b':')?;
            match find(message, &key, guess) {
                None => {
                    self.warn_of(message, &key);
                    self.reader.skip_value()?;
                }
                Some(index) => {
                    guess = index + 1;
                    let field = &message.fields[index];
                    if !self.reader.null()? {
                        seen.mark(index, field, offset)?;
                        self.field(field).map_err(|failure| within(failure, Step::Field(field.json)))?;
                    }
                }
            }
            if !self.reader.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn field(&mut self, field: &'static Field) -> Read<()> {
        match (field.label, field.kind) {
            (Label::Repeated, Kind::Message(message)) => self.list(|this, _| {
                // Null in an array of values is the empty value; among spans, attributes and so on it is nothing.
                if !is_any_value(message) && this.reader.null()? { Ok(()) } else { this.nested(field.number, message) }
            }),
            (Label::Repeated, Kind::String) => self.list(|this, _| {
                let text = this.reader.string()?;
                this.put_bytes(field.number, &text);
                Ok(())
            }),
            (Label::Repeated, kind) => {
                let start = self.open(field.number);
                self.list(|this, offset| this.scalar(kind, offset, None, true))?;
                self.close(start);
                Ok(())
            }
            (_, Kind::Message(message)) => self.nested(field.number, message),
            (label, kind) => {
                let offset = self.reader.offset();
                self.scalar(kind, offset, Some(field.number), label != Label::Plain)
            }
        }
    }

    /// Each element of an array.
    fn list(&mut self, mut element: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<()> {
        self.reader.expect(b'[')?;
        if self.reader.eat(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            let offset = self.reader.offset();
            element(self, offset)
                .and_then(|()| self.check_size(offset))
                .map_err(|failure| within(failure, Step::Index(index)))?;
            index += 1;
            if !self.reader.more(b']')? {
                return Ok(());
            }
        }
    }

    fn nested(&mut self, number: u32, message: &'static Message) -> Read<()> {
        let level = usize::from(is_any_value(message));
        self.value_depth += level;
        let start = self.open(number);
        if self.value_depth > self.limits.value_depth {
            self.reader.skip_value()?;
        } else if !self.reader.null()? {
            self.message(message)?;
        }
        self.close(start);
        self.value_depth -= level;
        Ok(())
    }

    /// One scalar value, with its tag or as an element of a packed list. Unless `explicit`, the default is not written.
    fn scalar(&mut self, kind: Kind, offset: usize, tag: Option<u32>, explicit: bool) -> Read<()> {
        let wrong = |message: String| Failure::new(offset, message);
        match kind {
            Kind::String => {
                let text = self.reader.string()?;
                if explicit || !text.is_empty() {
                    self.put_bytes(tag.unwrap_or_default(), &text);
                }
            }
            Kind::Bytes => {
                let bytes = number::base64(&self.reader.string()?).map_err(wrong)?;
                if explicit || !bytes.is_empty() {
                    self.put_bytes(tag.unwrap_or_default(), &bytes);
                }
            }
            Kind::Id => {
                let mut id = std::mem::take(&mut self.scratch);
                id.clear();
                number::hex(&self.reader.string()?, &mut id).map_err(wrong)?;
                if explicit || !id.is_empty() {
                    self.put_bytes(tag.unwrap_or_default(), &id);
                }
                self.scratch = id;
            }
            Kind::Double => {
                let value = number::double(&self.reader.number_text()?).map_err(wrong)?;
                if explicit || value.to_bits() != 0 {
                    self.put_fixed64(tag, value.to_bits());
                }
            }
            Kind::Bool => {
                let value = self.reader.bool()?;
                if explicit || value {
                    self.put_varint(tag, u64::from(value));
                }
            }
            Kind::Enum(names) => {
                let value = self.enumeration(names).map_err(wrong)?;
                if explicit || value != 0 {
                    self.put_varint(tag, value as u64);
                }
            }
            kind => {
                let value = number::integer(&self.reader.number_text()?).map_err(wrong)?;
                let value = in_range(kind, value).map_err(wrong)?;
                if explicit || value != 0 {
                    self.put_integer(kind, tag, value);
                }
            }
        }
        Ok(())
    }

    fn put_integer(&mut self, kind: Kind, tag: Option<u32>, value: i128) {
        match kind {
            Kind::Fixed32 => {
                self.put_tag(tag, 5);
                self.out.extend_from_slice(&(value as u32).to_le_bytes());
            }
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Time => self.put_fixed64(tag, value as u64),
            Kind::Sint32 => self.put_varint(tag, u64::from(((value as i32) << 1 ^ (value as i32) >> 31) as u32)),
            _ => self.put_varint(tag, value as u64),
        }
    }

    /// An enumeration's number, from a number or a name; a number that no name has is kept.
    fn enumeration(&mut self, names: &'static Enum) -> Result<i64, String> {
        let text = self.reader.number_text().map_err(|failure| failure.message)?;
        if let [b'-' | b'0'..=b'9', ..] = &*text {
            let value = number::integer(&text)?;
            return i32::try_from(value).map(i64::from).map_err(|_| format!("{value} is not an enum's number"));
        }
        let name = text.strip_prefix(names.prefix.as_bytes()).unwrap_or_default();
        let known = names.names.iter().position(|n| n.as_bytes() == name);
        known.map(|n| n as i64).ok_or_else(|| format!("{} is not one of {}*", number::shown(&text), names.prefix))
    }

    /// Writes the tag of a length-delimited field and leaves a byte for its length.
    fn open(&mut self, number: u32) -> usize {
        self.put_tag(Some(number), 2);
        self.out.push(0);
        self.out.len()
    }

    /// Writes the length of what followed [`Self::open`], moving it when the length takes more than the one byte.
    fn close(&mut self, start: usize) {
        let length = self.out.len() - start;
        if length < 0x80 {
            self.out[start - 1] = length as u8;
            return;
        }
        let mut varint = [0; 10];
        let written = encode_varint(length as u64, &mut varint);
        let end = self.out.len();
        self.out.resize(end + written - 1, 0);
        self.out.copy_within(start..end, start + written - 1);
        self.out[start - 1..start - 1 + written].copy_from_slice(&varint[..written]);
    }

    fn put_bytes(&mut self, number: u32, bytes: &[u8]) {
        self.put_tag(Some(number), 2);
        self.put_varint(None, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn put_fixed64(&mut self, tag: Option<u32>, value: u64) {
        self.put_tag(tag, 1);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn put_varint(&mut self, tag: Option<u32>, value: u64) {
        self.put_tag(tag, 0);
        let mut varint = [0; 10];
        let written = encode_varint(value, &mut varint);
        self.out.extend_from_slice(&varint[..written]);
    }

    fn put_tag(&mut self, tag: Option<u32>, wire_type: u32) {
        if let Some(number) = tag {
            let mut varint = [0; 10];
            let written = encode_varint(u64::from(number << 3 | wire_type), &mut varint);
            self.out.extend_from_slice(&varint[..written]);
        }
    }

    fn check_size(&self, offset: usize) -> Read<()> {
        if self.out.len() <= self.limits.bytes {
            return Ok(());
        }
        let mut failure = Failure::new(offset, format!("the request in protobuf exceeds {} bytes", self.limits.bytes));
        failure.too_large = true;
        Err(failure)
    }

    /// Remembers the first ignored field that spells a known one in another way.
    fn warn_of(&mut self, message: &Message, key: &[u8]) {
        if self.warning.is_some() || key.len() > 64 {
            return;
        }
        let letters =
            |name: &[u8]| -> Vec<u8> { name.iter().filter(|b| **b != b'_').map(u8::to_ascii_lowercase).collect() };
        let meant = message.fields.iter().find(|f| letters(f.json.as_bytes()) == letters(key));
        self.warning = meant.map(|field| {
            let found = number::shown(key);
            format!(
                "{found} is no field of {} in OTLP/JSON and was ignored; it is spelled \"{}\"",
                message.name, field.json
            )
        });
    }
}

/// Which fields of a message were read, so that none is read twice and only one of a `oneof`.
#[derive(Default)]
struct Seen {
    fields: u32,
    one_of: bool,
}

impl Seen {
    fn mark(&mut self, index: usize, field: &Field, offset: usize) -> Read<()> {
        if self.fields & 1 << index != 0 {
            return Err(Failure::new(offset, format!("\"{}\" is there twice", field.json)));
        }
        self.fields |= 1 << index;
        if field.label == Label::OneOf && std::mem::replace(&mut self.one_of, true) {
            return Err(Failure::new(offset, format!("\"{}\" is there beside another value", field.json)));
        }
        Ok(())
    }
}

/// The field of that name. Senders write fields in a fixed order, so the one after the last found is tried first.
fn find(message: &Message, key: &[u8], guess: usize) -> Option<usize> {
    let is_key = |field: &Field| field.json.as_bytes() == key;
    if message.fields.get(guess).is_some_and(is_key) {
        return Some(guess);
    }
    message.fields.iter().position(is_key)
}

fn is_any_value(message: &'static Message) -> bool {
    std::ptr::eq(message, &raw const schema::ANY_VALUE)
}

fn in_range(kind: Kind, value: i128) -> Result<i128, String> {
    let (low, high, name) = match kind {
        Kind::Time => return Ok(time_bits(value)),
        Kind::Int32 | Kind::Sint32 => (i128::from(i32::MIN), i128::from(i32::MAX), "a signed 32-bit"),
        Kind::Uint32 | Kind::Fixed32 => (0, i128::from(u32::MAX), "an unsigned 32-bit"),
        Kind::Uint64 | Kind::Fixed64 => (0, i128::from(u64::MAX), "an unsigned 64-bit"),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX), "a signed 64-bit"),
    };
    if (low..=high).contains(&value) { Ok(value) } else { Err(format!("{value} does not fit in {name} integer")) }
}

/// A time's 64 bits: a negative one as a careless sender's two's complement has it, one beyond as the largest. Both lie
/// above 2^63, where the decoder rejects the record.
fn time_bits(value: i128) -> i128 {
    let bits =
        if value < 0 { value.max(i128::from(i64::MIN)) as i64 as u64 } else { value.min(u64::MAX.into()) as u64 };
    i128::from(bits)
}

fn encode_varint(mut value: u64, out: &mut [u8; 10]) -> usize {
    let mut written = 0;
    while value >= 0x80 {
        out[written] = value as u8 | 0x80;
        value >>= 7;
        written += 1;
    }
    out[written] = value as u8;
    written + 1
}

fn within(mut failure: Box<Failure>, step: Step) -> Box<Failure> {
    failure.path.push(step);
    failure
}

fn located(json: &[u8], failure: Failure) -> JsonError {
    let before = &json[..failure.offset.min(json.len())];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |n| n + 1) + 1;
    let mut path = String::new();
    for step in failure.path.iter().rev() {
        match step {
            Step::Field(name) if path.is_empty() => path.push_str(name),
            Step::Field(name) => path.extend([".", name]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    JsonError { path, line, column, message: failure.message, too_large: failure.too_large }
}

#[cfg(test)]
mod tests;
