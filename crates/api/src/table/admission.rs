//! Rows of admission webhooks and policies.

use serde_json::{Value, json};

use super::row::{Row, UNSET, text};
use super::{Cells, selector};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            |row| vec![row.name(), json!(row.list("/webhooks").len()), row.age()]
        }
        "ValidatingAdmissionPolicy" => |row| policy(row, "/spec/validations"),
        "MutatingAdmissionPolicy" => |row| policy(row, "/spec/mutations"),
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => binding,
        _ => return None,
    })
}

fn policy(row: &Row<'_>, rules: &str) -> Vec<Value> {
    let parameter =
        row.get("/spec/paramKind").map_or_else(|| UNSET.to_owned(), |p| format!("{}/{}", text(p.get("apiVersion")), text(p.get("kind"))));
    vec![row.name(), json!(row.list(rules).len()), json!(parameter), row.age()]
}

fn binding(row: &Row<'_>) -> Vec<Value> {
    let parameter = row.get("/spec/paramRef").and_then(|p| match (text(p.get("namespace")), text(p.get("name"))) {
        (_, "") => p.get("selector").filter(|s| !s.is_null()).map(selector::go_struct),
        // Whether the parameter is of a namespace cannot be seen here.
        ("", name) => Some(format!("*/{name}")),
        (namespace, name) => Some(format!("{namespace}/{name}")),
    });
    vec![row.name(), json!(row.text("/spec/policyName")), json!(parameter.as_deref().unwrap_or(UNSET)), row.age()]
}
