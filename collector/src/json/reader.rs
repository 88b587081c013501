//! A pull reader over JSON bytes. Strings are handed out as the bytes they stand for; whether those are UTF-8 is asked
//! where they are decoded, the same for both encodings of OTLP. Never builds a tree and never recurses.

use std::borrow::Cow;

use memchr::memchr2;

/// Where reading stopped and why. The transcoder adds the path.
#[derive(Debug)]
pub struct Failure {
    pub offset: usize,
    pub message: String,
    /// Innermost first.
    pub path: Vec<Step>,
    /// The request's limit on bytes was passed, rather than its grammar broken.
    pub too_large: bool,
}

#[derive(Debug)]
pub enum Step {
    Field(&'static str),
    Index(usize),
}

pub type Read<T> = Result<T, Box<Failure>>;

impl Failure {
    pub fn new(offset: usize, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { offset, message: message.into(), path: Vec::new(), too_large: false })
    }
}

pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        // Some editors and shells put a byte-order mark before UTF-8.
        let at = if input.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self { input, at }
    }

    /// The offset of the next token.
    pub fn offset(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// The next token's first byte, 0 at the end of the input.
    pub fn peek(&mut self) -> u8 {
        self.skip_space();
        self.input.get(self.at).copied().unwrap_or(0)
    }

    /// Takes one of the structural bytes.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte && self.at < self.input.len();
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.unexpected(&format!("`{}`", byte as char))) }
    }

    /// After an element: whether another follows. Takes the comma or the closing byte.
    pub fn more(&mut self, close: u8) -> Read<bool> {
        if self.eat(b',') {
            Ok(true)
        } else if self.eat(close) {
            Ok(false)
        } else {
            Err(self.unexpected(&format!("`,` or `{}`", close as char)))
        }
    }

    pub fn end(&mut self) -> Read<()> {
        self.skip_space();
        if self.at == self.input.len() { Ok(()) } else { Err(self.unexpected("the end of the request")) }
    }

    pub fn null(&mut self) -> Read<bool> {
        if self.peek() != b'n' {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    pub fn bool(&mut self) -> Read<bool> {
        match self.peek() {
            b't' => self.literal(b"true").map(|()| true),
            b'f' => self.literal(b"false").map(|()| false),
            _ => Err(self.unexpected("true or false")),
        }
    }

    /// A string's bytes, escapes resolved. A lone surrogate, as left by JavaScript that cut a string in the middle of a
    /// character, becomes U+FFFD.
    pub fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a string"));
        }
        let start = self.at + 1;
        let end = self.string_stop(start)?;
        if self.input[end] == b'"' {
            self.at = end + 1;
            return Ok(Cow::Borrowed(&self.input[start..end]));
        }
        let mut text = Vec::with_capacity((end - start) * 2);
        text.extend_from_slice(&self.input[start..end]);
        self.at = end;
        while self.input[self.at] != b'"' {
            self.escape(&mut text)?;
            let stop = self.string_stop(self.at)?;
            text.extend_from_slice(&self.input[self.at..stop]);
            self.at = stop;
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    /// A number, or a string of one: its characters. 64-bit numbers are strings in protobuf's JSON, and either is taken.
    pub fn number_text(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                while let Some(b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9') = self.input.get(self.at) {
                    self.at += 1;
                }
                Ok(Cow::Borrowed(&self.input[start..self.at]))
            }
            _ => Err(self.unexpected("a number")),
        }
    }

    /// Skips a value of any shape and depth.
    pub fn skip_value(&mut self) -> Read<()> {
        // The closing bytes that are owed. One byte a level, so bounded by the request itself.
        let mut open = Vec::new();
        loop {
            match self.peek() {
                b'{' | b'[' => {
                    let close = if self.input[self.at] == b'{' { b'}' } else { b']' };
                    self.at += 1;
                    if !self.eat(close) {
                        if close == b'}' {
                            self.skip_key()?;
                        }
                        open.push(close);
                        continue;
                    }
                }
                b'"' => self.skip_string()?,
                b't' | b'f' => drop(self.bool()?),
                b'n' => drop(self.null()?),
                _ => drop(self.number_text().map_err(|_| self.unexpected("a value"))?),
            }
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                if self.more(close)? {
                    if close == b'}' {
                        self.skip_key()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    pub fn unexpected(&mut self, wanted: &str) -> Box<Failure> {
        self.skip_space();
        let found = match self.input.get(self.at) {
            None => "the end of the request".to_owned(),
            Some(b'"') => "a string".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b'-' | b'0'..=b'9') => "a number".to_owned(),
            Some(_) if self.input[self.at..].starts_with(b"null") => "null".to_owned(),
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", *byte as char),
            Some(byte) => format!("the byte 0x{byte:02x}"),
        };
        Failure::new(self.at, format!("expected {wanted}, found {found}"))
    }

    fn skip_key(&mut self) -> Read<()> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a field name"));
        }
        self.skip_string()?;
        self.expect(b':')
    }

    fn skip_string(&mut self) -> Read<()> {
        self.at += 1;
        loop {
            let stop = self.string_stop(self.at)?;
            // An escape is at least two bytes, and what follows `\u` holds neither quote nor backslash if it is right.
            self.at = stop + 1 + usize::from(self.input[stop] == b'\\');
            if self.input[stop] == b'"' {
                return Ok(());
            }
        }
    }

    /// The offset of the next quote or backslash from `from`.
    fn string_stop(&self, from: usize) -> Read<usize> {
        let rest = self.input.get(from..).unwrap_or_default();
        memchr2(b'"', b'\\', rest)
            .map(|n| from + n)
            .ok_or_else(|| Failure::new(self.input.len(), "the request ends within a string"))
    }

    /// Resolves the escape at the reader's position.
    fn escape(&mut self, text: &mut Vec<u8>) -> Read<()> {
        let start = self.at;
        let resolved = match self.input.get(start + 1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'u') => {
                let c = self.unicode_escape()?;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(Failure::new(start, "unknown escape in a string")),
        };
        text.push(resolved);
        self.at = start + 2;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Read<char> {
        let high = self.hex4(self.at)?;
        self.at += 6;
        if (0xD800..0xDC00).contains(&high) && self.input[self.at..].starts_with(b"\\u") {
            let low = self.hex4(self.at)?;
            if (0xDC00..0xE000).contains(&low) {
                self.at += 6;
                let scalar = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The four digits of the `\uXXXX` at `at`.
    fn hex4(&self, at: usize) -> Read<u32> {
        let digits = self.input.get(at + 2..at + 6).unwrap_or_default();
        let mut value = 0;
        for &digit in digits {
            let digit = (digit as char).to_digit(16).ok_or_else(|| Failure::new(at, "\\u wants four hex digits"))?;
            value = value << 4 | digit;
        }
        if digits.len() == 4 { Ok(value) } else { Err(Failure::new(at, "\\u wants four hex digits")) }
    }

    fn literal(&mut self, word: &'static [u8]) -> Read<()> {
        if self.input[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Failure::new(self.at, "expected a JSON value"))
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.input.get(self.at) {
            self.at += 1;
        }
    }
}
