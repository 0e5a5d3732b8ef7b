//! One object on its way into a row: reads that forgive what is missing or misshapen.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{age, selector};

/// What cells show where there is nothing.
pub(super) const NONE: &str = "<none>";
/// What cells show where nothing was set.
pub(super) const UNSET: &str = "<unset>";
/// What cells show where something cannot be known.
pub(super) const UNKNOWN: &str = "<unknown>";

/// An object and the moment that ages count from.
pub(super) struct Row<'a> {
    pub(super) object: &'a Value,
    pub(super) now: i128,
}

impl<'a> Row<'a> {
    pub(super) fn new(object: &'a Value, now: SystemTime) -> Self {
        Self { object, now: age::nanos(now) }
    }

    /// The place of a JSON pointer.
    pub(super) fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.object.pointer(pointer).filter(|v| !v.is_null())
    }

    pub(super) fn text(&self, pointer: &str) -> &'a str {
        text(self.get(pointer))
    }

    /// The text of a place, or another text where nothing is set.
    pub(super) fn text_or(&self, pointer: &str, other: &'a str) -> &'a str {
        self.get(pointer).map_or(other, |v| text(Some(v)))
    }

    pub(super) fn int(&self, pointer: &str) -> i64 {
        int(self.get(pointer))
    }

    pub(super) fn flag(&self, pointer: &str) -> bool {
        self.get(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn list(&self, pointer: &str) -> &'a [Value] {
        list(self.get(pointer))
    }

    pub(super) fn map(&self, pointer: &str) -> Option<&'a Map<String, Value>> {
        self.get(pointer).and_then(Value::as_object)
    }

    pub(super) fn name(&self) -> Value {
        Value::from(self.text("/metadata/name"))
    }

    /// The object's age.
    pub(super) fn age(&self) -> Value {
        Value::from(self.since("/metadata/creationTimestamp"))
    }

    /// How long ago the moment at a place was.
    pub(super) fn since(&self, pointer: &str) -> String {
        age::since(self.text(pointer), self.now)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.get("/metadata/deletionTimestamp").is_some()
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.map("/metadata/annotations")?.get(key)?.as_str()
    }

    /// `a=b,c=d` of a map of texts, or `<none>`.
    pub(super) fn labels(&self, pointer: &str) -> Value {
        Value::from(selector::labels(self.map(pointer)))
    }

    /// A label selector as text, or `<none>`.
    pub(super) fn selector(&self, pointer: &str) -> Value {
        Value::from(selector::shown(self.get(pointer)))
    }

    /// The names and the images of a list of containers.
    pub(super) fn containers(&self, pointer: &str) -> [Value; 2] {
        let join = |field: &str| {
            let words: Vec<&str> = self.list(pointer).iter().map(|c| text(c.get(field))).collect();
            Value::from(words.join(","))
        };
        [join("name"), join("image")]
    }

    /// The condition of a type.
    pub(super) fn condition(&self, kind: &str) -> Option<&'a Value> {
        self.list("/status/conditions").iter().find(|c| text(c.get("type")) == kind)
    }

    /// Whether the condition of a type is true.
    pub(super) fn holds(&self, kind: &str) -> bool {
        self.condition(kind).is_some_and(|c| text(c.get("status")) == "True")
    }
}

pub(super) fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn int(value: Option<&Value>) -> i64 {
    value.and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A quantity or int-or-string as text.
pub(super) fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

/// A quantity as text; none is zero.
pub(super) fn quantity(value: Option<&Value>) -> String {
    scalar(value).unwrap_or_else(|| "0".to_owned())
}

/// `a,b,c + 4 more...` of at most `max` words.
pub(super) fn some_of(words: &[String], max: usize, separator: &str) -> String {
    let shown = words.get(..max.min(words.len())).unwrap_or_default().join(separator);
    if words.len() > max { format!("{shown} + {} more...", words.len() - max) } else { shown }
}

/// The text, or another where it is empty.
pub(super) fn or<'t>(text: &'t str, other: &'t str) -> &'t str {
    if text.is_empty() { other } else { text }
}
