//! The lowest layer of the JSON decoder: tokens out of bytes.

use std::borrow::Cow;

/// Containers may nest this deep. Deeper bodies are refused: nobody writes them by hand, and whoever reads our JSON
/// with `serde_json` stops at 128.
pub const MAX_DEPTH: usize = 120;

/// Why decoding stopped at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text is no JSON; [`super::syntax`] says why.
    Syntax,
    /// Nested beyond [`MAX_DEPTH`].
    Depth,
}

/// A place in a JSON text.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, depth: 0 }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.bytes.get(self.pos) {
            self.pos += 1;
        }
    }

    /// The next byte after white space, without taking it.
    pub(super) fn peek(&mut self) -> Result<u8, Fault> {
        self.space();
        self.bytes.get(self.pos).copied().ok_or(Fault::Syntax)
    }

    /// Takes `want`, which must come next.
    fn take(&mut self, want: u8) -> Result<(), Fault> {
        if self.peek()? != want {
            return Err(Fault::Syntax);
        }
        self.pos += 1;
        Ok(())
    }

    /// Nothing but white space may be left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.pos == self.bytes.len() { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// Opens an object or a list.
    pub(super) fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        self.take(bracket)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Fault::Depth) } else { Ok(()) }
    }

    /// Moves to the next element: true if there is one, false when the container closed. `first` before the first.
    pub(super) fn more(&mut self, close: u8, first: bool) -> Result<bool, Fault> {
        match self.peek()? {
            c if c == close => {
                self.pos += 1;
                self.depth -= 1;
                Ok(false)
            }
            b',' if !first => {
                self.pos += 1;
                // A trailing comma is no JSON.
                if self.peek()? == close { Err(Fault::Syntax) } else { Ok(true) }
            }
            _ if first => Ok(true),
            _ => Err(Fault::Syntax),
        }
    }

    /// An object's key with its colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek()? != b'"' {
            return Err(Fault::Syntax);
        }
        let key = self.string()?;
        self.take(b':')?;
        Ok(key)
    }

    /// A string; invalid UTF-8 and lone surrogates become U+FFFD, as in Go.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.take(b'"')?;
        let start = self.pos;
        loop {
            match self.bytes.get(self.pos) {
                Some(b'"') => {
                    let text = self.bytes.get(start..self.pos).unwrap_or_default();
                    self.pos += 1;
                    return Ok(String::from_utf8_lossy(text));
                }
                Some(b'\\') => return self.escaped(start).map(Cow::Owned),
                Some(0..0x20) | None => return Err(Fault::Syntax),
                Some(_) => self.pos += 1,
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<String, Fault> {
        let mut out: Vec<u8> = self.bytes.get(start..self.pos).unwrap_or_default().to_vec();
        loop {
            match self.bytes.get(self.pos).copied() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()));
                }
                Some(b'\\') => {
                    let c = self.bytes.get(self.pos + 1).copied().ok_or(Fault::Syntax)?;
                    self.pos += 2;
                    match c {
                        b'"' | b'\\' | b'/' => out.push(c),
                        b'b' => out.push(8),
                        b'f' => out.push(12),
                        b'n' => out.push(b'\n'),
                        b'r' => out.push(b'\r'),
                        b't' => out.push(b'\t'),
                        b'u' => {
                            let c = self.unicode()?;
                            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        _ => return Err(Fault::Syntax),
                    }
                }
                Some(0..0x20) | None => return Err(Fault::Syntax),
                Some(c) => {
                    out.push(c);
                    self.pos += 1;
                }
            }
        }
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// The character of a `\u` escape whose digits come next, with the second half of a pair.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex4(self.pos).ok_or(Fault::Syntax)?;
        self.pos += 4;
        let paired = (0xD800..0xDC00).contains(&first) && self.bytes.get(self.pos..self.pos + 2) == Some(b"\\u");
        if let (true, Some(second @ 0xDC00..=0xDFFF)) = (paired, self.hex4(self.pos + 2)) {
            self.pos += 6;
            let joined = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        self.space();
        let start = self.pos;
        let at = |s: &Self| s.bytes.get(s.pos).copied();
        let digits = |s: &mut Self| {
            let from = s.pos;
            while s.bytes.get(s.pos).is_some_and(u8::is_ascii_digit) {
                s.pos += 1;
            }
            if s.pos > from { Ok(()) } else { Err(Fault::Syntax) }
        };
        if at(self) == Some(b'-') {
            self.pos += 1;
        }
        if at(self) == Some(b'0') {
            self.pos += 1
        } else {
            digits(self)?
        }
        if at(self) == Some(b'.') {
            self.pos += 1;
            digits(self)?;
        }
        if matches!(at(self), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(at(self), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            digits(self)?;
        }
        self.bytes.get(start..self.pos).and_then(|t| std::str::from_utf8(t).ok()).ok_or(Fault::Syntax)
    }

    /// `true`, `false` or `null`.
    pub(super) fn literal(&mut self) -> Result<Option<bool>, Fault> {
        self.space();
        for (word, meaning) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
            if self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
                self.pos += word.len();
                return Ok(meaning);
            }
        }
        Err(Fault::Syntax)
    }

    /// Passes over a value and says what it was, in the words of Go's type errors.
    pub(super) fn skip(&mut self) -> Result<&'static str, Fault> {
        match self.peek()? {
            b'{' => {
                self.open(b'{')?;
                let mut first = true;
                while self.more(b'}', first)? {
                    self.key()?;
                    self.skip()?;
                    first = false;
                }
                Ok("object")
            }
            b'[' => {
                self.open(b'[')?;
                let mut first = true;
                while self.more(b']', first)? {
                    self.skip()?;
                    first = false;
                }
                Ok("array")
            }
            b'"' => self.string().map(|_| "string"),
            b'-' | b'0'..=b'9' => self.number().map(|_| "number"),
            _ => Ok(if self.literal()?.is_some() { "bool" } else { "null" }),
        }
    }

    /// Where the cursor stands, for [`Cursor::since`].
    pub(super) fn mark(&mut self) -> usize {
        self.space();
        self.pos
    }

    /// The text from `mark` to here.
    pub(super) fn since(&self, mark: usize) -> &'a [u8] {
        self.bytes.get(mark..self.pos).unwrap_or_default()
    }
}
