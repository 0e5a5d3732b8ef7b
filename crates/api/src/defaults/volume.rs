//! Defaults of volumes in pods and of persistent volumes' sources.

use serde_json::json;

use super::image;
use super::storage;
use super::tree::{self, Object};

/// Mode bits of files in secret, config map, downward API and projected volumes: 0644.
const FILE_MODE: u32 = 0o644;
/// Lifetime of a projected service account token, in seconds.
const TOKEN_SECONDS: u32 = 3600;

/// The defaults of one volume of a pod.
pub(super) fn volume(v: &mut Object) {
    if v.iter().all(|(key, value)| key == "name" || value.is_null()) {
        v.insert("emptyDir".to_owned(), json!({}));
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = tree::child(v, key) {
            tree::set_absent(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(items) = tree::child(v, "downwardAPI") {
        field_refs(items);
    }
    if let Some(projected) = tree::child(v, "projected") {
        for source in tree::each(projected, "sources") {
            if let Some(items) = tree::child(source, "downwardAPI") {
                field_refs(items);
            }
            if let Some(token) = tree::child(source, "serviceAccountToken") {
                tree::set_absent(token, "expirationSeconds", TOKEN_SECONDS);
            }
        }
    }
    if let Some(image) = tree::child(v, "image") {
        let policy = image::pull_policy(tree::text(image, "reference"));
        tree::set_empty(image, "pullPolicy", policy);
    }
    if let Some(spec) = tree::descend(v, &["ephemeral", "volumeClaimTemplate", "spec"]) {
        storage::claim_spec(spec);
    }
    source(v);
}

/// Defaults of the sources that pods and persistent volumes share.
pub(super) fn source(v: &mut Object) {
    if let Some(path) = tree::child(v, "hostPath") {
        tree::set_absent(path, "type", "");
    }
    if let Some(iscsi) = tree::child(v, "iscsi") {
        tree::set_empty(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = tree::child(v, "rbd") {
        tree::set_empty(rbd, "pool", "rbd");
        tree::set_empty(rbd, "user", "admin");
        tree::set_empty(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(azure) = tree::child(v, "azureDisk") {
        tree::set_absent(azure, "cachingMode", "ReadWrite");
        tree::set_absent(azure, "fsType", "ext4");
        tree::set_absent(azure, "readOnly", false);
        tree::set_absent(azure, "kind", "Shared");
    }
    if let Some(scale_io) = tree::child(v, "scaleIO") {
        tree::set_empty(scale_io, "storageMode", "ThinProvisioned");
        tree::set_empty(scale_io, "fsType", "xfs");
    }
}

fn field_refs(items: &mut Object) {
    for item in tree::each(items, "items") {
        if let Some(field) = tree::child(item, "fieldRef") {
            tree::set_empty(field, "apiVersion", "v1");
        }
    }
}
