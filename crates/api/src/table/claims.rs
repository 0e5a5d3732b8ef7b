//! Rows of dynamic resource allocation.

use serde_json::{Value, json};

use super::Cells;
use super::row::{NONE, Row, int, text};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "DeviceClass" | "ResourceClaimTemplate" => |row| vec![row.name(), row.age()],
        "ResourceClaim" => |row| vec![row.name(), json!(claim_state(row)), row.age()],
        "ResourceSlice" => resource_slice,
        "DeviceTaintRule" => device_taint_rule,
        "ResourcePoolStatusRequest" => pool_status,
        _ => return None,
    })
}

fn claim_state(row: &Row<'_>) -> String {
    let allocated = row.get("/status/allocation").is_some();
    let mut states = Vec::new();
    if row.is_deleted() {
        states.push("deleted");
    }
    if allocated {
        states.push("allocated");
    } else if !row.is_deleted() {
        states.push("pending");
    }
    if allocated && !row.list("/status/reservedFor").is_empty() {
        states.push("reserved");
    }
    states.join(",")
}

fn resource_slice(row: &Row<'_>) -> Vec<Value> {
    let word = |pointer: &str| json!(row.text(pointer));
    vec![row.name(), word("/spec/nodeName"), word("/spec/driver"), word("/spec/pool/name"), row.age()]
}

fn device_taint_rule(row: &Row<'_>) -> Vec<Value> {
    const ADDED: &str = "/spec/taint/timeAdded";
    let added = row.get(ADDED).map_or_else(String::new, |_| row.since(ADDED));
    let word = |field: &str| json!(row.text(&format!("/spec/taint/{field}")));
    vec![row.name(), word("key"), word("value"), word("effect"), json!(added), row.age()]
}

fn pool_status(row: &Row<'_>) -> Vec<Value> {
    let failed = row.holds("Failed");
    let complete = row.holds("Complete");
    let pools = row.list("/status/pools");
    let count = row.int("/status/poolCount");
    let truncated = usize::try_from(count).is_ok_and(|c| c > pools.len());
    let status = match (complete, failed) {
        (true, _) if truncated => format!("Complete ({}/{count} pools)", pools.len()),
        (true, _) => "Complete".to_owned(),
        (false, true) => "Failed".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    let shown = row.get("/status").is_some() && (complete || !failed);
    let or_dash = |n: i64| if shown { json!(n.to_string()) } else { json!("-") };
    let sum = |field: &str| or_dash(pools.iter().map(|p| int(p.get(field))).fold(0, i64::saturating_add));
    let errors = pools.iter().filter(|p| p.get("validationError").is_some_and(|e| !e.is_null())).count();
    let completed = row
        .condition("Complete")
        .filter(|_| complete)
        .map_or_else(|| NONE.to_owned(), |c| super::age::since(text(c.get("lastTransitionTime")), row.now));
    vec![
        row.name(),
        json!(row.text("/spec/driver")),
        sum("totalDevices"),
        sum("availableDevices"),
        sum("allocatedDevices"),
        sum("unavailableDevices"),
        or_dash(i64::try_from(errors).unwrap_or(i64::MAX)),
        json!(count),
        json!(status),
        json!(completed),
    ]
}
