//! Tables of objects (`meta.k8s.io/v1 Table`): what `kubectl get` shows.
//!
//! Columns come from the resource's descriptor, cells from one function per kind; kinds without one show name and creation
//! time. Cells say the same as Kubernetes' own printers, always with the columns of wide output: the client chooses.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::resources::{Column, ResourceDescriptor};

mod access;
mod admission;
mod age;
mod autoscaling;
mod batch;
mod claims;
mod cluster;
mod config;
mod events;
mod flow;
mod network;
mod pods;
mod row;
mod scheduling;
mod selector;
mod services;
mod storage;
mod workloads;

pub use age::human_duration;
use row::Row;

/// What each row carries besides its cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// Whether the table says its columns; the second and later events of a watch do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Headers {
    /// `columnDefinitions` are there.
    #[default]
    Shown,
    /// They are null.
    LeftOut,
}

/// Makes the cells of one object.
type Cells = fn(&Row<'_>) -> Vec<Value>;

/// How objects of one kind become rows.
#[derive(Clone, Debug)]
pub struct Printer<'a> {
    columns: &'a [Column],
    cells: Cells,
}

/// The whole table of some objects, with column definitions.
///
/// `metadata` is the table's own list metadata, `now` is what ages count from.
pub fn table(resource: &ResourceDescriptor, objects: &[Value], metadata: Value, include: IncludeObject, now: SystemTime) -> Value {
    let printer = Printer::of(resource);
    let mut order: Vec<&Value> = objects.iter().collect();
    if resource.kind == "FlowSchema" {
        order.sort_by_key(|o| flow::matching_order(o));
    }
    let rows = order.into_iter().map(|o| printer.row(o, include, now)).collect();
    printer.table(rows, metadata, Headers::Shown)
}

impl<'a> Printer<'a> {
    /// The printer of a resource.
    pub fn of(resource: &'a ResourceDescriptor) -> Self {
        Self::of_kind(&resource.group, &resource.kind, &resource.columns)
    }

    /// The printer of a subresource whose body is of another kind, such as `scale`.
    pub fn of_kind(group: &str, kind: &str, columns: &'a [Column]) -> Self {
        let generic = columns.is_empty() || columns.iter().any(|c| c.name == "Created At");
        match cells_of(group, kind).filter(|_| !generic) {
            Some(cells) => Self { columns, cells },
            None => Self { columns: &[], cells: generic_cells },
        }
    }

    /// `columnDefinitions`.
    pub fn columns(&self) -> Value {
        if self.columns.is_empty() {
            return json!([
                {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
                {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
            ]);
        }
        let column =
            |c: &Column| json!({"name": c.name, "type": c.cell_type, "format": c.format, "description": "", "priority": c.priority});
        self.columns.iter().map(column).collect()
    }

    /// The cells of one object, in the order of the columns.
    pub fn cells(&self, object: &Value, now: SystemTime) -> Vec<Value> {
        (self.cells)(&Row::new(object, now))
    }

    /// One row. `object` is cloned only as far as `include` asks for.
    pub fn row(&self, object: &Value, include: IncludeObject, now: SystemTime) -> Value {
        let carried = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
            }),
            IncludeObject::Object => object.clone(),
        };
        let mut row = json!({"cells": self.cells(object, now), "object": carried});
        let conditions = self.conditions(object);
        if let (Some(fields), Some(conditions)) = (row.as_object_mut(), conditions) {
            fields.insert("conditions".to_owned(), conditions);
        }
        row
    }

    /// A table of rows that [`Printer::row`] made.
    pub fn table(&self, rows: Vec<Value>, metadata: Value, headers: Headers) -> Value {
        let columns = match headers {
            Headers::Shown => self.columns(),
            Headers::LeftOut => Value::Null,
        };
        json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
    }

    fn conditions(&self, object: &Value) -> Option<Value> {
        if std::ptr::fn_addr_eq(self.cells, pods::pod as Cells) { pods::conditions(object) } else { None }
    }
}

fn generic_cells(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), json!(row.text("/metadata/creationTimestamp"))]
}

fn cells_of(group: &str, kind: &str) -> Option<Cells> {
    match group {
        "" => core_cells(kind),
        "apps" => workloads::cells(kind),
        "batch" => batch::cells(kind),
        "autoscaling" => autoscaling::cells(kind),
        "events.k8s.io" => (kind == "Event").then_some(events::new_event as Cells),
        "networking.k8s.io" | "discovery.k8s.io" => network::cells(kind),
        "storage.k8s.io" => storage::cells(kind),
        "admissionregistration.k8s.io" => admission::cells(kind),
        "rbac.authorization.k8s.io" | "certificates.k8s.io" => access::cells(kind),
        "flowcontrol.apiserver.k8s.io" => flow::cells(kind),
        "resource.k8s.io" => claims::cells(kind),
        "policy" | "scheduling.k8s.io" | "node.k8s.io" => scheduling::cells(kind),
        "coordination.k8s.io" | "apiregistration.k8s.io" | "internal.apiserver.k8s.io" | "storagemigration.k8s.io" => cluster::cells(kind),
        _ => None,
    }
}

fn core_cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "Pod" => pods::pod,
        "PodTemplate" => pods::pod_template,
        "ReplicationController" => workloads::replication_controller,
        "Service" => services::service,
        "Endpoints" => services::endpoints,
        "Event" => events::event,
        "PersistentVolume" => storage::persistent_volume,
        "PersistentVolumeClaim" => storage::persistent_volume_claim,
        "Node" => cluster::node,
        "Namespace" => cluster::namespace,
        "ComponentStatus" => cluster::component_status,
        "ConfigMap" => config::config_map,
        "Secret" => config::secret,
        "ServiceAccount" => config::service_account,
        "ResourceQuota" => config::resource_quota,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
