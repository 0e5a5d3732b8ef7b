//! Kinds about policy, identity and the cluster as such.

use super::generic::{Counts, Generic};
use super::{Strategy, Unconditional, Upsert};

const COUNTED_WHOLE: Generic = Generic { counts: Counts::AllButMetadata, unconditional: Unconditional::Refused, ..Generic::PLAIN };
const COUNTED_CONDITIONAL: Generic = Generic { unconditional: Unconditional::Refused, ..Generic::COUNTED };
const COUNTED_ONCE: Generic = Generic { counts: Counts::AllButMetadata, ..Generic::PLAIN };
const LEASE: Generic = Generic { upsert: Upsert::Creates, unconditional: Unconditional::Refused, ..Generic::PLAIN };
const COUNTED_RETURNED: Generic = Generic { returns_deleted: true, ..Generic::COUNTED };

/// The strategy of a kind about the cluster.
pub(super) fn of(group: &str, plural: &str) -> Option<&'static dyn Strategy> {
    Some(match (group, plural) {
        ("rbac.authorization.k8s.io", _) | ("", "limitranges") | ("node.k8s.io", "runtimeclasses") => &Generic::UPSERT,
        ("coordination.k8s.io", "leases") => &LEASE,
        ("", "serviceaccounts" | "resourcequotas") => &Generic::RETURNED,
        ("policy", "poddisruptionbudgets") => &COUNTED_CONDITIONAL,
        ("scheduling.k8s.io", "priorityclasses") => &COUNTED_ONCE,
        ("admissionregistration.k8s.io", _) => &COUNTED_WHOLE,
        ("flowcontrol.apiserver.k8s.io", _) | ("apiextensions.k8s.io", "customresourcedefinitions") => &Generic::COUNTED,
        ("resource.k8s.io", "resourceclaims" | "resourceclaimtemplates") => &Generic::RETURNED,
        ("resource.k8s.io", _) => &COUNTED_RETURNED,
        _ => return None,
    })
}
