//! Defaults of the workload kinds.

use serde_json::{Value, json};

use super::tree::{self, Object};
use super::{pod, storage};

const ROLLING_UPDATE: &str = "RollingUpdate";
/// Old revisions kept for a rollback.
const REVISION_HISTORY: u32 = 10;
/// Retries of a job's pods.
const BACKOFF_LIMIT: u32 = 6;

fn template(spec: &mut Object) {
    if let Some(t) = tree::grow(spec, "template") {
        pod::template_spec(t);
    }
}

/// The template's labels serve as selector and labels where those are silent.
pub(super) fn replication_controller(o: &mut Object) {
    let labels = tree::descend(o, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels {
        if let Some(spec) = tree::grow(o, "spec") {
            tree::set_empty(spec, "selector", labels.clone());
        }
        labels_from(o, labels);
    }
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "replicas", 1);
    if let Some(t) = tree::child(spec, "template") {
        pod::template_spec(t);
    }
}

fn labels_from(o: &mut Object, labels: Object) {
    if let Some(meta) = tree::grow(o, "metadata") {
        tree::set_empty(meta, "labels", labels);
    }
}

pub(super) fn deployment(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "replicas", 1);
    if let Some(strategy) = tree::grow(spec, "strategy") {
        tree::set_empty(strategy, "type", ROLLING_UPDATE);
        if tree::text(strategy, "type") == ROLLING_UPDATE
            && let Some(rolling) = tree::grow(strategy, "rollingUpdate")
        {
            tree::set_absent(rolling, "maxUnavailable", "25%");
            tree::set_absent(rolling, "maxSurge", "25%");
        }
    }
    tree::set_absent(spec, "revisionHistoryLimit", REVISION_HISTORY);
    tree::set_absent(spec, "progressDeadlineSeconds", 600);
    template(spec);
}

pub(super) fn replica_set(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "replicas", 1);
    template(spec);
}

pub(super) fn daemon_set(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    if let Some(strategy) = tree::grow(spec, "updateStrategy") {
        tree::set_empty(strategy, "type", ROLLING_UPDATE);
        if tree::text(strategy, "type") == ROLLING_UPDATE
            && let Some(rolling) = tree::grow(strategy, "rollingUpdate")
        {
            tree::set_absent(rolling, "maxUnavailable", 1);
            tree::set_absent(rolling, "maxSurge", 0);
        }
    }
    tree::set_absent(spec, "revisionHistoryLimit", REVISION_HISTORY);
    template(spec);
}

/// `maxUnavailable` stays silent: the feature behind it is off by default in 1.36.
pub(super) fn stateful_set(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_empty(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = tree::grow(spec, "updateStrategy") {
        if tree::is_empty(strategy, "type") {
            tree::set_empty(strategy, "type", ROLLING_UPDATE);
            tree::set_absent(strategy, "rollingUpdate", json!({}));
        }
        if tree::text(strategy, "type") == ROLLING_UPDATE
            && let Some(rolling) = tree::child(strategy, "rollingUpdate")
        {
            tree::set_absent(rolling, "partition", 0);
        }
    }
    if let Some(retention) = tree::grow(spec, "persistentVolumeClaimRetentionPolicy") {
        tree::set_empty(retention, "whenDeleted", "Retain");
        tree::set_empty(retention, "whenScaled", "Retain");
    }
    tree::set_absent(spec, "replicas", 1);
    tree::set_absent(spec, "revisionHistoryLimit", REVISION_HISTORY);
    template(spec);
    for claim in tree::each(spec, "volumeClaimTemplates") {
        if tree::is_empty(claim, "apiVersion") && tree::is_empty(claim, "kind") {
            claim.insert("apiVersion".to_owned(), "v1".into());
            claim.insert("kind".to_owned(), "PersistentVolumeClaim".into());
        }
        storage::persistent_volume_claim(claim);
    }
}

pub(super) fn job(o: &mut Object) {
    let labels = tree::descend(o, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels {
        labels_from(o, labels);
    }
    let Some(spec) = tree::grow(o, "spec") else { return };
    if tree::is_absent(spec, "completions") && tree::is_absent(spec, "parallelism") {
        tree::set_absent(spec, "completions", 1);
    }
    tree::set_absent(spec, "parallelism", 1);
    let limit = if tree::is_absent(spec, "backoffLimitPerIndex") { BACKOFF_LIMIT } else { i32::MAX.unsigned_abs() };
    tree::set_absent(spec, "backoffLimit", limit);
    tree::set_absent(spec, "completionMode", "NonIndexed");
    tree::set_absent(spec, "suspend", false);
    let replace = if tree::is_absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    tree::set_absent(spec, "podReplacementPolicy", replace);
    tree::set_absent(spec, "manualSelector", false);
    job_spec(spec);
}

/// Labels by which a new job finds its pods: its own UID and name. Does nothing for a job with `manualSelector`.
///
/// To be called once, when the new object has its name and UID and before it is validated.
pub fn select_own_pods(job: &mut Value) {
    let Some(o) = job.as_object_mut() else { return };
    let meta = |o: &Object, key: &str| o.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (uid, name) = (meta(o, "uid"), meta(o, "name"));
    let Some(spec) = tree::child(o, "spec") else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    if let Some(labels) = tree::grow(spec, "template").and_then(|t| tree::grow(t, "metadata")).and_then(|m| tree::grow(m, "labels")) {
        for prefix in ["", "batch.kubernetes.io/"] {
            labels.insert(format!("{prefix}controller-uid"), uid.clone().into());
            labels.insert(format!("{prefix}job-name"), name.clone().into());
        }
    }
    if let Some(selector) = tree::grow(spec, "selector").and_then(|s| tree::grow(s, "matchLabels")) {
        selector.entry("batch.kubernetes.io/controller-uid").or_insert(uid.into());
    }
}

/// The part of a job's defaults that a cron job's template has too.
fn job_spec(spec: &mut Object) {
    if let Some(policy) = tree::child(spec, "podFailurePolicy") {
        for rule in tree::each(policy, "rules") {
            for pattern in tree::each(rule, "onPodConditions") {
                tree::set_empty(pattern, "status", "True");
            }
        }
    }
    template(spec);
}

pub(super) fn cron_job(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_empty(spec, "concurrencyPolicy", "Allow");
    tree::set_absent(spec, "suspend", Value::Bool(false));
    tree::set_absent(spec, "successfulJobsHistoryLimit", 3);
    tree::set_absent(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = tree::grow(spec, "jobTemplate")
        && let Some(job_spec_tree) = tree::grow(job, "spec")
    {
        job_spec(job_spec_tree);
    }
}
