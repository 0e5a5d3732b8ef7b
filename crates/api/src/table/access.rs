//! Rows of role bindings and certificates.

use serde_json::{Value, json};

use super::Cells;
use super::age::human_duration;
use super::row::{NONE, Row, or, text};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "RoleBinding" | "ClusterRoleBinding" => role_binding,
        "CertificateSigningRequest" => signing_request,
        "ClusterTrustBundle" => |row| vec![row.name(), json!(or(row.text("/spec/signerName"), NONE))],
        "PodCertificateRequest" => pod_certificate_request,
        _ => return None,
    })
}

fn role_binding(row: &Row<'_>) -> Vec<Value> {
    let subjects = |kind: &str| {
        let found = row.list("/subjects").iter().filter(|s| text(s.get("kind")) == kind);
        let names: Vec<String> = found
            .map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", text(s.get("namespace")), text(s.get("name"))),
                _ => text(s.get("name")).to_owned(),
            })
            .collect();
        json!(names.join(", "))
    };
    let role = format!("{}/{}", row.text("/roleRef/kind"), row.text("/roleRef/name"));
    vec![row.name(), json!(role), row.age(), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let duration = row.get("/spec/expirationSeconds").and_then(Value::as_i64).map_or_else(|| NONE.to_owned(), human_duration);
    let has = |kind: &str| row.condition(kind).is_some();
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !row.text("/status/certificate").is_empty() {
        status.push_str(",Issued");
    }
    vec![
        row.name(),
        row.age(),
        json!(or(row.text("/spec/signerName"), NONE)),
        json!(row.text("/spec/username")),
        json!(duration),
        json!(status),
    ]
}

fn pod_certificate_request(row: &Row<'_>) -> Vec<Value> {
    let told = row.list("/status/conditions").iter().rev().map(|c| text(c.get("type")));
    let state = told.into_iter().find(|t| matches!(*t, "Issued" | "Denied" | "Failed")).unwrap_or("Pending");
    let word = |field: &str| json!(row.text(&format!("/spec/{field}")));
    vec![
        row.name(),
        word("podName"),
        word("serviceAccountName"),
        word("nodeName"),
        word("signerName"),
        json!(state),
        row.labels("/spec/unverifiedUserAnnotations"),
    ]
}
