//! Rows of configuration, accounts and quotas.

use serde_json::{Map, Value, json};

use super::row::{Row, quantity};

pub(super) fn config_map(row: &Row<'_>) -> Vec<Value> {
    let entries = |pointer: &str| row.map(pointer).map_or(0, Map::len);
    vec![row.name(), json!(entries("/data") + entries("/binaryData")), row.age()]
}

pub(super) fn secret(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), json!(row.text("/type")), json!(row.map("/data").map_or(0, Map::len)), row.age()]
}

pub(super) fn service_account(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), row.age()]
}

pub(super) fn resource_quota(row: &Row<'_>) -> Vec<Value> {
    let used = row.map("/status/used");
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in row.map("/status/hard").into_iter().flatten() {
        let used = used.and_then(|u| u.get(resource));
        let entry = format!("{resource}: {}/{}", quantity(used), quantity(Some(hard)));
        if resource.starts_with("limits.") { limits.push(entry) } else { requests.push(entry) }
    }
    vec![row.name(), json!(requests.join(", ")), json!(limits.join(", ")), row.age()]
}
