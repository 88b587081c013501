//! YAML as a tree in which everything knows its place in the file. Scalars stay text with their style: what they mean is
//! for the reader of each field to say. Limits depth and size; refuses what rule files have no use for (several
//! documents, tags of one's own, keys that are no scalars, a key given twice).

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// Aliases multiply what a file holds, so this counts the tree and not the text.
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;

/// A place in a file; lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// The beginning of the file.
impl Default for Position {
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {message}", at.line, at.column)]
pub struct Fault {
    pub at: Position,
    pub message: String,
}

impl Fault {
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, keys unique.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub at: Position,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct Scalar {
    pub text: String,
    /// Without quotes and not a block: only then may it be a number, a boolean or null.
    pub plain: bool,
    /// A literal block (`|`), in which the text's lines are the file's.
    pub literal: bool,
}

impl Scalar {
    pub fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Node {
    /// `a list`, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }
}

/// The tree of a text, `None` of one that holds nothing but comments.
pub fn parse(text: &str) -> Result<Option<Node>, Fault> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Fault::new(position(&span.start), "a second document: a rule file has one"));
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => {
                let node = reader.node(event, span, 0)?;
                // A document of comments only is a null of no width.
                root = (!node.is_null()).then_some(node);
            }
        }
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line() as u64, column: marker.col() as u64 + 1 }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Fault::new(position(error.marker()), format!("not YAML: {}", error.info()))),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        let at = position(&span.start);
        if depth > MAX_DEPTH {
            return Err(Fault::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.count(1, at)?;
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.clone())
            }
            _ => (0, None),
        };
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(Fault::new(at, format!("the tag {tag} has no place in a rule file")));
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => Value::Scalar(Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
                literal: style == ScalarStyle::Literal,
            }),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(anchor) => return self.alias(anchor, at),
            other => return Err(Fault::new(at, format!("not YAML: {other:?} where a value should be"))),
        };
        let node = Node { at, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(elements)),
                (event, span) => elements.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let at = key.at;
            let Value::Scalar(Scalar { text: name, .. }) = key.value else {
                return Err(Fault::new(at, format!("{} where a key should be", key.kind())));
            };
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.name == name) {
                return Err(Fault::new(at, format!("{name} is there twice, first in line {}", first.at.line)));
            }
            let (event, span) = self.next()?;
            entries.push((Key { at, name }, self.node(event, span, depth + 1)?));
        }
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Fault> {
        // Within itself an anchor is not there yet.
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(Fault::new(at, "an alias of what is not there before it"));
        };
        self.count(size(&node), at)?;
        Ok(Node { at, ..node })
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Fault::new(at, format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_knows_its_place() {
        let root = parse("# rules\ngroups:\n  - name: a\n    rules: [x, \"y\"]\n").expect("YAML").expect("a value");
        let Value::Map(entries) = root.value else { panic!("a mapping") };
        assert_eq!(
            (entries[0].0.at, entries[0].1.at),
            (Position { line: 2, column: 1 }, Position { line: 3, column: 3 })
        );
        let Value::List(groups) = &entries[0].1.value else { panic!("a list") };
        let Value::Map(group) = &groups[0].value else { panic!("a mapping") };
        assert_eq!((group[0].0.name.as_str(), group[0].1.at), ("name", Position { line: 3, column: 11 }));
        let Value::List(rules) = &group[1].1.value else { panic!("a list") };
        assert_eq!(rules[1].at, Position { line: 4, column: 16 });
    }

    #[test]
    fn what_is_no_rule_file_says_where() {
        let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
        let wide =
            format!("a: &a [{}]\nb: &b [*a{}]\nc: [*b{}]", "x, ".repeat(99), ", *a".repeat(99), ", *b".repeat(99));
        let cases: [(&str, u64, u64, &str); 9] = [
            ("a: 1\n b: 2\n", 2, 3, "not YAML"),
            ("a: [1\n", 0, 0, "not YAML"),
            ("a: 1\nb: 2\na: 3\n", 3, 1, "a is there twice, first in line 1"),
            ("a: 1\n---\nb: 1\n", 2, 1, "a second document"),
            ("a: !ruby/object x\n", 1, 4, "has no place in a rule file"),
            ("[1, 2]: x\n", 1, 1, "a list where a key should be"),
            ("a: &x [*x]\n", 1, 8, "an alias of what is not there before it"),
            (&deep, 1, 66, "nested more than 64 deep"),
            (&wide, 3, 0, "more than 200000 values"),
        ];
        for (text, line, column, message) in cases {
            let fault = parse(text).expect_err(text);
            assert!(fault.message.contains(message), "{text:.60}: {fault}");
            assert!(line == 0 || fault.at.line == line, "{text:.60}: {fault}");
            assert!(column == 0 || fault.at.column == column, "{text:.60}: {fault}");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", "# only words\n", "---\n", "null"] {
            assert!(parse(text).expect("YAML").is_none(), "{text:?}");
        }
    }
}
