//! Rows of controllers that keep pods.

use serde_json::{Value, json};

use super::row::{NONE, Row, text};
use super::{Cells, selector};
use crate::meta;

const CONTAINERS: &str = "/spec/template/spec/containers";

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "Deployment" => deployment,
        "ReplicaSet" => replica_set,
        "StatefulSet" => stateful_set,
        "DaemonSet" => daemon_set,
        "ControllerRevision" => controller_revision,
        _ => return None,
    })
}

fn replicas(row: &Row<'_>) -> Vec<Value> {
    vec![
        row.name(),
        json!(row.int("/spec/replicas")),
        json!(row.int("/status/replicas")),
        json!(row.int("/status/readyReplicas")),
        row.age(),
    ]
}

pub(super) fn replication_controller(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    cells.extend(row.containers(CONTAINERS));
    cells.push(row.labels("/spec/selector"));
    cells
}

fn replica_set(row: &Row<'_>) -> Vec<Value> {
    let mut cells = replicas(row);
    cells.extend(row.containers(CONTAINERS));
    cells.push(row.selector("/spec/selector"));
    cells
}

fn ready(row: &Row<'_>) -> Value {
    json!(format!("{}/{}", row.int("/status/readyReplicas"), row.int("/spec/replicas")))
}

fn deployment(row: &Row<'_>) -> Vec<Value> {
    let selector = selector::requirements(row.get("/spec/selector")).unwrap_or_else(|| "<invalid>".to_owned());
    let [names, images] = row.containers(CONTAINERS);
    let (updated, available) = (row.int("/status/updatedReplicas"), row.int("/status/availableReplicas"));
    vec![row.name(), ready(row), json!(updated), json!(available), row.age(), names, images, json!(selector)]
}

fn stateful_set(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers(CONTAINERS);
    vec![row.name(), ready(row), row.age(), names, images]
}

fn daemon_set(row: &Row<'_>) -> Vec<Value> {
    let mut cells = vec![row.name()];
    for field in ["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"] {
        cells.push(json!(row.int(&format!("/status/{field}"))));
    }
    cells.extend([row.labels("/spec/template/spec/nodeSelector"), row.age()]);
    cells.extend(row.containers(CONTAINERS));
    cells.push(row.selector("/spec/selector"));
    cells
}

fn controller_revision(row: &Row<'_>) -> Vec<Value> {
    let controller = meta::controller_of(row.object).map_or_else(
        || NONE.to_owned(),
        |owner| {
            let group = meta::gvk::parse_api_version(owner.api_version).map_or("", |(group, _)| group);
            let kind = if group.is_empty() { owner.kind.to_owned() } else { format!("{}.{group}", owner.kind) };
            format!("{}/{}", kind.to_lowercase(), owner.name)
        },
    );
    vec![row.name(), json!(controller), json!(row.int("/revision")), row.age()]
}

/// Rows of the `scale` subresource.
pub(super) fn scale(row: &Row<'_>) -> Vec<Value> {
    vec![json!(text(row.get("/metadata/name"))), json!(row.int("/spec/replicas")), json!(row.int("/status/replicas")), row.age()]
}
