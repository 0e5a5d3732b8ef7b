//! Just enough of Rust's grammar to count: comments, texts and characters are blanked, then braces tell where a function ends.

/// A function and the lines from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: usize,
}

/// The functions of a source file, inner ones too; those without a body do not count.
pub(crate) fn functions(source: &str) -> Vec<Function> {
    let blanked = blank(source);
    let bytes = blanked.as_bytes();
    let mut found = Vec::new();
    for (start, _) in blanked.match_indices("fn ") {
        let starts_word = start.checked_sub(1).and_then(|i| bytes.get(i)).is_none_or(|b| !is_word(*b));
        let Some(rest) = blanked.get(start + 3..).filter(|_| starts_word) else { continue };
        let rest = rest.trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn (…)` and `fn(…)` are types.
        if name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(bytes, start) {
            let lines = bytes.get(start..=end).unwrap_or_default().iter().filter(|b| **b == b'\n').count() + 1;
            found.push(Function { name, lines });
        }
    }
    found
}

/// The place of the brace that closes the first body after `start`; none if a semicolon comes first.
fn body_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The source with everything that is not code turned to spaces; line ends stay.
pub(crate) fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut last = ' ';
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest, last);
        let (taken, after) = rest.split_at(if length == 0 { first.len_utf8() } else { length.min(rest.len()) });
        if length == 0 {
            out.push(first);
            last = first;
        } else {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            last = ' ';
        }
        rest = after;
    }
    out
}

/// How many bytes at the start of `rest` are a comment, a text or a character; 0 if none.
fn skipped(rest: &str, last: char) -> usize {
    let bytes = rest.as_bytes();
    match bytes {
        [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(bytes),
        [b'"', ..] => 1 + quoted(bytes.get(1..).unwrap_or_default(), b'"'),
        [b'r', b'"' | b'#', ..] if !is_word_char(last) || last == 'b' => raw_text(rest),
        // A quote opens a character only if one closes it; else it is a lifetime.
        [b'\'', b'\\', ..] => 2 + 1 + quoted(bytes.get(3..).unwrap_or_default(), b'\''),
        [b'\'', ..] => {
            let mut chars = rest.char_indices().skip(2);
            match chars.next() {
                Some((at, '\'')) => at + 1,
                _ => 0,
            }
        }
        _ => 0,
    }
}

fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Bytes up to and with the closing quote.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b if *b == quote => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

fn raw_text(rest: &str) -> usize {
    let hashes = rest.bytes().skip(1).take_while(|b| *b == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return 0; // A raw identifier.
    }
    let open = 2 + hashes;
    let close = format!("\"{}", "#".repeat(hashes));
    rest.get(open..).and_then(|r| r.find(&close)).map_or(rest.len(), |at| open + at + close.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<(String, usize)> {
        functions(source).into_iter().map(|f| (f.name, f.lines)).collect()
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let source = "fn one() {}\npub(crate) async fn two(\n  x: [u8; 3],\n) -> u8 {\n  { 1 }\n}\ntrait T { fn bodiless(&self) -> u8; }\ntype F = fn (u8);";
        assert_eq!(lines(source), [("one".to_owned(), 1), ("two".to_owned(), 5)]);
    }

    #[test]
    fn braces_in_texts_comments_and_characters_do_not_count() {
        let source = "fn a<'x>(t: &'x str) {\n // }\n /* } /* } */ */\n let b = (\"}\\\"}\", r#\"}\"}\"#, '}', '\\'', b'}', '\\u{7d}', br\"}\");\n}\nfn b() {\n}";
        assert_eq!(lines(source), [("a".to_owned(), 5), ("b".to_owned(), 2)]);
    }

    #[test]
    fn raw_identifiers_and_broken_input_are_taken() {
        assert_eq!(lines("fn r#gen() {\n}"), [("r".to_owned(), 2)]);
        for broken in ["fn x() {", "\"", "'", "/*", "r#\"", "fn ", "fn }", "'\\", "é'é'"] {
            let _ = lines(broken);
        }
    }
}
