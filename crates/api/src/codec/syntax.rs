//! Says what is wrong with a JSON text in the words of Go's `encoding/json`, which clients know.
//!
//! It runs only after the decoder has refused a text, so it may take its time.

/// The complaint about `text`; `None` if it is well-formed.
pub(super) fn complaint(text: &[u8]) -> Option<String> {
    let mut s = Scan { text, pos: 0 };
    let outcome = s.document();
    outcome.err().map(|p| match p {
        Problem::End => "unexpected end of JSON input".to_owned(),
        Problem::Char(c, context) => format!("invalid character {} {context}", quoted(c)),
    })
}

enum Problem {
    End,
    Char(u8, String),
}

struct Scan<'a> {
    text: &'a [u8],
    pos: usize,
}

#[derive(Clone, Copy)]
enum Inside {
    Object,
    Array,
}

/// As Go quotes a byte in these messages.
fn quoted(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(c)),
        0x80.. => match char::from(c) {
            c if c.is_control() => format!("'\\u{:04x}'", u32::from(c)),
            c => format!("'{c}'"),
        },
        _ => format!("'\\x{c:02x}'"),
    }
}

impl Scan<'_> {
    fn space(&mut self) {
        while self.text.get(self.pos).is_some_and(|b| b" \t\r\n".contains(b)) {
            self.pos += 1;
        }
    }

    fn peek(&self) -> Result<u8, Problem> {
        self.text.get(self.pos).copied().ok_or(Problem::End)
    }

    fn refuse<T>(&self, context: &str) -> Result<T, Problem> {
        Err(Problem::Char(self.peek()?, context.to_owned()))
    }

    fn document(&mut self) -> Result<(), Problem> {
        let mut stack: Vec<Inside> = Vec::new();
        loop {
            // A value begins here, or an empty container ends.
            self.space();
            match self.peek()? {
                b'{' => {
                    self.pos += 1;
                    self.space();
                    if self.peek()? == b'}' {
                        self.pos += 1;
                    } else {
                        self.key()?;
                        stack.push(Inside::Object);
                        continue;
                    }
                }
                b'[' => {
                    self.pos += 1;
                    self.space();
                    if self.peek()? == b']' {
                        self.pos += 1;
                    } else {
                        stack.push(Inside::Array);
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if !self.after_value(&mut stack)? {
                return Ok(());
            }
        }
    }

    /// Goes on after a complete value; true when another value follows.
    fn after_value(&mut self, stack: &mut Vec<Inside>) -> Result<bool, Problem> {
        loop {
            self.space();
            match stack.last() {
                None => return if self.pos >= self.text.len() { Ok(false) } else { self.refuse("after top-level value") },
                Some(Inside::Object) => match self.peek()? {
                    b',' => {
                        self.pos += 1;
                        self.space();
                        self.key()?;
                        return Ok(true);
                    }
                    b'}' => self.pos += 1,
                    _ => return self.refuse("after object key:value pair"),
                },
                Some(Inside::Array) => match self.peek()? {
                    b',' => {
                        self.pos += 1;
                        return Ok(true);
                    }
                    b']' => self.pos += 1,
                    _ => return self.refuse("after array element"),
                },
            }
            stack.pop();
        }
    }

    fn key(&mut self) -> Result<(), Problem> {
        if self.peek()? != b'"' {
            return self.refuse("looking for beginning of object key string");
        }
        self.string()?;
        self.space();
        if self.peek()? != b':' {
            return self.refuse("after object key");
        }
        self.pos += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Problem> {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.refuse("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Problem> {
        for want in word.bytes() {
            if self.peek()? != want {
                return self.refuse(&format!("in literal {word} (expecting '{}')", char::from(want)));
            }
            self.pos += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Problem> {
        self.pos += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.pos += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.pos += 1;
                    match self.peek()? {
                        b'u' => {
                            for _ in 0..4 {
                                self.pos += 1;
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return self.refuse("in \\u hexadecimal character escape");
                                }
                            }
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        _ => return self.refuse("in string escape code"),
                    }
                    self.pos += 1;
                }
                0..0x20 => return self.refuse("in string literal"),
                _ => self.pos += 1,
            }
        }
    }

    fn digits(&mut self) {
        while self.text.get(self.pos).is_some_and(u8::is_ascii_digit) {
            self.pos += 1;
        }
    }

    fn number(&mut self) -> Result<(), Problem> {
        if self.peek()? == b'-' {
            self.pos += 1;
        }
        match self.peek()? {
            b'0' => self.pos += 1,
            b'1'..=b'9' => self.digits(),
            _ => return self.refuse("in numeric literal"),
        }
        if self.text.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            if !self.peek()?.is_ascii_digit() {
                return self.refuse("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.text.get(self.pos), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.pos += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return self.refuse("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_gos() {
        for (text, want) in [
            ("", Some("unexpected end of JSON input")),
            ("{", Some("unexpected end of JSON input")),
            ("{\"a\":1,}", Some("invalid character '}' looking for beginning of object key string")),
            ("{\"a\" 1}", Some("invalid character '1' after object key")),
            ("{\"a\":1 \"b\":2}", Some("invalid character '\"' after object key:value pair")),
            ("[1 2]", Some("invalid character '2' after array element")),
            ("{} x", Some("invalid character 'x' after top-level value")),
            ("kind: Pod", Some("invalid character 'k' looking for beginning of value")),
            ("tru3", Some("invalid character '3' in literal true (expecting 'e')")),
            ("\"\\q\"", Some("invalid character 'q' in string escape code")),
            ("\"a\nb\"", Some("invalid character '\\n' in string literal")),
            ("-x", Some("invalid character 'x' in numeric literal")),
            ("1.x", Some("invalid character 'x' after decimal point in numeric literal")),
            ("{\"a\": [1, {\"b\": null}], \"c\": \"\\u00e9\"}", None),
        ] {
            assert_eq!(complaint(text.as_bytes()).as_deref(), want, "{text}");
        }
    }
}
