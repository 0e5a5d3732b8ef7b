//! Rows of events, in both of their forms.

use serde_json::{Value, json};

use super::row::{Row, UNKNOWN, or, text};

/// Where the fields of an event are.
struct Places {
    first: &'static str,
    last: &'static str,
    count: &'static str,
    object: &'static str,
    source: &'static str,
    controller: &'static str,
    message: &'static str,
}

const CORE: Places = Places {
    first: "/firstTimestamp",
    last: "/lastTimestamp",
    count: "/count",
    object: "/involvedObject",
    source: "/source",
    controller: "/reportingComponent",
    message: "/message",
};
const NEW: Places = Places {
    first: "/deprecatedFirstTimestamp",
    last: "/deprecatedLastTimestamp",
    count: "/deprecatedCount",
    object: "/regarding",
    source: "/deprecatedSource",
    controller: "/reportingController",
    message: "/note",
};

/// `v1 Event`.
pub(super) fn event(row: &Row<'_>) -> Vec<Value> {
    cells(row, &CORE)
}

/// `events.k8s.io/v1 Event`.
pub(super) fn new_event(row: &Row<'_>) -> Vec<Value> {
    cells(row, &NEW)
}

fn cells(row: &Row<'_>, at: &Places) -> Vec<Value> {
    let known = |age: String| (age != UNKNOWN).then_some(age);
    let first = known(row.since(at.first)).unwrap_or_else(|| row.since("/eventTime"));
    let mut last = known(row.since(at.last)).unwrap_or_else(|| first.clone());
    // An event without a count happened once.
    let mut count = row.int(at.count).max(1);
    if row.get("/series").is_some() {
        last = row.since("/series/lastObservedTime");
        count = row.int("/series/count");
    }
    let object = row.get(at.object);
    let kind = text(object.and_then(|o| o.get("kind"))).to_lowercase();
    let name = text(object.and_then(|o| o.get("name")));
    let target = if name.is_empty() { kind } else { format!("{kind}/{name}") };
    let source = row.get(at.source);
    let component = or(text(source.and_then(|s| s.get("component"))), row.text(at.controller));
    let instance = or(text(source.and_then(|s| s.get("host"))), row.text("/reportingInstance"));
    let source = if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") };
    vec![
        json!(last),
        json!(row.text("/type")),
        json!(row.text("/reason")),
        json!(target),
        json!(text(object.and_then(|o| o.get("fieldPath")))),
        json!(source),
        json!(row.text(at.message).trim()),
        json!(first),
        json!(count),
        row.name(),
    ]
}
