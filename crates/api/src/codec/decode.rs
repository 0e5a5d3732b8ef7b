//! The schema-driven JSON decoder: one pass over the bytes that prunes, reports and normalises.
//!
//! It behaves as Kubernetes' JSON library does: field names match exactly, the first type error is kept while reading
//! goes on, and unknown and duplicate fields are told in the order in which they stand in the text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::cursor::{Cursor, Fault};
use super::moment::Moment;
use super::normal::{finish, store, zero};
use crate::quantity::Quantity;
use crate::schema::{Shape, Type, builtin};

/// At most this many unknown or duplicate fields are told; the rest is dropped in silence, as upstream does.
const MAX_STRICT_ERRORS: usize = 100;
const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// What came out besides the object.
pub(super) struct Outcome {
    pub(super) object: Value,
    /// Unknown and duplicate fields.
    pub(super) strict: Vec<String>,
    /// The first value of a wrong type.
    pub(super) wrong: Option<String>,
}

/// Whether unknown and duplicate fields are collected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Strict,
    Nothing,
}

/// Decodes a whole text. Without a type everything is kept.
pub(super) fn decode(bytes: &[u8], ty: Option<&Type>, report: Report) -> Result<Outcome, Fault> {
    let mut d = Decoder { cursor: Cursor::new(bytes), path: Vec::new(), strict: Vec::new(), wrong: None, report };
    let object = match ty {
        Some(ty) => d.object(ty, None)?,
        None => d.any()?,
    };
    d.cursor.end()?;
    Ok(Outcome { object, strict: d.strict, wrong: d.wrong })
}

enum Step<'a> {
    Field(&'a str),
    Key(Cow<'a, str>),
    Index(usize),
}

struct Decoder<'a> {
    cursor: Cursor<'a>,
    path: Vec<Step<'a>>,
    strict: Vec<String>,
    wrong: Option<String>,
    report: Report,
}

impl<'a> Decoder<'a> {
    /// A value of a shape; null stands for "absent", also after a type error. `owner` is the struct around it.
    fn value<'t: 'a>(&mut self, shape: &'t Shape, owner: Option<&'t Type>) -> Result<Value, Fault> {
        let next = self.cursor.peek()?;
        if next == b'n' {
            self.cursor.literal()?;
            return Ok(Value::Null);
        }
        match (shape, next) {
            (Shape::Object(link), _) => self.object(link, owner),
            (Shape::List(node), b'[') => self.list(&node.shape, owner),
            (Shape::Map(node), b'{') => self.map(&node.shape, owner),
            (Shape::String, b'"') => Ok(Value::from(self.cursor.string()?)),
            (Shape::Bool, b't' | b'f') => Ok(self.cursor.literal()?.map_or(Value::Null, Value::Bool)),
            (Shape::Int32 | Shape::Int64 | Shape::Double, b'-' | b'0'..=b'9') => self.number(shape, owner),
            (Shape::Bytes, b'"') => self.bytes(),
            (Shape::Any, _) => self.any(),
            (Shape::RawExtension | Shape::FieldsV1 | Shape::Json, _) => self.quiet(Self::any),
            (Shape::Quantity, _) => self.quantity(),
            (Shape::IntOrString, _) => self.int_or_string(),
            (Shape::Time | Shape::MicroTime | Shape::Duration, _) => self.moment(shape),
            (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, _) => self.quiet(|d| d.schema_or(shape)),
            _ => {
                let found = self.cursor.skip()?;
                self.mismatch(found, shape, owner);
                Ok(Value::Null)
            }
        }
    }

    fn object<'t: 'a>(&mut self, ty: &'t Type, owner: Option<&'t Type>) -> Result<Value, Fault> {
        match self.cursor.peek()? {
            b'{' => {}
            b'n' => {
                self.cursor.literal()?;
                return Ok(Value::Null);
            }
            _ => {
                let found = self.cursor.skip()?;
                self.mismatch_named(found, &go_struct(ty), owner);
                return Ok(Value::Null);
            }
        }
        self.cursor.open(b'{')?;
        let mut map = Map::new();
        let mut seen: Vec<&'t str> = Vec::new();
        let mut first = true;
        while self.cursor.more(b'}', first)? {
            first = false;
            let key = self.cursor.key()?;
            let Some(field) = ty.field(&key) else {
                self.unknown(ty, key, &mut map)?;
                continue;
            };
            if self.report == Report::Strict {
                if seen.contains(&field.name.as_ref()) {
                    self.complain("duplicate field", &field.name);
                }
                seen.push(field.name.as_ref());
            }
            self.path.push(Step::Field(field.name.as_ref()));
            let value = self.value(field.shape(), Some(ty))?;
            self.path.pop();
            store(&mut map, field, value);
        }
        finish(&mut map, ty);
        Ok(Value::Object(map))
    }

    fn unknown(&mut self, ty: &Type, key: Cow<'a, str>, map: &mut Map<String, Value>) -> Result<(), Fault> {
        if ty.unknown_fields == crate::schema::UnknownFields::Preserve {
            let value = self.any()?;
            map.insert(key.into_owned(), value);
        } else {
            self.complain("unknown field", &key);
            self.cursor.skip()?;
        }
        Ok(())
    }

    fn list<'t: 'a>(&mut self, element: &'t Shape, owner: Option<&'t Type>) -> Result<Value, Fault> {
        self.cursor.open(b'[')?;
        let mut list = Vec::new();
        while self.cursor.more(b']', list.is_empty())? {
            self.path.push(Step::Index(list.len()));
            let value = self.value(element, owner)?;
            self.path.pop();
            list.push(if value.is_null() { zero(element) } else { value });
        }
        Ok(Value::Array(list))
    }

    fn map<'t: 'a>(&mut self, element: &'t Shape, owner: Option<&'t Type>) -> Result<Value, Fault> {
        self.cursor.open(b'{')?;
        let mut map = Map::new();
        let mut first = true;
        while self.cursor.more(b'}', first)? {
            first = false;
            let key = self.cursor.key()?;
            if map.contains_key(key.as_ref()) {
                self.complain("duplicate field", &key);
            }
            self.path.push(Step::Key(key));
            let value = self.value(element, owner)?;
            if let Some(Step::Key(key)) = self.path.pop() {
                map.insert(key.into_owned(), if value.is_null() { zero(element) } else { value });
            }
        }
        Ok(Value::Object(map))
    }

    /// Any JSON, kept as it is.
    fn any(&mut self) -> Result<Value, Fault> {
        match self.cursor.peek()? {
            b'{' => {
                self.cursor.open(b'{')?;
                let mut map = Map::new();
                let mut first = true;
                while self.cursor.more(b'}', first)? {
                    first = false;
                    let key = self.cursor.key()?;
                    if map.contains_key(key.as_ref()) {
                        self.complain("duplicate field", &key);
                    }
                    self.path.push(Step::Key(key));
                    let value = self.any()?;
                    if let Some(Step::Key(key)) = self.path.pop() {
                        map.insert(key.into_owned(), value);
                    }
                }
                Ok(Value::Object(map))
            }
            b'[' => {
                self.cursor.open(b'[')?;
                let mut list = Vec::new();
                while self.cursor.more(b']', list.is_empty())? {
                    self.path.push(Step::Index(list.len()));
                    let value = self.any()?;
                    self.path.pop();
                    list.push(value);
                }
                Ok(Value::Array(list))
            }
            b'"' => Ok(Value::from(self.cursor.string()?)),
            b'-' | b'0'..=b'9' => {
                let text = self.cursor.number()?;
                Ok(general_number(text).unwrap_or_else(|| {
                    self.fail(format!("json: cannot unmarshal number {text} into Go value of type float64"));
                    Value::Null
                }))
            }
            _ => Ok(self.cursor.literal()?.map_or(Value::Null, Value::Bool)),
        }
    }

    /// Runs a reader whose upstream twin knows nothing of strictness.
    fn quiet(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        let before = std::mem::replace(&mut self.report, Report::Nothing);
        let out = read(self);
        self.report = before;
        out
    }

    fn number(&mut self, shape: &Shape, owner: Option<&Type>) -> Result<Value, Fault> {
        let text = self.cursor.number()?;
        let value = match shape {
            Shape::Int32 => text.parse::<i32>().ok().map(Value::from),
            Shape::Int64 => text.parse::<i64>().ok().map(Value::from),
            _ => general_number(text),
        };
        Ok(value.unwrap_or_else(|| {
            self.mismatch(&format!("number {text}"), shape, owner);
            Value::Null
        }))
    }

    fn bytes(&mut self) -> Result<Value, Fault> {
        let text = self.cursor.string()?;
        // Go's decoder passes over line ends.
        let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        if BASE64_STANDARD.decode(&clean).is_err() {
            let good = longest_base64(&clean);
            self.fail(format!("illegal base64 data at input byte {good}"));
            return Ok(Value::Null);
        }
        Ok(Value::from(clean))
    }

    fn quantity(&mut self) -> Result<Value, Fault> {
        let mark = self.cursor.mark();
        self.cursor.skip()?;
        let text = String::from_utf8_lossy(self.cursor.since(mark));
        let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(&text);
        match Quantity::parse(text.trim()) {
            Ok(q) => Ok(Value::from(q.to_string())),
            Err(e) => {
                self.fail(e.to_string());
                Ok(Value::Null)
            }
        }
    }

    fn int_or_string(&mut self) -> Result<Value, Fault> {
        match self.cursor.peek()? {
            b'"' => Ok(Value::from(self.cursor.string()?)),
            b'-' | b'0'..=b'9' => {
                let text = self.cursor.number()?;
                Ok(text.parse::<i32>().map(Value::from).unwrap_or_else(|_| {
                    self.fail(format!("json: cannot unmarshal number {text} into Go value of type int32"));
                    Value::Null
                }))
            }
            _ => {
                let found = self.cursor.skip()?;
                self.fail(format!("json: cannot unmarshal {found} into Go value of type int32"));
                Ok(Value::Null)
            }
        }
    }

    fn moment(&mut self, shape: &Shape) -> Result<Value, Fault> {
        if self.cursor.peek()? != b'"' {
            let found = self.cursor.skip()?;
            self.fail(format!("json: cannot unmarshal {found} into Go value of type string"));
            return Ok(Value::Null);
        }
        let text = self.cursor.string()?;
        if matches!(shape, Shape::Duration) {
            return Ok(Value::from(text));
        }
        match Moment::parse(&text) {
            Ok(m) if m.is_go_zero() => Ok(Value::Null),
            Ok(m) if matches!(shape, Shape::MicroTime) => Ok(Value::from(m.to_micros_text())),
            Ok(m) => Ok(Value::from(m.to_seconds_text())),
            Err(e) => {
                self.fail(e);
                Ok(Value::Null)
            }
        }
    }

    fn schema_or(&mut self, shape: &Shape) -> Result<Value, Fault> {
        let Some(props) = builtin().by_name(SCHEMA_PROPS) else { return self.any() };
        match (self.cursor.peek()?, shape) {
            (b'{', _) => self.object(props, None),
            (b't' | b'f', Shape::SchemaOrBool) => Ok(self.cursor.literal()?.map_or(Value::Null, Value::Bool)),
            (b'[', Shape::SchemaOrStrings) => self.list(&Shape::String, None),
            (b'[', Shape::SchemaOrArray) => {
                self.cursor.open(b'[')?;
                let mut list = Vec::new();
                while self.cursor.more(b']', list.is_empty())? {
                    list.push(self.object(props, None)?);
                }
                Ok(Value::Array(list))
            }
            _ => {
                self.cursor.skip()?;
                let expected = match shape {
                    Shape::SchemaOrBool => "boolean or JSON schema expected",
                    Shape::SchemaOrStrings => "JSON schema or string array expected",
                    _ => "JSON schema or array of JSON schemas expected",
                };
                self.fail(expected.to_owned());
                Ok(Value::Null)
            }
        }
    }

    fn fail(&mut self, message: String) {
        self.wrong.get_or_insert(message);
    }

    fn mismatch(&mut self, found: &str, shape: &Shape, owner: Option<&Type>) {
        self.mismatch_named(found, &go_type(shape), owner);
    }

    fn mismatch_named(&mut self, found: &str, wanted: &str, owner: Option<&Type>) {
        if self.wrong.is_some() {
            return;
        }
        let fields: Vec<&str> = self.path.iter().filter_map(|s| if let Step::Field(f) = s { Some(*f) } else { None }).collect();
        self.fail(match owner {
            Some(ty) => {
                format!("json: cannot unmarshal {found} into Go struct field {}.{} of type {wanted}", ty.short_name(), fields.join("."))
            }
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        });
    }

    fn complain(&mut self, what: &str, field: &str) {
        if self.report == Report::Nothing || self.strict.len() >= MAX_STRICT_ERRORS {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Index(i) => path.push_str(&format!("[{i}]")),
                Step::Field(name) => push_name(&mut path, name),
                Step::Key(name) => push_name(&mut path, name),
            }
        }
        push_name(&mut path, field);
        let message = format!("{what} {path:?}");
        if !self.strict.contains(&message) {
            self.strict.push(message);
        }
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// A number without a schema: an integer if it is one, as Go would print it; `None` beyond what a double holds.
fn general_number(text: &str) -> Option<Value> {
    /// Doubles above this are no exact integers any more.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(n) = text.parse::<i64>() {
        return Some(Value::from(n));
    }
    let float: f64 = text.parse().ok()?;
    if !float.is_finite() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within the exact range")]
    if float.fract() == 0.0 && float.abs() < EXACT {
        return Some(Value::from(float as i64));
    }
    serde_json::Number::from_f64(float).map(Value::Number)
}

/// How many leading bytes are good base64, for Go's message.
fn longest_base64(text: &str) -> usize {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.bytes().position(|b| !alphabet(b)).unwrap_or(text.len() - text.len() % 4)
}

/// The Go name of a struct: the package (its version) and the type.
fn go_struct(ty: &Type) -> String {
    let mut parts = ty.name.rsplit('.');
    let name = parts.next().unwrap_or_default();
    format!("{}.{name}", parts.next().unwrap_or_default())
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::List(node) => format!("[]{}", go_type(&node.shape)),
        Shape::Map(node) if matches!(node.shape, Shape::Quantity) => "v1.ResourceList".to_owned(),
        Shape::Map(node) => format!("map[string]{}", go_type(&node.shape)),
        Shape::Object(link) => go_struct(link),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        _ => "interface {}".to_owned(),
    }
}
