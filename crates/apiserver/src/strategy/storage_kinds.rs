//! Kinds about volumes.

use serde_json::{Value, json};

use super::generic::Generic;
use super::{Strategy, Unconditional};

fn pending() -> Value {
    json!({"phase": "Pending"})
}

const VOLUME: Generic = Generic { initial_status: Some(pending), ..Generic::RETURNED };
const RETURNED_CONDITIONAL: Generic = Generic { unconditional: Unconditional::Refused, ..Generic::RETURNED };

/// The strategy of a kind about volumes.
pub(super) fn of(group: &str, plural: &str) -> Option<&'static dyn Strategy> {
    Some(match (group, plural) {
        ("", "persistentvolumes" | "persistentvolumeclaims") => &VOLUME,
        ("storage.k8s.io", "storageclasses" | "volumeattributesclasses") => &Generic::RETURNED,
        ("storage.k8s.io", "csidrivers" | "csinodes" | "volumeattachments") => &RETURNED_CONDITIONAL,
        ("storage.k8s.io", "csistoragecapacities") => &Generic::CONDITIONAL,
        _ => return None,
    })
}
