//! OpenTelemetry's published descriptors as a second opinion: random messages in protobuf, and their OTLP/JSON in every
//! spelling that is allowed, made with nothing but the descriptors.

use std::collections::HashMap;

use base64::Engine;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::{Map, Value, json};

use super::super::schema::{Kind, Label, Message};

pub struct Descriptors {
    /// By full name, with the leading dot.
    messages: HashMap<String, DescriptorProto>,
    enums: HashMap<String, EnumDescriptorProto>,
}

/// A small reproducible source of randomness.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ z >> 29
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    /// Integers near the edges as often as any.
    fn integer(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(3),
            1 => u64::MAX - self.below(3),
            2 => (1 << 63) - 1 + self.below(3),
            3 => 0x7fff_ffff + self.below(2),
            4 => self.below(1 << 40),
            _ => self.roll(),
        }
    }

    fn double(&mut self) -> f64 {
        match self.below(7) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            4 => self.below(100) as f64,
            _ => Some(f64::from_bits(self.roll())).filter(|d| d.is_finite()).unwrap_or(1e-300),
        }
    }

    fn text(&mut self) -> String {
        let length = if self.chance(10) { 200 } else { self.below(8) };
        let letters = ['a', 'Z', '"', '\\', '/', '\n', '\u{1}', 'é', '…', '😀', '\u{FFFD}', ' '];
        (0..length).map(|_| letters[self.below(12) as usize]).collect()
    }
}

impl Descriptors {
    pub fn load() -> Self {
        let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS).expect("OpenTelemetry's descriptors");
        let mut this = Self { messages: HashMap::new(), enums: HashMap::new() };
        for file in files.file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                this.add(&package, message);
            }
            for of_file in file.enum_type {
                this.enums.insert(format!("{package}.{}", of_file.name()), of_file);
            }
        }
        this
    }

    fn add(&mut self, scope: &str, message: DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested.clone());
        }
        for nested in &message.enum_type {
            self.enums.insert(format!("{name}.{}", nested.name()), nested.clone());
        }
        self.messages.insert(name, message);
    }

    fn request(&self, name: &str) -> &DescriptorProto {
        self.messages.values().find(|m| m.name() == name).expect("a request")
    }

    /// Fails unless the table and all tables it leads to are what the descriptors say.
    pub fn check(&self, table: &'static Message) {
        self.check_message(table, self.request(table.name), 0);
    }

    fn check_message(&self, table: &'static Message, descriptor: &DescriptorProto, depth: usize) {
        assert_eq!(table.name, descriptor.name());
        assert_eq!(table.fields.len(), descriptor.field.len(), "fields of {}", table.name);
        assert!(table.fields.len() <= 32, "`Seen` has 32 bits");
        for field in table.fields {
            let what = format!("{}.{}", table.name, field.json);
            let proto = descriptor.field.iter().find(|f| f.json_name() == field.json);
            let proto = proto.unwrap_or_else(|| panic!("{what} is no field"));
            assert_eq!(field.number as i32, proto.number(), "{what}");
            let label = match () {
                () if proto.label() == ProtoLabel::Repeated => Label::Repeated,
                () if proto.proto3_optional() => Label::Optional,
                () if proto.oneof_index.is_some() => Label::OneOf,
                () if proto.r#type() == Type::Message => Label::Optional,
                () => Label::Plain,
            };
            assert_eq!(field.label, label, "{what}");
            self.check_kind(field.kind, proto, &what, depth);
        }
    }

    fn check_kind(&self, kind: Kind, proto: &FieldDescriptorProto, what: &str, depth: usize) {
        let wanted = match kind {
            Kind::String => Type::String,
            Kind::Bytes | Kind::Id => Type::Bytes,
            Kind::Bool => Type::Bool,
            Kind::Double => Type::Double,
            Kind::Int32 => Type::Int32,
            Kind::Uint32 => Type::Uint32,
            Kind::Sint32 => Type::Sint32,
            Kind::Fixed32 => Type::Fixed32,
            Kind::Int64 => Type::Int64,
            Kind::Uint64 => Type::Uint64,
            Kind::Fixed64 | Kind::Time => Type::Fixed64,
            Kind::Sfixed64 => Type::Sfixed64,
            Kind::Enum(_) => Type::Enum,
            Kind::Message(_) => Type::Message,
        };
        assert_eq!(proto.r#type(), wanted, "{what}");
        assert_eq!(matches!(kind, Kind::Time), proto.name().ends_with("time_unix_nano"), "{what}");
        assert_eq!(matches!(kind, Kind::Id), is_id(proto), "{what}");
        match kind {
            Kind::Enum(table) => {
                for (number, name) in table.names.iter().enumerate() {
                    let value = &self.enums[proto.type_name()].value[number];
                    let full = format!("{}{name}", table.prefix);
                    assert_eq!((value.number(), value.name()), (number as i32, full.as_str()), "{what}");
                }
                assert_eq!(table.names.len(), self.enums[proto.type_name()].value.len(), "{what}");
            }
            // Values hold values; twelve levels pass every message on the way.
            Kind::Message(table) if depth < 12 => {
                self.check_message(table, &self.messages[proto.type_name()], depth + 1)
            }
            _ => {}
        }
    }

    /// A random message on the wire.
    pub fn random(&self, name: &str, dice: &mut Dice) -> Vec<u8> {
        self.random_message(self.request(name), dice, 0)
    }

    fn random_message(&self, message: &DescriptorProto, dice: &mut Dice, depth: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        let chosen: Vec<_> = (0..message.oneof_decl.len()).map(|_| dice.roll()).collect();
        for field in &message.field {
            if let (Some(group), false) = (field.oneof_index, field.proto3_optional()) {
                let members: Vec<_> = message.field.iter().filter(|f| f.oneof_index == Some(group)).collect();
                let pick = chosen[group as usize] % (members.len() as u64 + 1);
                if members.get(pick as usize).is_none_or(|m| m.number != field.number) {
                    continue;
                }
            }
            let is_message = field.r#type() == Type::Message;
            if is_message && depth > 12 || depth > 3 && dice.chance(3) {
                continue;
            }
            let repeated = field.label() == ProtoLabel::Repeated;
            let count = if repeated { dice.below(3) } else { 1 };
            let packed = repeated && !matches!(field.r#type(), Type::Message | Type::String | Type::Bytes);
            let mut values = Vec::new();
            for _ in 0..count {
                let (wire_type, value) = self.random_value(field, dice, depth);
                if !packed {
                    put_varint(&mut wire, (field.number() as u64) << 3 | wire_type);
                }
                if packed { &mut values } else { &mut wire }.extend(value);
            }
            if packed {
                put_varint(&mut wire, (field.number() as u64) << 3 | 2);
                put_varint(&mut wire, values.len() as u64);
                wire.extend(values);
            }
        }
        wire
    }

    fn random_value(&self, field: &FieldDescriptorProto, dice: &mut Dice, depth: usize) -> (u64, Vec<u8>) {
        let mut out = Vec::new();
        let mut delimited = |bytes: Vec<u8>| {
            put_varint(&mut out, bytes.len() as u64);
            out.extend(bytes);
            2
        };
        let wire_type = match field.r#type() {
            Type::Message => delimited(self.random_message(&self.messages[field.type_name()], dice, depth + 1)),
            Type::String => delimited(dice.text().into_bytes()),
            Type::Bytes => delimited((0..dice.below(20)).map(|_| dice.roll() as u8).collect()),
            Type::Double => {
                out.extend(dice.double().to_le_bytes());
                1
            }
            Type::Fixed64 | Type::Sfixed64 => {
                out.extend(dice.integer().to_le_bytes());
                1
            }
            Type::Fixed32 => {
                out.extend((dice.integer() as u32).to_le_bytes());
                5
            }
            kind => {
                let value = match kind {
                    Type::Bool => dice.below(2),
                    Type::Enum => dice.below(30),
                    Type::Uint32 | Type::Sint32 => u64::from(dice.integer() as u32),
                    Type::Int32 => dice.integer() as i32 as i64 as u64,
                    _ => dice.integer(),
                };
                put_varint(&mut out, value);
                0
            }
        };
        (wire_type, out)
    }

    /// A message as OTLP/JSON, in any of the spellings that are allowed.
    pub fn print(&self, name: &str, wire: &[u8], dice: &mut Dice) -> Value {
        self.print_message(self.request(name), wire, dice)
    }

    fn print_message(&self, message: &DescriptorProto, mut wire: &[u8], dice: &mut Dice) -> Value {
        let mut fields = Map::new();
        if dice.chance(8) {
            fields.insert("aFieldOfTheFuture".into(), json!({"x": [1, null, {"y": "}\"]"}], "z": {}}));
        }
        while !wire.is_empty() {
            let tag = take_varint(&mut wire);
            let field = message.field.iter().find(|f| f.number() as u64 == tag >> 3).expect("a known field");
            let bytes = match tag & 7 {
                0 => {
                    let mut varint = Vec::new();
                    put_varint(&mut varint, take_varint(&mut wire));
                    varint
                }
                1 => take(&mut wire, 8),
                5 => take(&mut wire, 4),
                _ => {
                    let length = take_varint(&mut wire) as usize;
                    take(&mut wire, length)
                }
            };
            let key = field.json_name().to_owned();
            if field.label() != ProtoLabel::Repeated {
                fields.insert(key, self.print_value(field, &mut &bytes[..], dice));
                continue;
            }
            let list = fields.entry(key).or_insert_with(|| json!([])).as_array_mut().expect("a list");
            if matches!(field.r#type(), Type::Message | Type::String) {
                list.push(self.print_value(field, &mut &bytes[..], dice));
            } else {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    list.push(self.print_value(field, &mut rest, dice));
                }
            }
        }
        for field in &message.field {
            if dice.chance(20) && !fields.contains_key(field.json_name()) {
                fields.insert(field.json_name().to_owned(), Value::Null);
            }
        }
        Value::Object(fields)
    }

    fn print_value(&self, field: &FieldDescriptorProto, bytes: &mut &[u8], dice: &mut Dice) -> Value {
        match field.r#type() {
            Type::Message => {
                let all = std::mem::take(bytes);
                self.print_message(&self.messages[field.type_name()], all, dice)
            }
            Type::String => json!(String::from_utf8(std::mem::take(bytes).to_vec()).expect("UTF-8")),
            Type::Bytes if is_id(field) => {
                let upper = dice.chance(2);
                let hex = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
                json!(std::mem::take(bytes).iter().map(hex).collect::<String>())
            }
            Type::Bytes => json!(base64::engine::general_purpose::STANDARD.encode(std::mem::take(bytes))),
            Type::Double => print_double(f64::from_le_bytes(take(bytes, 8).try_into().expect("8")), dice),
            Type::Fixed64 => either(json!(u64::from_le_bytes(take(bytes, 8).try_into().expect("8"))), dice),
            Type::Sfixed64 => either(json!(i64::from_le_bytes(take(bytes, 8).try_into().expect("8"))), dice),
            Type::Fixed32 => either(json!(u32::from_le_bytes(take(bytes, 4).try_into().expect("4"))), dice),
            kind => {
                let value = take_varint(bytes);
                match kind {
                    Type::Bool => json!(value != 0),
                    Type::Int64 | Type::Int32 => either(json!(value as i64), dice),
                    Type::Sint32 => either(json!((value >> 1) as i64 ^ -((value & 1) as i64)), dice),
                    Type::Enum => {
                        let names = &self.enums[field.type_name()].value;
                        let name = names.iter().find(|v| v.number() as u64 == value).filter(|_| dice.chance(2));
                        name.map_or(json!(value), |n| json!(n.name()))
                    }
                    _ => either(json!(value), dice),
                }
            }
        }
    }
}

fn is_id(field: &FieldDescriptorProto) -> bool {
    field.r#type() == Type::Bytes && field.name().ends_with("_id")
}

/// A number, or the string of it.
fn either(number: Value, dice: &mut Dice) -> Value {
    if dice.chance(2) { json!(number.to_string()) } else { number }
}

fn print_double(value: f64, dice: &mut Dice) -> Value {
    match value {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => either(json!(v), dice),
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn take(bytes: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken.to_vec()
}
