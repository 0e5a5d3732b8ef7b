//! Rows of disruption budgets, priorities, pod groups and runtime classes.

use serde_json::{Value, json};

use super::Cells;
use super::row::{NONE, Row, scalar, text};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "PodDisruptionBudget" => pod_disruption_budget,
        "PriorityClass" => priority_class,
        "RuntimeClass" => |row| vec![row.name(), json!(row.text("/handler")), row.age()],
        "Workload" => |row| vec![row.name(), row.age()],
        "PodGroup" => pod_group,
        _ => return None,
    })
}

fn pod_disruption_budget(row: &Row<'_>) -> Vec<Value> {
    let bound = |pointer: &str| json!(scalar(row.get(pointer)).unwrap_or_else(|| "N/A".to_owned()));
    vec![row.name(), bound("/spec/minAvailable"), bound("/spec/maxUnavailable"), json!(row.int("/status/disruptionsAllowed")), row.age()]
}

fn priority_class(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), json!(row.int("/value")), json!(row.flag("/globalDefault")), row.age(), json!(row.text("/preemptionPolicy"))]
}

fn pod_group(row: &Row<'_>) -> Vec<Value> {
    let policy = if row.get("/spec/schedulingPolicy/gang").is_some() { "Gang" } else { "Basic" };
    let scheduled = row.condition("PodGroupScheduled");
    let status = match (row.condition("DisruptionTarget"), scheduled) {
        (Some(disruption), _) => text(disruption.get("reason")),
        (None, None) => "Pending",
        (None, Some(_)) if row.holds("PodGroupScheduled") => "Scheduled",
        (None, Some(_)) => "Unschedulable",
    };
    let workload = row.get("/spec/podGroupTemplateRef").map_or(NONE, |_| row.text("/spec/podGroupTemplateRef/workload/workloadName"));
    vec![row.name(), json!(policy), json!(workload), json!(status), row.age()]
}
