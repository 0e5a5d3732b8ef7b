//! Defaults of the storage kinds.

use serde_json::json;

use super::tree::{self, Object};
use super::volume;

pub(super) fn persistent_volume(o: &mut Object) {
    if let Some(status) = tree::grow(o, "status") {
        tree::set_empty(status, "phase", "Pending");
    }
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_empty(spec, "persistentVolumeReclaimPolicy", "Retain");
    tree::set_absent(spec, "volumeMode", "Filesystem");
    volume::source(spec);
}

pub(super) fn persistent_volume_claim(o: &mut Object) {
    if let Some(status) = tree::grow(o, "status") {
        tree::set_empty(status, "phase", "Pending");
    }
    if let Some(spec) = tree::grow(o, "spec") {
        claim_spec(spec);
    }
}

/// The spec of a claim, of a claim template and of a pod's ephemeral volume.
pub(super) fn claim_spec(spec: &mut Object) {
    tree::set_absent(spec, "volumeMode", "Filesystem");
}

pub(super) fn storage_class(o: &mut Object) {
    tree::set_absent(o, "reclaimPolicy", "Delete");
    tree::set_absent(o, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "attachRequired", true);
    tree::set_absent(spec, "podInfoOnMount", false);
    tree::set_absent(spec, "storageCapacity", false);
    tree::set_absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    tree::set_empty(spec, "volumeLifecycleModes", json!(["Persistent"]));
    tree::set_absent(spec, "requiresRepublish", false);
    tree::set_absent(spec, "seLinuxMount", false);
}
