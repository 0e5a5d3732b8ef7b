//! One step of a field's path, and its form in `managedFields`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// One step from a value to a part of it. Texts and values are borrowed from the objects and schemas that are compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Element<'a> {
    /// A member of a map or struct (`f:`).
    Field(Cow<'a, str>),
    /// The element of a `map` list with these keys, sorted by name (`k:`).
    Key(Vec<(Cow<'a, str>, Cow<'a, Value>)>),
    /// The element of a `set` list with this value (`v:`).
    Value(Cow<'a, Value>),
    /// The element of a list at this index (`i:`).
    Index(i64),
}

/// Why a text is no path element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    /// It starts with a letter that nobody knows yet; such elements are skipped.
    #[error("unknown path element type")]
    Unknown,
    /// It is malformed.
    #[error("{0}")]
    Malformed(String),
}

impl<'a> Element<'a> {
    /// A member.
    pub fn field(name: &'a str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }

    /// Reads the form that `managedFields` has.
    pub fn parse(text: &'a str) -> Result<Self, ElementError> {
        let malformed = |why: String| ElementError::Malformed(why);
        if text.len() < 2 {
            return Err(malformed("key must be 2 characters long:".to_owned()));
        }
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(malformed(format!("missing colon: {text}")));
        };
        let json = || serde_json::from_str::<Value>(rest).map_err(|e| malformed(e.to_string()));
        match kind {
            "f" => Ok(Self::Field(Cow::Borrowed(rest))),
            "k" => match json()? {
                Value::Object(map) => Ok(Self::Key(map.into_iter().map(|(k, v)| (Cow::Owned(k), Cow::Owned(v))).collect())),
                _ => Err(malformed(format!("a key must be an object: {text}"))),
            },
            "v" => json().map(|v| Self::Value(Cow::Owned(v))),
            "i" => rest.parse().map(Self::Index).map_err(|e| malformed(format!("{e}: {text}"))),
            _ => Err(ElementError::Unknown),
        }
    }

    /// The form that `managedFields` has.
    pub fn encode(&self) -> String {
        match self {
            Self::Field(name) => {
                let mut out = String::with_capacity(name.len() + 2);
                out.push_str("f:");
                out.push_str(name);
                out
            }
            Self::Key(fields) => {
                let map: Map<String, Value> = fields.iter().map(|(k, v)| (k.clone().into_owned(), v.clone().into_owned())).collect();
                format!("k:{}", Value::Object(map))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b).map(|(x, y)| x.0.cmp(&y.0).then_with(|| compare(&x.1, &y.1)));
                pairs.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A total order of JSON values; equal only if the values are.
fn compare(a: &Value, b: &Value) -> Ordering {
    fn rank(v: &Value) -> u8 {
        match v {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Number(x), Value::Number(y)) => {
            let by_size = x.as_f64().unwrap_or(0.0).total_cmp(&y.as_f64().unwrap_or(0.0));
            // Floats are too coarse for big integers, and 1 is not 1.0.
            by_size.then_with(|| if x == y { Ordering::Equal } else { x.to_string().cmp(&y.to_string()) })
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) if a != b => a.to_string().cmp(&b.to_string()),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// As conflicts and errors show it: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
        }
    }
}
