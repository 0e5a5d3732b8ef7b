//! Rows of flow schemas and priority levels.

use serde_json::{Value, json};

use super::Cells;
use super::row::{NONE, Row, int, text};

pub(super) fn cells(kind: &str) -> Option<Cells> {
    match kind {
        "FlowSchema" => Some(flow_schema),
        "PriorityLevelConfiguration" => Some(priority_level),
        _ => None,
    }
}

/// The order in which flow schemas are tried, which is also the order in which they are listed.
pub(super) fn matching_order(object: &Value) -> (i64, String) {
    (int(object.pointer("/spec/matchingPrecedence")), text(object.pointer("/metadata/name")).to_owned())
}

fn flow_schema(row: &Row<'_>) -> Vec<Value> {
    let method = row.get("/spec/distinguisherMethod").map_or(NONE, |m| text(m.get("type")));
    let dangling = row.condition("Dangling").map_or("?", |c| text(c.get("status")));
    vec![
        row.name(),
        json!(row.text("/spec/priorityLevelConfiguration/name")),
        json!(row.int("/spec/matchingPrecedence")),
        json!(method),
        row.age(),
        json!(dangling),
    ]
}

fn priority_level(row: &Row<'_>) -> Vec<Value> {
    let shares = row.get("/spec/limited").map_or_else(|| json!(NONE), |_| json!(row.int("/spec/limited/nominalConcurrencyShares")));
    let queuing = row.get("/spec/limited/limitResponse/queuing");
    let number = |field: &str| queuing.map_or_else(|| json!(NONE), |q| json!(int(q.get(field))));
    vec![row.name(), json!(row.text("/spec/type")), shares, number("queues"), number("handSize"), number("queueLengthLimit"), row.age()]
}
