//! Defaults of pods and pod templates.

use serde_json::{Value, json};

use super::tree::{self, Object};
use super::{container, volume};

/// Seconds between the first signal and the kill.
const GRACE_SECONDS: u32 = 30;

/// A pod: the template's defaults and those that only real pods have.
pub(super) fn pod(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    let on_host = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    tree::set_absent(spec, "enableServiceLinks", true);
    for key in ["containers", "initContainers"] {
        for c in tree::each(spec, key) {
            container::requests_from_limits(c);
            if on_host {
                container::host_ports(c);
            }
        }
    }
    pod_spec(spec);
}

/// A `PodTemplate` object.
pub(super) fn template(o: &mut Object) {
    if let Some(t) = tree::child(o, "template") {
        template_spec(t);
    }
}

/// A pod template inside a workload.
pub(super) fn template_spec(t: &mut Object) {
    if let Some(spec) = tree::grow(t, "spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Object) {
    tree::set_empty(spec, "dnsPolicy", "ClusterFirst");
    tree::set_empty(spec, "restartPolicy", "Always");
    tree::set_absent(spec, "securityContext", json!({}));
    tree::set_absent(spec, "terminationGracePeriodSeconds", GRACE_SECONDS);
    tree::set_empty(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    for key in ["containers", "initContainers", "ephemeralContainers"] {
        for c in tree::each(spec, key) {
            container::container(c);
        }
    }
    for v in tree::each(spec, "volumes") {
        volume::volume(v);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: the new one wins, and both are shown.
fn service_account(spec: &mut Object) {
    let name = match (tree::text(spec, "serviceAccountName"), tree::text(spec, "serviceAccount")) {
        ("", "") => return,
        ("", old) => old.to_owned(),
        (new, _) => new.to_owned(),
    };
    spec.insert("serviceAccount".to_owned(), Value::String(name.clone()));
    spec.insert("serviceAccountName".to_owned(), Value::String(name));
}
