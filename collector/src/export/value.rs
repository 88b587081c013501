//! Reads the text form of attribute values (`decode/any.rs` says what it is). Accepts what is written there, not any
//! JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, KeyValue, KeyValueList, any_value::Value,
};
use orrery_model::ValueType;

use super::ExportError;

/// The value of a type from its text; an empty value has none.
pub(super) fn value(value_type: ValueType, text: &str) -> Result<AnyValue, ExportError> {
    let bad = || ExportError::Text { what: "an attribute value", text: text.chars().take(80).collect() };
    let value = match value_type {
        ValueType::Empty => None,
        ValueType::String => Some(Value::StringValue(text.to_owned())),
        ValueType::Bool => Some(Value::BoolValue(text.parse().map_err(|_| bad())?)),
        ValueType::Int => Some(Value::IntValue(text.parse().map_err(|_| bad())?)),
        ValueType::Double => Some(Value::DoubleValue(text.parse().map_err(|_| bad())?)),
        ValueType::Bytes => Some(Value::BytesValue(BASE64.decode(text).map_err(|_| bad())?)),
        ValueType::Array => json(text).ok_or_else(bad)?.value,
        // Only within other values is `{}` an empty value.
        ValueType::Kvlist => {
            Some(json(text).ok_or_else(bad)?.value.unwrap_or(Value::KvlistValue(KeyValueList::default())))
        }
    };
    Ok(AnyValue { value })
}

/// The entity references of a resource from their OTLP/JSON.
pub(super) fn entity_refs(text: &str) -> Result<Vec<EntityRef>, ExportError> {
    let bad = || ExportError::Text { what: "entity references", text: text.chars().take(80).collect() };
    let Some(Value::ArrayValue(array)) = json(text).ok_or_else(bad)?.value else { return Err(bad()) };
    let entity_ref = |any: AnyValue| {
        let fields = match any.value {
            Some(Value::KvlistValue(list)) => list.values,
            // One without any field.
            None => Vec::new(),
            _ => return None,
        };
        let mut entity_ref =
            EntityRef { schema_url: String::new(), r#type: String::new(), id_keys: vec![], description_keys: vec![] };
        for KeyValue { key, value, key_strindex: _ } in fields {
            match (key.as_str(), value?.value?) {
                ("schemaUrl", Value::StringValue(text)) => entity_ref.schema_url = text,
                ("type", Value::StringValue(text)) => entity_ref.r#type = text,
                ("idKeys", Value::ArrayValue(keys)) => entity_ref.id_keys = strings(keys)?,
                ("descriptionKeys", Value::ArrayValue(keys)) => entity_ref.description_keys = strings(keys)?,
                _ => return None,
            }
        }
        Some(entity_ref)
    };
    array.values.into_iter().map(|any| entity_ref(any).ok_or_else(bad)).collect()
}

fn strings(array: ArrayValue) -> Option<Vec<String>> {
    let string = |any: AnyValue| if let Some(Value::StringValue(text)) = any.value { Some(text) } else { None };
    array.values.into_iter().map(string).collect()
}

/// The value that a JSON text stands for, `None` where it is none.
fn json(text: &str) -> Option<AnyValue> {
    let mut json = Json { text, at: 0 };
    let value = json.value()?;
    (json.at == text.len()).then_some(value)
}

/// A reader of JSON without blanks.
struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl Json<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.text[self.at..].starts_with(token);
        self.at += if taken { token.len() } else { 0 };
        taken
    }

    fn value(&mut self) -> Option<AnyValue> {
        let value = match self.peek()? {
            b'{' => return self.object(),
            b'[' => Value::ArrayValue(ArrayValue { values: self.list("[", "]", Self::value)? }),
            b'"' => Value::StringValue(self.string()?),
            b't' => Value::BoolValue(self.take("true").then_some(true)?),
            b'f' => Value::BoolValue(!self.take("false").then_some(true)?),
            _ => self.number()?,
        };
        Some(AnyValue { value: Some(value) })
    }

    fn list<T>(&mut self, open: &str, close: &str, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.take(open).then_some(())?;
        if self.take(close) {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(close) {
                return Some(items);
            }
            self.take(",").then_some(())?;
        }
    }

    fn object(&mut self) -> Option<AnyValue> {
        let mut values = self.list("{", "}", |json| {
            let key = json.string()?;
            json.take(":").then_some(())?;
            Some(KeyValue { key, value: Some(json.value()?), key_strindex: 0 })
        })?;
        let value = match values.as_mut_slice() {
            [] => None,
            [KeyValue { key, value, key_strindex: _ }] => match (key.as_str(), value.take()?.value) {
                ("bytesValue", Some(Value::StringValue(text))) => Some(Value::BytesValue(BASE64.decode(text).ok()?)),
                ("doubleValue", Some(Value::StringValue(text))) => Some(Value::DoubleValue(text.parse().ok()?)),
                ("kvlistValue", Some(Value::KvlistValue(list))) => Some(Value::KvlistValue(key_values(list)?)),
                (_, inner) => {
                    *value = Some(AnyValue { value: inner });
                    Some(Value::KvlistValue(KeyValueList { values }))
                }
            },
            _ => Some(Value::KvlistValue(KeyValueList { values })),
        };
        Some(AnyValue { value })
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}']).unwrap_or(rest.len());
        self.at += end;
        let number = &rest[..end];
        Some(if number.contains(['.', 'e']) {
            Value::DoubleValue(number.parse().ok()?)
        } else {
            Value::IntValue(number.parse().ok()?)
        })
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"").then_some(())?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(['"', '\\'])?;
            out.push_str(&rest[..plain]);
            let escape = rest.as_bytes().get(plain + 1).copied();
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Some(out);
            }
            self.at += 1;
            out.push(match escape? {
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let code = self.text.get(self.at..self.at + 4)?;
                    self.at += 4;
                    char::from_u32(u32::from_str_radix(code, 16).ok()?)?
                }
                other @ (b'"' | b'\\') => char::from(other),
                _ => return None,
            });
        }
    }
}

/// The list in `{"values":[{"key":…,"value":…}]}`.
fn key_values(list: KeyValueList) -> Option<KeyValueList> {
    let [KeyValue { value: Some(AnyValue { value: Some(Value::ArrayValue(array)) }), .. }] = &list.values[..] else {
        return None;
    };
    let entry = |any: &AnyValue| {
        let Some(Value::KvlistValue(entry)) = &any.value else { return None };
        let [key, value] = &entry.values[..] else { return None };
        let Some(Value::StringValue(key)) = &key.value.as_ref()?.value else { return None };
        Some(KeyValue { key: key.clone(), value: value.value.clone(), key_strindex: 0 })
    };
    Some(KeyValueList { values: array.values.iter().map(entry).collect::<Option<_>>()? })
}
