//! RFC 6902 patches as kube-apiserver applies them (evanphx/json-patch v4): negative indexes count from the end, a
//! `replace` of a missing member adds it, and a `copy` of a missing member copies null.

use serde_json::Value;

use super::unprocessable;
use crate::codec::MAX_DEPTH;
use crate::error::{ApiError, Reason};

/// At most this many operations in one patch; more answer 413.
pub const MAX_OPERATIONS: usize = 10_000;
/// All `copy` operations of a patch together may add this many bytes of JSON; beyond it the patch is refused (422).
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;
/// All operations of a patch together may move this many list elements aside; beyond it the patch is refused (422). Ten
/// thousand insertions at the head of a long list would keep a processor busy for minutes.
pub const MAX_SHIFTED: usize = 50_000_000;
/// How often the depth of the whole document is measured again when the running estimate gets too big.
const DEPTH_MEASUREMENTS: u32 = 32;

const MISSING: &str = "missing value";
const BAD_INDEX: &str = "invalid index referenced";

pub(super) fn too_many(found: usize) -> ApiError {
    let message = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {found}");
    ApiError::new(413, Reason::RequestEntityTooLarge, format!("Request entity too large: {message}"))
}

/// The document after all operations. `operations` is a JSON list as [`super::read`] gives it.
///
/// Errors: 413 for more than [`MAX_OPERATIONS`], 400 when it is no list, 422 when an operation does not apply, with the
/// reason in the cause.
pub fn json_patch(doc: &Value, operations: &Value) -> Result<Value, ApiError> {
    let Some(list) = operations.as_array() else {
        return Err(ApiError::bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch"));
    };
    if list.len() > MAX_OPERATIONS {
        return Err(too_many(list.len()));
    }
    let mut state = State { doc: doc.clone(), copied: 0, shifted: 0, deepest: depth(doc), measurements: 0 };
    for operation in list {
        state.apply(operation).map_err(unprocessable)?;
    }
    Ok(state.doc)
}

struct State {
    doc: Value,
    copied: usize,
    shifted: usize,
    /// No place of the document is deeper than this. Without such a bound a few copies into themselves would build a tree
    /// that overflows the stack of whoever walks it.
    deepest: usize,
    measurements: u32,
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

impl State {
    fn apply(&mut self, operation: &Value) -> Result<(), String> {
        let word = |name: &str| operation.get(name).and_then(Value::as_str);
        let kind = word("op").unwrap_or("unknown");
        let from =
            || word("from").ok_or_else(|| format!("{kind} operation failed to decode from: operation, missing from field: {MISSING}"));
        let path = || {
            let why = if matches!(kind, "replace" | "move" | "test") { "operation missing path field: " } else { "" };
            word("path").ok_or_else(|| format!("{kind} operation failed to decode path: {why}{MISSING}"))
        };
        let value = operation.get("value");
        match kind {
            "add" => self.add(path()?, value.cloned().unwrap_or_default()),
            "remove" => self.remove(path()?),
            "replace" => self.replace(path()?, value.cloned().unwrap_or_default()),
            "test" => self.test(path()?, value.unwrap_or(&Value::Null)),
            "move" => {
                let from = from()?;
                let taken = self.take(from)?;
                self.put_moved(path()?, taken)
            }
            "copy" => {
                let from = from()?;
                let copied = self.copied(from)?;
                self.put_copied(path()?, copied)
            }
            _ => Err(format!("Unexpected kind: {kind}")),
        }
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), String> {
        self.deepen(path, depth(&value))?;
        let (place, key) =
            find(&mut self.doc, path).ok_or_else(|| format!("add operation does not apply: doc is missing path: \"{path}\": {MISSING}"))?;
        insert(place, &key, value, &mut self.shifted).map_err(|e| format!("error in add for path: '{path}': {e}"))
    }

    fn remove(&mut self, path: &str) -> Result<(), String> {
        let (place, key) = find(&mut self.doc, path)
            .ok_or_else(|| format!("remove operation does not apply: doc is missing path: \"{path}\": {MISSING}"))?;
        take(place, &key, &mut self.shifted).map(drop).map_err(|e| format!("error in remove for path: '{path}': {e}"))
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), String> {
        self.deepen(path, depth(&value))?;
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err("replace operation value must be object or array".to_owned());
            }
            self.doc = value;
            return Ok(());
        }
        let (place, key) =
            find(&mut self.doc, path).ok_or_else(|| format!("replace operation does not apply: doc is missing path: {path}: {MISSING}"))?;
        match place {
            Value::Object(map) => {
                map.insert(key, value);
            }
            Value::Array(list) => {
                let slot = index(&key, list.len()).ok().and_then(|i| list.get_mut(i));
                *slot.ok_or_else(|| format!("replace operation does not apply: doc is missing key: {path}: {MISSING}"))? = value;
            }
            _ => return Err(format!("replace operation does not apply: doc is missing path: {path}: {MISSING}")),
        }
        Ok(())
    }

    fn test(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let failed = || Err(format!("testing value {path} failed: test failed"));
        if path.is_empty() {
            return if self.doc == *value { Ok(()) } else { failed() };
        }
        let (place, key) =
            find(&mut self.doc, path).ok_or_else(|| format!("test operation does not apply: is missing path: {path}: {MISSING}"))?;
        let found = look(place, &key).map_err(|e| format!("error in test for path: '{path}': {e}"))?;
        if found.unwrap_or(&Value::Null) == value { Ok(()) } else { failed() }
    }

    fn take(&mut self, from: &str) -> Result<Value, String> {
        let (place, key) = find(&mut self.doc, from)
            .ok_or_else(|| format!("move operation does not apply: doc is missing from path: {from}: {MISSING}"))?;
        take(place, &key, &mut self.shifted).map_err(|e| format!("error in move for path: '{key}': {e}"))
    }

    fn put_moved(&mut self, path: &str, value: Value) -> Result<(), String> {
        self.deepen_moved(path, &value)?;
        let (place, key) = find(&mut self.doc, path)
            .ok_or_else(|| format!("move operation does not apply: doc is missing destination path: {path}: {MISSING}"))?;
        insert(place, &key, value, &mut self.shifted).map_err(|e| format!("error in move for path: '{path}': {e}"))
    }

    fn copied(&mut self, from: &str) -> Result<Value, String> {
        let (place, key) = find(&mut self.doc, from)
            .ok_or_else(|| format!("copy operation does not apply: doc is missing from path: {from}: {MISSING}"))?;
        let found = look(place, &key).map_err(|e| format!("error in copy for from: '{from}': {e}"))?;
        Ok(found.cloned().unwrap_or_default())
    }

    fn put_copied(&mut self, path: &str, value: Value) -> Result<(), String> {
        let size = serde_json::to_vec(&value).map_or(0, |bytes| bytes.len());
        self.deepen(path, depth(&value))?;
        let (place, key) = find(&mut self.doc, path)
            .ok_or_else(|| format!("copy operation does not apply: doc is missing destination path: {path}: {MISSING}"))?;
        self.copied = self.copied.saturating_add(size);
        if self.copied > MAX_COPIED_BYTES {
            let total = self.copied;
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {total}, exceeding the limit {MAX_COPIED_BYTES}"
            ));
        }
        insert(place, &key, value, &mut self.shifted).map_err(|e| format!("error while adding value during copy: {e}"))
    }

    /// Notes that a value of some depth comes to stand at a path.
    fn deepen(&mut self, path: &str, below: usize) -> Result<(), String> {
        let reached = parts(path).saturating_add(below);
        if reached > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        self.deepest = self.deepest.max(reached);
        Ok(())
    }

    /// As [`State::deepen`] for a value that was in the document. To measure it at every move would cost its size each
    /// time, so the estimate stands until it gets too big: what is under the root is less deep than the root.
    fn deepen_moved(&mut self, path: &str, value: &Value) -> Result<(), String> {
        let mut below = self.deepest.saturating_sub(1);
        if parts(path).saturating_add(below) > MAX_DEPTH && self.measurements < DEPTH_MEASUREMENTS {
            self.measurements += 1;
            self.deepest = depth(&self.doc);
            below = depth(value);
        }
        self.deepen(path, below)
    }
}

fn parts(path: &str) -> usize {
    path.bytes().filter(|b| *b == b'/').count()
}

/// The container that holds the path's last part, and that part.
fn find<'a>(doc: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut parts = path.split('/').skip(1).peekable();
    let mut place = doc;
    let mut part = parts.next()?;
    while parts.peek().is_some() {
        let key = unescape(part);
        place = match place {
            Value::Object(map) => map.get_mut(key.as_str())?,
            Value::Array(list) => {
                let at = index(&key, list.len()).ok()?;
                list.get_mut(at)?
            }
            _ => return None,
        };
        part = parts.next()?;
    }
    (place.is_object() || place.is_array()).then(|| (place, unescape(part)))
}

/// RFC 6901: `~1` is a slash and `~0` a tilde, in one pass.
fn unescape(part: &str) -> String {
    if !part.contains('~') {
        return part.to_owned();
    }
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('~') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let (plain, skip) = match after.get(..2) {
            Some("~1") => ("/", 2),
            Some("~0") => ("~", 2),
            _ => ("~", 1),
        };
        out.push_str(plain);
        rest = after.get(skip..).unwrap_or_default();
    }
    out + rest
}

fn number(key: &str) -> Result<i64, String> {
    key.parse::<i64>().map_err(|_| format!("strconv.Atoi: parsing {key:?}: invalid syntax"))
}

fn out_of_range(at: i64) -> String {
    format!("Unable to access invalid index: {at}: {BAD_INDEX}")
}

/// The index of an element that exists.
fn index(key: &str, len: usize) -> Result<usize, String> {
    let at = number(key)?;
    let size = i64::try_from(len).unwrap_or(i64::MAX);
    let found = if at < 0 { at.saturating_add(size) } else { at };
    usize::try_from(found).ok().filter(|i| *i < len).ok_or_else(|| out_of_range(at))
}

fn look<'a>(place: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match place {
        Value::Array(list) => Ok(list.get(index(key, list.len())?)),
        _ => Ok(place.get(key)),
    }
}

fn insert(place: &mut Value, key: &str, value: Value, shifted: &mut usize) -> Result<(), String> {
    match place {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let at = number(key).map_err(|e| format!("value was not a proper array index: '{key}': {e}"))?;
            let places = i64::try_from(list.len()).unwrap_or(i64::MAX).saturating_add(1);
            let found = if at < 0 { at.saturating_add(places) } else { at };
            let slot = usize::try_from(found).ok().filter(|i| *i <= list.len()).ok_or_else(|| out_of_range(at))?;
            shift(shifted, list.len() - slot)?;
            list.insert(slot, value);
        }
        _ => return Err(MISSING.to_owned()),
    }
    Ok(())
}

/// Counts the elements that an insertion or removal moves.
fn shift(shifted: &mut usize, elements: usize) -> Result<(), String> {
    *shifted = shifted.saturating_add(elements);
    if *shifted > MAX_SHIFTED { Err(format!("the patch moves more than {MAX_SHIFTED} list elements")) } else { Ok(()) }
}

fn take(place: &mut Value, key: &str, shifted: &mut usize) -> Result<Value, String> {
    match place {
        Value::Object(map) => map.remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: {MISSING}")),
        Value::Array(list) => {
            let at = index(key, list.len())?;
            shift(shifted, list.len() - at)?;
            Ok(list.remove(at))
        }
        _ => Err(MISSING.to_owned()),
    }
}
