//! Controllers' kinds: their spec has a generation.

use super::generic::{Counts, Generic};
use super::{Propagation, Strategy};

/// The template is the whole content, beside spec nothing else exists.
const TEMPLATE: Generic = Generic { counts: Counts::AllButMetadata, returns_deleted: true, ..Generic::PLAIN };
/// Old clients orphan its pods unless they say otherwise.
const ORPHANING: Generic = Generic { propagation: Propagation::Orphan, ..Generic::COUNTED };

/// The strategy of a workload kind.
pub(super) fn of(group: &str, plural: &str) -> Option<&'static dyn Strategy> {
    Some(match (group, plural) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => &Generic::COUNTED,
        ("batch", "cronjobs") => &Generic::COUNTED,
        ("batch", "jobs") | ("", "replicationcontrollers") => &ORPHANING,
        ("", "podtemplates") => &TEMPLATE,
        _ => return None,
    })
}
