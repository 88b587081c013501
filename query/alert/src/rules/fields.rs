//! Reading a mapping field by field: which keys it may have, which it must have, and what their values are. Every complaint
//! has its place.

use std::time::Duration;

use super::duration;
use super::yaml::{Fault, Key, Node, Position, Scalar, Value};
use crate::spelling::edits;

/// The fields of a mapping that have not been read yet.
pub struct Fields {
    what: &'static str,
    at: Position,
    entries: Vec<(Key, Node)>,
}

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub at: Position,
    /// Whether the text's lines are the file's: of a literal block, which begins at `at` or with blank lines above it.
    pub literal: bool,
}

impl Fields {
    /// Takes a mapping apart that has no other keys than `known`. `what` names it in messages: `a rule`.
    pub fn of(node: Node, what: &'static str, known: &[&str]) -> Result<Self, Fault> {
        let (kind, at) = (node.kind(), node.at);
        let Value::Map(entries) = node.value else {
            return Err(Fault::new(at, format!("{what} is a mapping, not {kind}")));
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.name.as_str())) {
            let mut message = format!("{what} has no field {}", key.name);
            match nearest(&key.name, known) {
                Some(near) => message += &format!("; did you mean {near}?"),
                None => message += &format!("; its fields are {}", known.join(", ")),
            }
            return Err(Fault::new(key.at, message));
        }
        Ok(Self { what, at, entries })
    }

    pub const fn at(&self) -> Position {
        self.at
    }

    /// Where a field's key stands, the mapping's place where it has none.
    pub fn place_of(&self, name: &str) -> Position {
        self.entries.iter().find(|(key, _)| key.name == name).map_or(self.at, |(key, _)| key.at)
    }

    /// A field's value; one that says nothing counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Node> {
        let index = self.entries.iter().position(|(key, _)| key.name == name)?;
        Some(self.entries.remove(index).1).filter(|node| !node.is_null())
    }

    pub fn required(&mut self, name: &str) -> Result<Node, Fault> {
        let (what, at) = (self.what, self.place_of(name));
        self.take(name).ok_or_else(|| Fault::new(at, format!("{what} needs {name}")))
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<Text>, Fault> {
        self.take(name).map(|node| text(node, name)).transpose()
    }

    /// A text that is there and not blank.
    pub fn required_text(&mut self, name: &'static str) -> Result<Text, Fault> {
        let found = text(self.required(name)?, name)?;
        if found.text.trim().is_empty() {
            return Err(Fault::new(found.at, format!("{name} is empty")));
        }
        Ok(found)
    }

    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Fault> {
        let Some(Text { text, at, .. }) = self.text(name)? else { return Ok(None) };
        duration::parse(&text).map(Some).map_err(|why| Fault::new(at, format!("{name}: {why}")))
    }

    /// A whole number from 0.
    pub fn number(&mut self, name: &'static str) -> Result<Option<u64>, Fault> {
        let Some(Text { text, at, .. }) = self.text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Fault::new(at, format!("{name}: {text:?} is no whole number from 0")))
    }

    /// The elements of a list; none where the field is absent.
    pub fn list(&mut self, name: &'static str) -> Result<Vec<Node>, Fault> {
        self.take(name).map_or(Ok(Vec::new()), |node| list(node, name))
    }

    /// Names and texts in the order of the file; none where the field is absent.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<(Key, Text)>, Fault> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        entries(node, name)?
            .into_iter()
            .map(|(key, node)| {
                if node.is_null() {
                    let empty = Text { text: String::new(), at: node.at, literal: false };
                    return Ok((key, empty));
                }
                let value = text(node, name)?;
                Ok((key, value))
            })
            .collect()
    }
}

pub fn list(node: Node, name: &str) -> Result<Vec<Node>, Fault> {
    let (kind, at) = (node.kind(), node.at);
    match node.value {
        Value::List(elements) => Ok(elements),
        _ => Err(Fault::new(at, format!("{name} is a list, not {kind}"))),
    }
}

pub fn entries(node: Node, name: &str) -> Result<Vec<(Key, Node)>, Fault> {
    let (kind, at) = (node.kind(), node.at);
    match node.value {
        Value::Map(entries) => Ok(entries),
        _ => Err(Fault::new(at, format!("{name} is a mapping, not {kind}"))),
    }
}

pub fn text(node: Node, name: &str) -> Result<Text, Fault> {
    let (kind, at) = (node.kind(), node.at);
    match node.value {
        Value::Scalar(Scalar { text, literal, .. }) => Ok(Text { text, at, literal }),
        _ => Err(Fault::new(at, format!("{name} is a text, not {kind}"))),
    }
}

/// The known name that is at most two edits away, or begins with what was written.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let best = known.iter().map(|known| (edits(&name, known), *known)).min()?;
    (best.0 <= 2 && best.0 < best.1.len()).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named() {
        let known = ["alert", "for", "keep_firing_for", "labels", "annotations"];
        let cases = [
            ("lables", Some("labels")),
            ("Alert", Some("alert")),
            ("fro", Some("for")),
            ("keep_firing_fro", Some("keep_firing_for")),
            ("severity", None),
            ("x", None),
        ];
        for (name, near) in cases {
            assert_eq!(nearest(name, &known), near, "{name}");
        }
    }
}
