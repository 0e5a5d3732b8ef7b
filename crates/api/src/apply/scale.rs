//! Ownership through the `scale` subresource: its `spec.replicas` is a field of the parent under some other path.

use serde_json::Value;

use super::element::Element;
use super::entries::{self, Encoded, Entry};
use super::set::FieldSet;

const SCALE_VERSION: &str = "autoscaling/v1";

/// Where a version of the parent keeps its replicas, as the names of fields; empty if it has none.
pub type ReplicasPaths<'a> = [(&'a str, &'a [&'a str])];

fn path_in<'p>(paths: &ReplicasPaths<'p>, api_version: &str) -> Option<&'p [&'p str]> {
    paths.iter().find(|(version, _)| *version == api_version).map(|(_, path)| *path)
}

fn finish(entries: Vec<Entry<'_>>, source: &[Value]) -> Vec<Value> {
    let list = entries::encode(entries).into_iter().map(|e| match e {
        Encoded::Kept(at) => source.get(at).cloned().unwrap_or_default(),
        Encoded::Fresh(entry) => entry,
    });
    list.collect()
}

/// The parent's `managedFields` as a `Scale` shows them: only owners of the replicas.
///
/// Errors are upstream's sentences about a malformed list.
pub fn to_scale(parent: &[Value], paths: &ReplicasPaths<'_>) -> Result<Vec<Value>, String> {
    let mut owners = entries::decode(parent)?;
    owners.retain(|o| path_in(paths, &o.api_version).is_some_and(|path| o.set.has(path)));
    for owner in &mut owners {
        owner.set = FieldSet::of_paths(&[&["spec", "replicas"]]);
        owner.api_version = SCALE_VERSION.into();
        owner.source = None;
    }
    Ok(finish(owners, parent))
}

/// The parent's `managedFields` after its `Scale` was written, with `scale` being the list of the latter.
/// `api_version` is the parent's version of the request.
pub fn to_parent(parent: &[Value], scale: &[Value], api_version: &str, paths: &ReplicasPaths<'_>) -> Result<Vec<Value>, String> {
    let mut owners = entries::decode(parent)?;
    let mut scalers = entries::decode(scale)?;
    owners.retain(|o| path_in(paths, &o.api_version).is_some());
    for owner in &mut owners {
        let path = path_in(paths, &owner.api_version).unwrap_or_default();
        if path.is_empty() || !owner.set.has(path) {
            continue;
        }
        let same = |s: &Entry<'_>| s.manager == owner.manager && s.operation == owner.operation && s.subresource == owner.subresource;
        match scalers.iter().position(same) {
            // Whoever still owns it in the scale keeps it.
            Some(at) => drop(scalers.remove(at)),
            None => owner.lose(&FieldSet::of_paths(&[path])),
        }
    }
    owners.retain(|o| !o.set.is_empty());
    let own = path_in(paths, api_version).unwrap_or_default();
    for mut scaler in scalers.into_iter().filter(|s| s.set.has(&["spec", "replicas"])) {
        scaler.set = FieldSet::of_paths(&[own]);
        scaler.api_version = api_version.to_owned().into();
        scaler.source = None;
        match owners.iter_mut().find(|o| o.same_owner(&scaler)) {
            Some(before) => {
                before.set = std::mem::take(&mut before.set).union(scaler.set);
                before.time = scaler.time;
                before.source = None;
            }
            None => owners.push(scaler),
        }
    }
    Ok(finish(owners, parent))
}

impl FieldSet<'_> {
    /// The same set, borrowing nothing.
    pub(super) fn into_owned(self) -> FieldSet<'static> {
        let mut out = FieldSet::default();
        for node in self.into_nodes() {
            let below = node.below.into_owned();
            out.push(owned(node.element), super::set::Branch { owned: node.owned, below });
        }
        out
    }
}

fn owned(element: Element<'_>) -> Element<'static> {
    match element {
        Element::Field(name) => Element::Field(name.into_owned().into()),
        Element::Key(fields) => {
            Element::Key(fields.into_iter().map(|(k, v)| (k.into_owned().into(), std::borrow::Cow::Owned(v.into_owned()))).collect())
        }
        Element::Value(value) => Element::Value(std::borrow::Cow::Owned(value.into_owned())),
        Element::Index(at) => Element::Index(at),
    }
}
