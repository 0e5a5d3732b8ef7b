//! Questions about ReplicaSets, and their orders.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::jiff::Timestamp;

use super::annotations::revision;
use super::hash;

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(super) fn set_size(set: &mut ReplicaSet, size: i32) {
    set.spec.get_or_insert_default().replicas = Some(size);
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
}

pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |s| s.replicas)
}

pub(super) fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)
}

/// Whether the set makes pods of this template, apart from the hash label.
pub(super) fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let without_hash = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        if let Some(metadata) = template.metadata.as_mut() {
            metadata.labels.as_mut().map(|labels| labels.remove(hash::LABEL));
            metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
        }
        template
    };
    let own = set.spec.as_ref().and_then(|s| s.template.as_ref());
    own.is_some_and(|own| without_hash(own) == without_hash(template))
}

fn age_key(set: &ReplicaSet) -> (Option<Timestamp>, Option<&str>) {
    (set.metadata.creation_timestamp.as_ref().map(|t| t.0), set.metadata.name.as_deref())
}

pub(super) fn oldest_first(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    age_key(a).cmp(&age_key(b))
}

pub(super) fn largest_then_newest(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    Reverse(size(a)).cmp(&Reverse(size(b))).then_with(|| oldest_first(b, a))
}

pub(super) fn largest_then_oldest(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    Reverse(size(a)).cmp(&Reverse(size(b))).then_with(|| oldest_first(a, b))
}

pub(super) fn lowest_revision_first(a: &ReplicaSet, b: &ReplicaSet) -> Ordering {
    match (revision(a), revision(b)) {
        (Some(a_revision), Some(b_revision)) if a_revision != b_revision => a_revision.cmp(&b_revision),
        _ => oldest_first(a, b),
    }
}
