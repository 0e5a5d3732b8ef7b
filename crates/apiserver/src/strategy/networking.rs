//! Kinds of the network besides Service.

use super::Strategy;
use super::generic::{Counts, Generic};

const SLICE: Generic = Generic { counts: Counts::AllButMetadata, ..Generic::PLAIN };

/// The strategy of a kind of the network.
pub(super) fn of(group: &str, plural: &str) -> Option<&'static dyn Strategy> {
    Some(match (group, plural) {
        ("networking.k8s.io", "ingresses" | "ingressclasses" | "networkpolicies") => &Generic::COUNTED,
        ("discovery.k8s.io", "endpointslices") => &SLICE,
        ("", "endpoints") => &Generic::UPSERT,
        _ => return None,
    })
}
