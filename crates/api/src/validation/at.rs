//! A cursor into an object: the value at a field, and the way there, spelt out only when an error needs it.

use serde_json::Value;

use crate::field::{Error, ErrorList, Path};

static NULL: Value = Value::Null;

#[derive(Clone, Copy)]
enum Step<'v> {
    Field(&'static str),
    Index(usize),
    Key(&'v str),
}

/// A field that may be silent. Reading never fails: what is absent or of another type reads as empty, since the decoder
/// has already refused wrong types.
#[derive(Clone, Copy)]
pub(super) struct At<'p, 'v> {
    parent: Option<&'p At<'p, 'v>>,
    step: Step<'v>,
    value: &'v Value,
}

impl<'p, 'v> At<'p, 'v> {
    /// The whole object.
    pub(super) fn root(value: &'v Value) -> Self {
        Self { parent: None, step: Step::Field(""), value }
    }

    /// A value that stands at a top-level field of another object.
    pub(super) fn named(name: &'static str, value: &'v Value) -> Self {
        Self { parent: None, step: Step::Field(name), value }
    }

    /// The field `name` below this one.
    pub(super) fn get(&'p self, name: &'static str) -> At<'p, 'v> {
        let value = self.value.get(name).unwrap_or(&NULL);
        At { parent: Some(self), step: Step::Field(name), value }
    }

    /// The list's elements.
    pub(super) fn items(&'p self) -> impl Iterator<Item = At<'p, 'v>> {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(|(i, value)| At { parent: Some(self), step: Step::Index(i), value })
    }

    /// The map's entries, each at `path[key]`.
    pub(super) fn entries(&'p self) -> impl Iterator<Item = (&'v str, At<'p, 'v>)> {
        let map = self.value.as_object().into_iter().flatten();
        map.map(|(key, value)| (key.as_str(), At { parent: Some(self), step: Step::Key(key), value }))
    }

    /// The map entry `key`, silent if there is none.
    pub(super) fn entry(&'p self, key: &'v str) -> At<'p, 'v> {
        At { parent: Some(self), step: Step::Key(key), value: self.value.get(key).unwrap_or(&NULL) }
    }

    /// The value itself; null if silent.
    pub(super) fn value(&self) -> &'v Value {
        self.value
    }

    /// Whether there is a value other than null.
    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether there is nothing, or the empty value of a type.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null | Value::Bool(false) => true,
            Value::String(s) => s.is_empty(),
            Value::Number(n) => n.as_i64() == Some(0),
            Value::Array(_) | Value::Object(_) => self.len() == 0,
            Value::Bool(true) => false,
        }
    }

    /// The number of elements or entries.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Value::Array(a) => a.len(),
            Value::Object(m) => m.len(),
            _ => 0,
        }
    }

    /// The text, or the empty text.
    pub(super) fn str(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    /// The whole number, if there is one.
    pub(super) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether the value is `true`.
    pub(super) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    /// The way from the object to here.
    pub(super) fn path(&self) -> Path {
        let above = self.parent.map(At::path).unwrap_or_default();
        match self.step {
            Step::Field("") => above,
            Step::Field(name) => above.child(name),
            Step::Index(i) => above.index(i),
            Step::Key(key) => above.key(key),
        }
    }

    /// Reports `Required value`.
    pub(super) fn required(&self, errs: &mut ErrorList, detail: &str) {
        errs.push(Error::required(&self.path(), detail));
    }

    /// Reports `Invalid value`, showing the value here.
    pub(super) fn invalid(&self, errs: &mut ErrorList, detail: &str) {
        errs.push(Error::invalid(&self.path(), self.value.clone(), detail));
    }

    /// Reports `Invalid value`, showing the text here, also if it is silent.
    pub(super) fn invalid_str(&self, errs: &mut ErrorList, detail: &str) {
        errs.push(Error::invalid(&self.path(), self.str(), detail));
    }

    /// Reports `Invalid value`, showing another value.
    pub(super) fn invalid_shown(&self, errs: &mut ErrorList, shown: impl Into<Value>, detail: &str) {
        errs.push(Error::invalid(&self.path(), shown, detail));
    }

    /// Reports one `Invalid value` per complaint about the text here.
    pub(super) fn complain(&self, errs: &mut ErrorList, complaints: Vec<String>) {
        for detail in complaints {
            self.invalid_str(errs, &detail);
        }
    }

    /// Reports `Forbidden`.
    pub(super) fn forbidden(&self, errs: &mut ErrorList, detail: &str) {
        errs.push(Error::forbidden(&self.path(), detail));
    }

    /// Reports `Duplicate value`.
    pub(super) fn duplicate(&self, errs: &mut ErrorList) {
        errs.push(Error::duplicate(&self.path(), self.value.clone()));
    }

    /// Reports `Not found`.
    pub(super) fn not_found(&self, errs: &mut ErrorList) {
        errs.push(Error::not_found(&self.path(), self.str()));
    }

    /// Reports `Too long`.
    pub(super) fn too_long(&self, errs: &mut ErrorList, max_bytes: usize) {
        errs.push(Error::too_long(&self.path(), max_bytes));
    }

    /// Reports `Unsupported value` unless the text here is one of `supported`.
    pub(super) fn one_of(&self, errs: &mut ErrorList, supported: &[&str]) {
        if !supported.contains(&self.str()) {
            errs.push(Error::not_supported(&self.path(), self.str(), supported));
        }
    }

    /// `one_of` where the field must also be given.
    pub(super) fn required_one_of(&self, errs: &mut ErrorList, supported: &[&str], detail: &str) {
        if self.str().is_empty() { self.required(errs, detail) } else { self.one_of(errs, supported) }
    }

    /// Reports a negative number.
    pub(super) fn not_negative(&self, errs: &mut ErrorList) {
        if self.int().is_some_and(|n| n < 0) {
            self.invalid(errs, "must be greater than or equal to 0");
        }
    }

    /// Reports a value that differs from the old one.
    pub(super) fn immutable(&self, old: &At<'_, '_>, errs: &mut ErrorList) {
        if !same(self.value, old.value) {
            self.invalid(errs, "field is immutable");
        }
    }
}

/// Whether two values mean the same: silent, null and empty texts, lists and maps are all one.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&NULL))) && y.iter().all(|(k, v)| x.contains_key(k) || is_silent(v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        _ => a == b || (is_silent(a) && is_silent(b)),
    }
}

fn is_silent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(m) => m.values().all(is_silent),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
