//! Rows of nodes, namespaces, leases and what the servers keep about themselves.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Cells;
use super::row::{NONE, Row, UNKNOWN, UNSET, or, some_of, text};

/// At most this many storage versions are shown.
const SHOWN: usize = 3;

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "Lease" => |row| vec![row.name(), json!(row.text("/spec/holderIdentity")), row.age()],
        "LeaseCandidate" => lease_candidate,
        "APIService" => api_service,
        "StorageVersion" => storage_version,
        "StorageVersionMigration" => storage_version_migration,
        _ => return None,
    })
}

pub(super) fn namespace(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), json!(row.text("/status/phase")), row.age()]
}

pub(super) fn component_status(row: &Row<'_>) -> Vec<Value> {
    let healthy = row.list("/conditions").iter().find(|c| text(c.get("type")) == "Healthy");
    let status = match healthy.map(|c| text(c.get("status"))) {
        None => "Unknown",
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
    };
    let word = |field: &str| json!(text(healthy.and_then(|c| c.get(field))));
    vec![row.name(), json!(status), word("message"), word("error")]
}

pub(super) fn node(row: &Row<'_>) -> Vec<Value> {
    let mut status = match row.condition("Ready") {
        Some(_) if row.holds("Ready") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if row.flag("/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let mut kernel = or(row.text("/status/nodeInfo/kernelVersion"), UNKNOWN).to_owned();
    let architecture = row.text("/status/nodeInfo/architecture");
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    let roles: Vec<String> = roles(row).into_iter().collect();
    vec![
        row.name(),
        json!(status),
        json!(or(&roles.join(","), NONE)),
        row.age(),
        json!(row.text("/status/nodeInfo/kubeletVersion")),
        json!(address(row, "InternalIP")),
        json!(address(row, "ExternalIP")),
        json!(or(row.text("/status/nodeInfo/osImage"), UNKNOWN)),
        json!(kernel),
        json!(or(row.text("/status/nodeInfo/containerRuntimeVersion"), UNKNOWN)),
    ]
}

fn roles(row: &Row<'_>) -> BTreeSet<String> {
    let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    row.map("/metadata/labels").into_iter().flatten().filter_map(role).filter(|r| !r.is_empty()).collect()
}

fn address<'a>(row: &Row<'a>, kind: &str) -> &'a str {
    let found = row.list("/status/addresses").iter().find(|a| text(a.get("type")) == kind);
    found.map_or(NONE, |a| text(a.get("address")))
}

fn lease_candidate(row: &Row<'_>) -> Vec<Value> {
    let word = |pointer: &str| json!(row.text(pointer));
    vec![row.name(), word("/spec/leaseName"), word("/spec/binaryVersion"), word("/spec/emulationVersion"), row.age()]
}

fn api_service(row: &Row<'_>) -> Vec<Value> {
    let service =
        row.get("/spec/service").map_or_else(|| "Local".to_owned(), |s| format!("{}/{}", text(s.get("namespace")), text(s.get("name"))));
    let available = row.condition("Available").map_or_else(
        || "Unknown".to_owned(),
        |c| match (text(c.get("status")), text(c.get("reason"))) {
            ("True", _) => "True".to_owned(),
            (status, "") => status.to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    vec![row.name(), json!(service), json!(available), row.age()]
}

fn storage_version(row: &Row<'_>) -> Vec<Value> {
    let version = |v: &Value| format!("{}={}", text(v.get("apiServerID")), text(v.get("encodingVersion")));
    let versions: Vec<String> = row.list("/status/storageVersions").iter().map(version).collect();
    vec![
        row.name(),
        json!(row.text_or("/status/commonEncodingVersion", UNSET)),
        json!(or(&some_of(&versions, SHOWN, ","), UNSET)),
        row.age(),
    ]
}

fn storage_version_migration(row: &Row<'_>) -> Vec<Value> {
    let (group, resource) = (row.text("/spec/resource/group"), row.text("/spec/resource/resource"));
    let of = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let told = row
        .list("/status/conditions")
        .iter()
        .rev()
        .find(|c| text(c.get("status")) == "True" && matches!(text(c.get("type")), "Running" | "Failed" | "Succeeded"));
    vec![row.name(), json!(of), json!(told.map_or("Unknown", |c| text(c.get("type"))))]
}
