//! The label selector's grammar.

use super::{Operator, Requirement, bad_key};
use crate::field::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

fn keyword(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_special(c: char) -> bool {
    "=!(),><".contains(c)
}

fn is_space(c: char) -> bool {
    " \t\r\n".contains(c)
}

/// Splits the text into tokens; the last one is always [`Token::End`].
fn scan(text: &str) -> Vec<(Token, String)> {
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let (token, literal, length) = if is_special(first) { special(rest) } else { word(rest) };
        out.push((token, literal));
        rest = rest.get(length..).unwrap_or_default().trim_start_matches(is_space);
    }
    out.push((Token::End, String::new()));
    out
}

fn word(text: &str) -> (Token, String, usize) {
    let end = text.find(|c| is_special(c) || is_space(c)).unwrap_or(text.len());
    let literal = text.get(..end).unwrap_or_default();
    (keyword(literal).unwrap_or(Token::Identifier), literal.to_owned(), end)
}

/// The longest keyword of special characters; all of them if none is a keyword.
fn special(text: &str) -> (Token, String, usize) {
    let end = text.find(|c| !is_special(c)).unwrap_or(text.len());
    let mut best = None;
    for length in 1..=end {
        let literal = text.get(..length).unwrap_or_default();
        match keyword(literal) {
            Some(token) => best = Some((token, literal.to_owned(), length)),
            None if best.is_some() => break,
            None => {}
        }
    }
    best.unwrap_or_else(|| (Token::Error, format!("error expected: keyword found '{}'", text.get(..end).unwrap_or_default()), end))
}

struct Parser {
    items: Vec<(Token, String)>,
    position: usize,
}

/// Parses a whole selector. The error is upstream's sentence.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut p = Parser { items: scan(text), position: 0 };
    let mut list = Vec::new();
    loop {
        let (token, literal) = p.ahead();
        match token {
            Token::Identifier | Token::Not => {
                list.push(p.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
                let (token, literal) = p.take();
                match token {
                    Token::End => return Ok(list),
                    Token::Comma => {
                        let (token, literal) = p.ahead();
                        if !matches!(token, Token::Identifier | Token::Not) {
                            return Err(format!("found '{literal}', expected: identifier after ','"));
                        }
                    }
                    _ => return Err(format!("found '{literal}', expected: ',' or 'end of string'")),
                }
            }
            Token::End => return Ok(list),
            _ => return Err(format!("found '{literal}', expected: !, identifier, or 'end of string'")),
        }
    }
}

impl Parser {
    /// The next token where `in` and `notin` are plain words.
    fn ahead(&self) -> (Token, String) {
        let (token, literal) = self.items.get(self.position).cloned().unwrap_or((Token::End, String::new()));
        (if matches!(token, Token::In | Token::NotIn) { Token::Identifier } else { token }, literal)
    }

    fn take(&mut self) -> (Token, String) {
        let out = self.ahead();
        self.position += 1;
        out
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.take();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.take();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        if let Some(e) = bad_key(&key, &Path::root()) {
            return Err(e.to_string());
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.ahead().0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(&key, operator, values)
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let (token, literal) = self.items.get(self.position).cloned().unwrap_or((Token::End, String::new()));
        self.position += 1;
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(format!("found '{literal}', expected: in, notin, =, ==, !=, gt, lt")),
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, literal) = self.take();
        if token != Token::Open {
            return Err(format!("found '{literal}' expected: '('"));
        }
        let (token, literal) = self.ahead();
        match token {
            Token::Identifier | Token::Comma => {
                let values = self.identifiers()?;
                if self.take().0 != Token::Close {
                    return Err(format!("found '{literal}', expected: ')'"));
                }
                Ok(values)
            }
            Token::Close => {
                self.take();
                Ok(vec![String::new()])
            }
            _ => Err(format!("found '{literal}', expected: ',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, String> {
        let mut values: Vec<String> = Vec::new();
        loop {
            let (token, literal) = self.take();
            match token {
                Token::Identifier => {
                    values.push(literal);
                    let (token, literal) = self.ahead();
                    match token {
                        Token::Comma => {}
                        Token::Close => return Ok(values),
                        _ => return Err(format!("found '{literal}', expected: ',' or ')'")),
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.ahead().0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                _ => return Err(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.ahead().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        let (token, literal) = self.take();
        if token == Token::Identifier { Ok(literal) } else { Err(format!("found '{literal}', expected: identifier")) }
    }
}
