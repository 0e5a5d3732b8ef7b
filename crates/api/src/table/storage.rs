//! Rows of volumes, claims, storage classes and CSI objects.

use serde_json::{Value, json};

use super::Cells;
use super::row::{NONE, Row, UNSET, or, quantity, text};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "StorageClass" => storage_class,
        "VolumeAttachment" => volume_attachment,
        "VolumeAttributesClass" => |row| vec![row.name(), json!(row.text("/driverName")), row.age()],
        "CSINode" => |row| vec![row.name(), json!(row.list("/spec/drivers").len()), row.age()],
        "CSIDriver" => csi_driver,
        _ => return None,
    })
}

fn access_modes(row: &Row<'_>, pointer: &str) -> String {
    const SHORT: [(&str, &str); 4] =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let modes = row.list(pointer);
    let words: Vec<&str> = SHORT.iter().filter(|(long, _)| modes.iter().any(|m| text(Some(m)) == *long)).map(|(_, short)| *short).collect();
    words.join(",")
}

fn phase<'a>(row: &Row<'a>) -> &'a str {
    if row.is_deleted() { "Terminating" } else { row.text("/status/phase") }
}

fn class<'a>(row: &Row<'a>) -> &'a str {
    row.annotation(CLASS_ANNOTATION).unwrap_or_else(|| row.text("/spec/storageClassName"))
}

pub(super) fn persistent_volume(row: &Row<'_>) -> Vec<Value> {
    let claim = row.get("/spec/claimRef").map_or_else(String::new, |c| format!("{}/{}", text(c.get("namespace")), text(c.get("name"))));
    vec![
        row.name(),
        json!(quantity(row.get("/spec/capacity/storage"))),
        json!(access_modes(row, "/spec/accessModes")),
        json!(row.text("/spec/persistentVolumeReclaimPolicy")),
        json!(phase(row)),
        json!(claim),
        json!(class(row)),
        json!(row.text_or("/spec/volumeAttributesClassName", UNSET)),
        json!(row.text("/status/reason")),
        row.age(),
        json!(row.text_or("/spec/volumeMode", UNSET)),
    ]
}

pub(super) fn persistent_volume_claim(row: &Row<'_>) -> Vec<Value> {
    let volume = row.text("/spec/volumeName");
    let (capacity, modes) = if volume.is_empty() {
        (String::new(), String::new())
    } else {
        (quantity(row.get("/status/capacity/storage")), access_modes(row, "/status/accessModes"))
    };
    vec![
        row.name(),
        json!(phase(row)),
        json!(volume),
        json!(capacity),
        json!(modes),
        json!(class(row)),
        json!(row.text_or("/spec/volumeAttributesClassName", UNSET)),
        row.age(),
        json!(row.text_or("/spec/volumeMode", UNSET)),
    ]
}

fn storage_class(row: &Row<'_>) -> Vec<Value> {
    const DEFAULT: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let mut name = row.text("/metadata/name").to_owned();
    if DEFAULT.iter().any(|key| row.annotation(key) == Some("true")) {
        name.push_str(" (default)");
    }
    vec![
        json!(name),
        json!(row.text("/provisioner")),
        json!(row.text_or("/reclaimPolicy", "Delete")),
        json!(row.text_or("/volumeBindingMode", "Immediate")),
        json!(row.flag("/allowVolumeExpansion")),
        row.age(),
    ]
}

fn volume_attachment(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        json!(row.text("/spec/attacher")),
        json!(row.text("/spec/source/persistentVolumeName")),
        json!(row.text("/spec/nodeName")),
        json!(row.flag("/status/attached")),
        row.age(),
    ]
}

fn csi_driver(row: &Row<'_>) -> Vec<Value> {
    let modes: Vec<&str> = row.list("/spec/volumeLifecycleModes").iter().map(|m| text(Some(m))).collect();
    let tokens = row.get("/spec/tokenRequests").map_or_else(
        || UNSET.to_owned(),
        |_| {
            let audiences: Vec<&str> = row.list("/spec/tokenRequests").iter().map(|t| text(t.get("audience"))).collect();
            audiences.join(",")
        },
    );
    vec![
        row.name(),
        json!(row.get("/spec/attachRequired").and_then(Value::as_bool).unwrap_or(true)),
        json!(row.flag("/spec/podInfoOnMount")),
        json!(row.flag("/spec/storageCapacity")),
        json!(tokens),
        json!(row.flag("/spec/requiresRepublish")),
        json!(or(&modes.join(","), NONE)),
        row.age(),
    ]
}
