//! Small steps on a JSON tree: what is silent, and how to fill it.

use serde_json::{Map, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Sets `key` if it is absent or null (a nil pointer upstream).
pub(super) fn set_absent(o: &mut Object, key: &str, value: impl Into<Value>) {
    if is_absent(o, key) {
        o.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` if it is absent, null or the empty value of its type (a plain field upstream).
pub(super) fn set_empty(o: &mut Object, key: &str, value: impl Into<Value>) {
    if is_empty(o, key) {
        o.insert(key.to_owned(), value.into());
    }
}

/// Whether `key` is absent or null.
pub(super) fn is_absent(o: &Object, key: &str) -> bool {
    o.get(key).is_none_or(Value::is_null)
}

/// Whether `key` holds nothing, or the empty text, zero, false, the empty list or the empty object.
pub(super) fn is_empty(o: &Object, key: &str) -> bool {
    match o.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Number(n)) => n.as_i64() == Some(0),
        Some(Value::Array(a)) => a.is_empty(),
        Some(Value::Object(m)) => m.is_empty(),
        Some(Value::Bool(true)) => false,
    }
}

/// The text at `key`, or the empty text.
pub(super) fn text<'a>(o: &'a Object, key: &str) -> &'a str {
    o.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The object at `key`, if there is one.
pub(super) fn child<'a>(o: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    o.get_mut(key).and_then(Value::as_object_mut)
}

/// The object at `key`, made empty first if the field is silent; `None` if something else stands there.
pub(super) fn grow<'a>(o: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    set_absent(o, key, Object::new());
    child(o, key)
}

/// The object at the end of the path `keys`, if all of it exists.
pub(super) fn descend<'a>(o: &'a mut Object, keys: &[&str]) -> Option<&'a mut Object> {
    let mut at = o;
    for key in keys {
        at = child(at, key)?;
    }
    Some(at)
}

/// The objects in the list at `key`.
pub(super) fn each<'a>(o: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> + use<'a> {
    o.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Copies each entry of the map at `from` to the map at `to` unless it has that key, growing `to` if there is something to copy.
pub(super) fn fill_map(o: &mut Object, from: &str, to: &str) {
    let Some(source) = o.get(from).and_then(Value::as_object).cloned() else { return };
    if source.is_empty() {
        return;
    }
    let Some(target) = grow(o, to) else { return };
    for (name, value) in source {
        target.entry(name).or_insert(value);
    }
}
