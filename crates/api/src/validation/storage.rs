//! Persistent volumes and claims, storage classes.

use super::at::{At, same};
use super::{amount, format, number, pod};
use crate::field::{Error, ErrorList, Path};

/// Parameters of a storage class: how many, and how long all together, in bytes.
const MAX_PARAMETERS: usize = 512;
const MAX_PARAMETER_BYTES: usize = 256 * 1024;
/// The fields that say where a volume's data is.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

pub(super) fn volume(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    pod::access_modes(&spec.get("accessModes"), "", errs);
    let capacity = spec.get("capacity");
    if capacity.is_empty() {
        capacity.required(errs, "");
    }
    if !capacity.entry("storage").is_set() || capacity.len() > 1 {
        errs.push(Error::not_supported(&capacity.path(), capacity.value().clone(), &["storage"]));
    }
    for (_, value) in capacity.entries() {
        amount::positive(&value, errs);
    }
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        policy.one_of(errs, &["Delete", "Recycle", "Retain"]);
    }
    let affinity = spec.get("nodeAffinity");
    let required = affinity.get("required");
    if required.is_set() {
        pod::node_selector(&required, errs);
    } else if affinity.is_set() {
        required.required(errs, "must specify required node constraints");
    }
    volume_source(&spec, errs);
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        class.complain(errs, format::subdomain(class.str()));
    }
    if spec.get("volumeMode").is_set() {
        spec.get("volumeMode").one_of(errs, &["Block", "Filesystem"]);
    }
}

fn volume_source(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let mut found = false;
    for kind in SOURCES {
        let at = spec.get(kind);
        if !at.is_set() {
            continue;
        }
        if found {
            at.forbidden(errs, "may not specify more than 1 volume type");
            continue;
        }
        found = true;
        match *kind {
            "hostPath" => pod::host_path(&at, errs),
            "local" => {
                if at.get("path").is_empty() {
                    at.get("path").required(errs, "");
                }
                if !spec.get("nodeAffinity").get("required").is_set() {
                    spec.get("nodeAffinity").required(errs, "Local volume requires node affinity");
                }
            }
            "nfs" => {
                for field in ["server", "path"] {
                    if at.get(field).is_empty() {
                        at.get(field).required(errs, "");
                    }
                }
            }
            "csi" => {
                pod::csi_driver_name(&at.get("driver"), errs);
                if at.get("volumeHandle").is_empty() {
                    at.get("volumeHandle").required(errs, "");
                }
            }
            _ => {}
        }
    }
    if !found {
        spec.required(errs, "must specify a volume type");
    }
    let path = spec.get("hostPath");
    if path.get("path").str() == "/" && spec.get("persistentVolumeReclaimPolicy").str() == "Recycle" {
        errs.push(Error::forbidden(
            &spec.path().child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        ));
    }
}

pub(super) fn volume_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    volume(new, errs);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    if SOURCES.iter().any(|kind| !same(spec.get(kind).value(), before.get(kind).value())) {
        let path = Path::new("spec").child("persistentvolumesource");
        errs.push(Error::forbidden(&path, "spec.persistentvolumesource is immutable after creation"));
    }
    let (mode, was) = (spec.get("volumeMode"), before.get("volumeMode"));
    if mode.str() != was.str() {
        errs.push(Error::invalid(&Path::new("volumeMode"), mode.str(), "field is immutable"));
    }
}

pub(super) fn claim(o: &At<'_, '_>, errs: &mut ErrorList) {
    pod::claim_spec(&o.get("spec"), errs);
}

pub(super) fn claim_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    claim(new, errs);
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let bound = new.get("status").get("phase").str() == "Bound";
    let rest = |spec: &At<'_, '_>| {
        let mut v = spec.value().clone();
        let Some(fields) = v.as_object_mut() else { return v };
        // The binder fills these in once.
        if before.get("volumeName").is_empty() {
            fields.remove("volumeName");
        }
        if before.get("storageClassName").value().is_null() {
            fields.remove("storageClassName");
        }
        if bound {
            fields.remove("volumeAttributesClassName");
            if let Some(requests) = fields.get_mut("resources").and_then(|r| r.get_mut("requests")).and_then(|r| r.as_object_mut()) {
                requests.remove("storage");
            }
        }
        v
    };
    if !same(&rest(&spec), &rest(&before)) {
        const WHY: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        spec.forbidden(errs, WHY);
    }
    let storage = |o: &At<'_, '_>, path: [&'static str; 3]| {
        path.iter().try_fold(o.value(), |v, key| v.get(*key)).map(|v| amount::quantity(&At::root(v))).unwrap_or_default()
    };
    let request = ["resources", "requests", "storage"];
    let (now, was, real) = (storage(&spec, request), storage(&before, request), storage(old, ["status", "capacity", "storage"]));
    if now < was && now <= real {
        let path = Path::new("spec").child("resources").child("requests").child("storage");
        errs.push(Error::forbidden(&path, "field can not be less than status.capacity"));
    }
    if spec.get("volumeMode").str() != before.get("volumeMode").str() {
        errs.push(Error::invalid(&Path::new("volumeMode"), spec.get("volumeMode").str(), "field is immutable"));
    }
}

pub(super) fn class(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (provisioner, parameters) = (o.get("provisioner"), o.get("parameters"));
    if provisioner.is_empty() {
        provisioner.required(errs, "");
    } else {
        provisioner.complain(errs, format::qualified_name(&provisioner.str().to_lowercase()));
    }
    let size: usize = parameters.entries().map(|(key, value)| key.len() + value.str().len()).sum();
    if parameters.len() > MAX_PARAMETERS {
        parameters.too_long(errs, MAX_PARAMETERS);
    } else if size > MAX_PARAMETER_BYTES {
        parameters.too_long(errs, MAX_PARAMETER_BYTES);
    }
    if parameters.entries().any(|(key, _)| key.is_empty()) {
        parameters.invalid_shown(errs, "", "field can not be empty.");
    }
    let policy = o.get("reclaimPolicy");
    if !policy.is_empty() {
        policy.one_of(errs, &["Delete", "Retain"]);
    }
    o.get("volumeBindingMode").required_one_of(errs, &["Immediate", "WaitForFirstConsumer"], "");
}

pub(super) fn class_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        new.get(field).immutable(&old.get(field), errs);
    }
}

/// Also of a volume attributes class: what it means never changes.
pub(super) fn attributes_class_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    for field in ["driverName", "parameters"] {
        new.get(field).immutable(&old.get(field), errs);
    }
}

pub(super) fn csi_driver(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let metadata = o.get("metadata");
    pod::csi_driver_name(&metadata.get("name"), errs);
    if spec.get("fsGroupPolicy").is_set() {
        spec.get("fsGroupPolicy").one_of(errs, &["File", "None", "ReadWriteOnceWithFSType"]);
    }
    spec.get("volumeLifecycleModes").items().for_each(|m| m.one_of(errs, &["Ephemeral", "Persistent"]));
    number::counters(&spec, &["nodeAllocatableUpdatePeriodSeconds"], errs);
}
