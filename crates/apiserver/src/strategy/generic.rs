//! Behaviour that many kinds share, chosen by a few words.

use api::meta::{self, Gvk};
use serde_json::{Value, json};

use super::{Propagation, Strategy, Unconditional, Upsert};

/// Which changes count as a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// The kind has no generation.
    Nothing,
    /// A change of `spec` (or the beginning of its deletion).
    Spec,
    /// A change of anything but metadata and status.
    AllButMetadata,
}

/// A kind that is described by words alone.
#[derive(Clone, Copy, Debug)]
pub struct Generic {
    pub(super) counts: Counts,
    pub(super) upsert: Upsert,
    pub(super) unconditional: Unconditional,
    pub(super) returns_deleted: bool,
    pub(super) propagation: Propagation,
    pub(super) initial_status: Option<fn() -> Value>,
}

impl Generic {
    /// Nothing special.
    pub const PLAIN: Self = Self {
        counts: Counts::Nothing,
        upsert: Upsert::Refused,
        unconditional: Unconditional::Allowed,
        returns_deleted: false,
        propagation: Propagation::Background,
        initial_status: None,
    };
    /// Its spec has a generation.
    pub const COUNTED: Self = Self { counts: Counts::Spec, ..Self::PLAIN };
    /// A PUT creates it.
    pub const UPSERT: Self = Self { upsert: Upsert::Creates, ..Self::PLAIN };
    /// An update must name a resourceVersion.
    pub const CONDITIONAL: Self = Self { unconditional: Unconditional::Refused, ..Self::PLAIN };
    /// A deletion answers with the object.
    pub const RETURNED: Self = Self { returns_deleted: true, ..Self::PLAIN };
}

impl Strategy for Generic {
    fn upsert(&self) -> Upsert {
        self.upsert
    }

    fn unconditional(&self) -> Unconditional {
        self.unconditional
    }

    fn returns_deleted(&self) -> bool {
        self.returns_deleted
    }

    fn default_propagation(&self) -> Propagation {
        self.propagation
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
        if let Some(status) = self.initial_status {
            set(object, "status", status());
        }
        if self.counts != Counts::Nothing {
            set_generation(object, 1);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "status");
        bump_generation(new, old, self.counts);
    }
}

/// Sets a top-level field.
pub(super) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// Takes the status away: only its own subresource may write it. What Kubernetes always writes stays as `{}`.
pub(super) fn drop_status(object: &mut Value) {
    if let Some(fields) = object.as_object_mut()
        && fields.contains_key("status")
    {
        fields.insert("status".to_owned(), json!({}));
    }
}

/// The field keeps its old value.
pub fn keep_old(new: &mut Value, old: &Value, field: &str) {
    if let Some(fields) = new.as_object_mut() {
        match old.get(field) {
            Some(value) => fields.insert(field.to_owned(), value.clone()),
            None => fields.remove(field),
        };
    }
}

/// Everything but metadata and status keeps its old value.
pub fn keep_status_only(new: &mut Value, old: &Value) {
    let (Some(fields), Some(before)) = (new.as_object_mut(), old.as_object()) else { return };
    fields.retain(|k, _| before.contains_key(k) || matches!(k.as_str(), "metadata" | "status"));
    for (key, value) in before.iter().filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status")) {
        fields.insert(key.clone(), value.clone());
    }
    // Nobody may begin a deletion by writing a status.
    let deletion = old.pointer("/metadata/deletionTimestamp").cloned();
    if let Some(metadata) = meta::metadata_mut(new) {
        match deletion {
            Some(at) => metadata.insert("deletionTimestamp".to_owned(), at),
            None => metadata.remove("deletionTimestamp"),
        };
    }
}

pub(super) fn set_generation(object: &mut Value, generation: i64) {
    if let Some(metadata) = meta::metadata_mut(object) {
        metadata.insert("generation".to_owned(), json!(generation));
    }
}

/// Counts the generation up when what `counts` names differs.
pub fn bump_generation(new: &mut Value, old: &Value, counts: Counts) {
    let changed = match counts {
        Counts::Nothing => return,
        Counts::Spec => new.get("spec") != old.get("spec"),
        Counts::AllButMetadata => {
            let ignored = |k: &str| matches!(k, "metadata" | "status" | "apiVersion" | "kind");
            let rest = |o: &Value| {
                o.as_object().map(|m| m.iter().filter(|(k, _)| !ignored(k)).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>())
            };
            rest(new) != rest(old)
        }
    };
    let generation = meta::generation(old);
    set_generation(new, if changed { generation.saturating_add(1) } else { generation });
}

/// The same fields under another group and version.
pub(super) fn relabel(mut object: Value, to: &Gvk) -> Value {
    set(&mut object, "apiVersion", json!(to.api_version()));
    set(&mut object, "kind", json!(to.kind));
    object
}
