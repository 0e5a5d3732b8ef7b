//! The annotations by which a Deployment and its ReplicaSets remember revisions and sizes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// What a ReplicaSet must not inherit from its Deployment.
const NOT_COPIED: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAX, "deprecated.deployment.rollback.to"];
/// The longest revision history, in characters; the oldest revisions are forgotten.
const HISTORY_LIMIT: usize = 2000;

type Annotations = BTreeMap<String, String>;

pub(super) fn value<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The revision of a set: 0 when it has none, `None` when it is no number.
pub(super) fn revision(set: &ReplicaSet) -> Option<i64> {
    value(&set.metadata, REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// The deployment's size when this set was last scaled.
pub(super) fn desired(set: &ReplicaSet) -> Option<i32> {
    value(&set.metadata, DESIRED)?.parse().ok().filter(|n| *n >= 0)
}

/// The deployment's maximum when this set was last scaled.
pub(super) fn max(set: &ReplicaSet) -> Option<i32> {
    value(&set.metadata, MAX)?.parse().ok().filter(|n| *n >= 0)
}

/// Writes down the deployment's size; tells whether anything changed.
pub(super) fn set_sizes(set: &mut ReplicaSet, desired: i32, max: i32) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let desired = put(annotations, DESIRED, desired.to_string());
    put(annotations, MAX, max.to_string()) || desired
}

/// Brings the new set's annotations up to date with the deployment's and gives it `revision`; tells whether anything changed.
pub(super) fn renew(set: &mut ReplicaSet, deployment: &ObjectMeta, revision: i64) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in deployment.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&key.as_str()) {
            changed |= put(annotations, key, value.clone());
        }
    }
    let old_text = annotations.get(REVISION).cloned();
    let old: i64 = match old_text.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse() {
            Ok(number) => number,
            // Somebody else's numbering: leave it alone.
            Err(_) => return false,
        },
    };
    if old < revision {
        put(annotations, REVISION, revision.to_string());
        changed = true;
        if let Some(old) = old_text {
            remember(annotations, old);
        }
    }
    changed
}

fn remember(annotations: &mut Annotations, revision: String) {
    let history = annotations.get(HISTORY).cloned().unwrap_or_default();
    let mut revisions: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    revisions.push(&revision);
    let length = |of: &[&str]| of.iter().map(|r| r.len() + 1).sum::<usize>().saturating_sub(1);
    while length(&revisions) > HISTORY_LIMIT && revisions.len() > 1 {
        revisions.remove(0);
    }
    let joined = revisions.join(",");
    annotations.insert(HISTORY.to_owned(), joined);
}

fn put(annotations: &mut Annotations, key: &str, value: String) -> bool {
    if annotations.get(key) == Some(&value) {
        return false;
    }
    annotations.insert(key.to_owned(), value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_comes_back_remembers_the_revisions_it_had() {
        let mut set = ReplicaSet::default();
        let annotations = BTreeMap::from([("team".into(), "a".into()), (REVISION.into(), "7".into())]);
        let deployment = ObjectMeta { annotations: Some(annotations), ..Default::default() };
        assert!(renew(&mut set, &deployment, 1));
        assert!(!renew(&mut set, &deployment, 1));
        assert!(renew(&mut set, &deployment, 3));
        assert!(renew(&mut set, &deployment, 5));
        assert_eq!(value(&set.metadata, REVISION), Some("5"));
        assert_eq!(value(&set.metadata, HISTORY), Some("1,3"));
        assert_eq!(value(&set.metadata, "team"), Some("a"));
        // Beyond 2^53, where floats would round.
        assert!(renew(&mut set, &deployment, 3_546_343_826_724_305_833));
        assert_eq!(revision(&set), Some(3_546_343_826_724_305_833));
    }
}
