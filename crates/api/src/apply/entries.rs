//! `managedFields` entries: who owns which fields, since when, and by which operation.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::encoding;
use super::set::FieldSet;
use crate::codec::moment::Moment;

/// More updaters than this are joined, oldest first, so that the list stays short.
pub const MAX_UPDATE_MANAGERS: usize = 10;
/// Who owns what joined updaters owned.
const ANCIENT: &str = "ancient-changes";

/// How an owner came to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One owner's fields.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) manager: Cow<'a, str>,
    pub(super) operation: Operation,
    pub(super) subresource: Cow<'a, str>,
    pub(super) api_version: Cow<'a, str>,
    pub(super) time: Option<Cow<'a, str>>,
    pub(super) set: FieldSet<'a>,
    /// Which element of the list it was read from, as long as nothing changed: that one is used again as it is.
    pub(super) source: Option<usize>,
}

impl<'a> Entry<'a> {
    /// Whether both are one owner. Appliers are, whatever version they speak.
    pub(super) fn same_owner(&self, other: &Entry<'_>) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The order in which upstream's identifiers of owners sort.
    pub(super) fn owner_order(&self) -> (&str, Operation, &str, &str) {
        let version = if self.operation == Operation::Apply { "" } else { self.api_version.as_ref() };
        (&self.manager, self.operation, version, &self.subresource)
    }

    /// Takes fields away; notes whether that changed anything.
    pub(super) fn lose(&mut self, fields: &FieldSet<'_>) {
        if !fields.is_empty() && self.set.subtract(fields) {
            self.source = None;
        }
    }

    fn seconds(&self) -> i64 {
        self.time.as_deref().and_then(|t| Moment::parse(t).ok()).map_or(0, |m| m.seconds)
    }
}

/// Reads the list. Errors are upstream's sentences.
pub(super) fn decode(list: &[Value]) -> Result<Vec<Entry<'_>>, String> {
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(list.len() + 1);
    let mut places = HashMap::new();
    for (i, item) in list.iter().enumerate() {
        let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match word("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if word("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match word("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {i}")),
        }
        let set = encoding::decode(item.get("fieldsV1").unwrap_or(&Value::Null)).map_err(|e| format!("error decoding set: {e}"))?;
        let entry = Entry {
            manager: word("manager").into(),
            operation,
            subresource: word("subresource").into(),
            api_version: word("apiVersion").into(),
            time: item.get("time").and_then(Value::as_str).map(Cow::Borrowed),
            set,
            source: Some(i),
        };
        let owner = (word("manager"), operation, word("subresource"), if operation == Operation::Apply { "" } else { word("apiVersion") });
        match places.get(&owner).and_then(|at: &usize| entries.get_mut(*at)) {
            // The last entry of an owner wins.
            Some(before) => *before = entry,
            None => {
                places.insert(owner, entries.len());
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// An entry on its way out.
pub(super) enum Encoded {
    /// The element of the source list with this index, as it is.
    Kept(usize),
    /// A new one.
    Fresh(Value),
}

/// Writes the list in upstream's order.
pub(super) fn encode(mut entries: Vec<Entry<'_>>) -> Vec<Encoded> {
    entries.sort_by_cached_key(|e| {
        (e.operation, e.seconds(), e.manager.clone().into_owned(), e.api_version.clone().into_owned(), e.subresource.clone().into_owned())
    });
    entries.into_iter().map(|e| e.source.map_or_else(|| Encoded::Fresh(encode_entry(&e)), Encoded::Kept)).collect()
}

fn encode_entry(entry: &Entry<'_>) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, text: &str| {
        if !text.is_empty() {
            out.insert(name.to_owned(), json!(text));
        }
    };
    put("apiVersion", &entry.api_version);
    put("fieldsType", "FieldsV1");
    put("manager", &entry.manager);
    put("operation", entry.operation.as_str());
    put("subresource", &entry.subresource);
    put("time", entry.time.as_deref().unwrap_or_default());
    out.insert("fieldsV1".to_owned(), encoding::encode(&entry.set));
    Value::Object(out)
}

/// Joins the oldest updaters per version until at most [`MAX_UPDATE_MANAGERS`] are left.
pub(super) fn cap(entries: &mut Vec<Entry<'_>>) {
    let updaters = entries.iter().filter(|e| e.operation == Operation::Update).count();
    if updaters <= MAX_UPDATE_MANAGERS {
        return;
    }
    let (mut updates, mut rest): (Vec<_>, Vec<_>) = entries.drain(..).partition(|e| e.operation == Operation::Update);
    updates.sort_by(|a, b| a.seconds().cmp(&b.seconds()).then_with(|| a.owner_order().cmp(&b.owner_order())));
    let mut left = updates.len();
    let mut kept: Vec<Entry<'_>> = Vec::with_capacity(left);
    let mut buckets: HashMap<String, usize> = HashMap::new();
    for entry in updates {
        let known = buckets.get(entry.api_version.as_ref()).and_then(|at| kept.get_mut(*at));
        match known {
            // The first of a version makes room for others and takes their fields and the newest time.
            Some(bucket) if left > MAX_UPDATE_MANAGERS => {
                bucket.manager = Cow::Borrowed(ANCIENT);
                bucket.subresource = Cow::Borrowed("");
                bucket.set = std::mem::take(&mut bucket.set).union(entry.set);
                bucket.time = entry.time;
                bucket.source = None;
                left -= 1;
            }
            _ => {
                buckets.entry(entry.api_version.clone().into_owned()).or_insert(kept.len());
                kept.push(entry);
            }
        }
    }
    rest.extend(kept);
    *entries = rest;
}
