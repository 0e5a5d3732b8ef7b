//! Notes in `managedFields` who changed what by a create, update or patch.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Target;
use super::compare::{Changes, compare};
use super::entries::{self, Encoded, Entry, Operation};
use super::problem::Problems;
use super::set::FieldSet;
use super::spot::Spot;
use crate::codec::moment::Moment;
use crate::meta;

/// What nobody ever owns.
static STRIPPED: LazyLock<FieldSet<'static>> = LazyLock::new(|| {
    FieldSet::of_paths(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Writes the ownership that follows from `live` having become `new` into `new`. `live` is `None` for a create.
///
/// The list that `new` carries counts (a client may edit it), except through subresources; if it has none, that of `live`
/// does. A client resets ownership by sending one empty entry. Objects whose ownership was reset stay untracked until
/// the next apply. If ownership cannot be worked out, the object is left without (as upstream does).
pub fn update(target: &Target<'_>, live: Option<&Value>, new: &mut Value, manager: &str, now: SystemTime) {
    let sent = meta::metadata_mut(new).and_then(|m| m.remove("managedFields"));
    let source = source_list(target, live, sent);
    let Ok(encoded) = plan(target, live, new, &source, manager, now) else { return };
    put(new, encoded, source);
}

/// Puts a list into an object; nothing if it is empty.
pub(super) fn put(object: &mut Value, encoded: Vec<Encoded>, mut source: Vec<Value>) {
    if encoded.is_empty() {
        return;
    }
    let list = encoded.into_iter().map(|e| match e {
        Encoded::Kept(at) => source.get_mut(at).map(Value::take).unwrap_or_default(),
        Encoded::Fresh(entry) => entry,
    });
    let list = Value::Array(list.collect());
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.insert("managedFields".to_owned(), list);
    }
}

/// The list in an object, as far as it is one.
pub(super) fn list_of(object: &Value) -> &[Value] {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn source_list(target: &Target<'_>, live: Option<&Value>, sent: Option<Value>) -> Vec<Value> {
    let present = live.map(list_of).unwrap_or_default();
    let sent = match sent {
        Some(Value::Array(list)) => Some(list),
        _ => None,
    };
    match sent {
        // Mostly the list comes back as it went out; then it need not be copied.
        Some(list) if list == present => list,
        Some(list) if target.subresource.is_empty() => {
            let reset = list.is_empty() || (list.len() == 1 && list.first().and_then(Value::as_object).is_some_and(Map::is_empty));
            if reset {
                Vec::new()
            } else if entries::decode(&list).is_ok() {
                list
            } else {
                present.to_vec()
            }
        }
        _ => present.to_vec(),
    }
}

fn plan(
    target: &Target<'_>,
    live: Option<&Value>,
    new: &Value,
    source: &[Value],
    manager: &str,
    now: SystemTime,
) -> Result<Vec<Encoded>, Problems> {
    let mut owners = entries::decode(source).unwrap_or_default();
    let exists = live.is_some_and(|l| !meta::uid(l).is_empty());
    if owners.is_empty() && exists {
        return Ok(Vec::new());
    }
    let nothing = Value::Object(Map::new());
    track(target, &mut owners, live.unwrap_or(&nothing), new, manager, now)?;
    Ok(entries::encode(owners))
}

/// Gives what changed from `old` to `new` to the manager and takes it from all others.
pub(super) fn track<'a>(
    target: &Target<'a>,
    owners: &mut Vec<Entry<'a>>,
    old: &'a Value,
    new: &'a Value,
    manager: &'a str,
    now: SystemTime,
) -> Result<(), Problems> {
    let changes = changes(target, old, new)?;
    for owner in owners.iter_mut() {
        take_from(owner, &changes);
    }
    owners.retain(|o| !o.set.is_empty());
    let mut set = changes.modified.union(changes.added);
    set.subtract(&STRIPPED);
    if !set.is_empty() {
        let mut own = target.entry(manager, Operation::Update);
        own.time = Some(Cow::Owned(seconds_text(now)));
        own.set = set;
        match owners.iter_mut().find(|o| o.same_owner(&own)) {
            Some(before) => {
                own.set = own.set.union(std::mem::take(&mut before.set));
                *before = own;
            }
            None => owners.push(own),
        }
    }
    entries::cap(owners);
    Ok(())
}

/// The changes that can be owned through the target.
pub(super) fn changes<'a>(target: &Target<'a>, old: &'a Value, new: &'a Value) -> Result<Changes<'a>, Problems> {
    let mut changes = compare(Spot::root(target.schema), old, new)?;
    for set in [&mut changes.removed, &mut changes.modified, &mut changes.added] {
        target.reset.filter(set);
    }
    Ok(changes)
}

/// Takes everything that changed from an owner.
pub(super) fn take_from(owner: &mut Entry<'_>, changes: &Changes<'_>) {
    owner.lose(&changes.modified);
    owner.lose(&changes.added);
    owner.lose(&changes.removed);
}

pub(super) fn strip(set: &mut FieldSet<'_>) {
    set.subtract(&STRIPPED);
}

/// A moment as `managedFields` writes it.
pub(super) fn seconds_text(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0));
    Moment { seconds, nanos: 0 }.to_seconds_text()
}

/// Puts the old ownership back if a write changed nothing but its times, so that it is no write at all.
pub fn settle(new: &mut Value, old: &Value) {
    if list_of(new) == list_of(old) || !same_owners(list_of(new), list_of(old)) || !same_but_owners(new, old) {
        return;
    }
    if let Some(list) = new.pointer_mut("/metadata/managedFields") {
        *list = Value::Array(list_of(old).to_vec());
    }
}

fn same_members(a: &Map<String, Value>, b: &Map<String, Value>, except: &str) -> bool {
    let members = |m: &'_ Map<String, Value>| m.iter().filter(|(k, _)| *k != except).count();
    members(a) == members(b) && a.iter().filter(|(k, _)| *k != except).all(|(k, v)| b.get(k) == Some(v))
}

fn same_owners(a: &[Value], b: &[Value]) -> bool {
    let same = |(a, b): (&Value, &Value)| match (a, b) {
        (Value::Object(a), Value::Object(b)) => same_members(a, b, "time"),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn same_but_owners(a: &Value, b: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return false };
    let metadata = match (a.get("metadata"), b.get("metadata")) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => same_members(a, b, "managedFields"),
        (a, b) => a == b,
    };
    metadata && same_members(a, b, "metadata")
}
