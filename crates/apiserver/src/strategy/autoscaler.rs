//! Horizontal pod autoscalers: `autoscaling/v1` knows one CPU target, and has annotations for the rest of `v2`.

mod metrics;

use api::codec::{self, FieldValidation};
use api::meta::{self, Gvk};
use serde_json::{Map, Value, json};

use super::Strategy;
use super::generic::relabel;
use crate::model;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// What carries fields of `v2` through `v1`; nothing of it is ever stored.
const CARRIERS: [&str; 6] = [
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];
/// The CPU target where no metric is named, in percent of the request.
const CPU_PERCENT: u32 = 80;

pub(super) struct Autoscalers;

impl Strategy for Autoscalers {
    fn prepare_create(&self, object: &mut Value) {
        super::generic::drop_status(object);
        drop_carriers_of_v2(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        super::keep_old(new, old, "status");
        drop_carriers_of_v2(new);
    }

    fn convert(&self, object: Value, to: &Gvk) -> Value {
        let from_v1 = object.get("apiVersion").is_some_and(|v| v == "autoscaling/v1");
        match (from_v1, to.version.as_str()) {
            (true, "v2") => relabel(to_v2(object, to), to),
            (false, "v1") => relabel(to_v1(object), to),
            _ => relabel(object, to),
        }
    }
}

fn drop_carriers_of_v2(object: &mut Value) {
    if object.get("apiVersion").is_some_and(|v| v == "autoscaling/v2") {
        take_carriers(object);
    }
}

/// Takes the annotations that carry fields out of the object.
fn take_carriers(object: &mut Value) -> Map<String, Value> {
    let mut taken = Map::new();
    let Some(metadata) = meta::metadata_mut(object) else { return taken };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return taken };
    for key in CARRIERS {
        if let Some(value) = annotations.remove(key) {
            taken.insert(key.to_owned(), value);
        }
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    taken
}

fn is_cpu(metric: &Value) -> bool {
    metric.get("type").is_some_and(|t| t == "Resource") && metric.pointer("/resource/name").is_some_and(|n| n == "cpu")
}

fn utilization(metric: &Value) -> Option<&Value> {
    metric.pointer("/resource/target/averageUtilization").filter(|_| is_cpu(metric))
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn to_v1(mut object: Value) -> Value {
    take_carriers(&mut object);
    let others: Vec<Value> = list(&object, "/spec/metrics").iter().filter(|m| utilization(m).is_none()).map(metrics::spec_to_v1).collect();
    let target = list(&object, "/spec/metrics").iter().find_map(utilization).cloned();
    let statuses: Vec<Value> = list(&object, "/status/currentMetrics").iter().map(metrics::status_to_v1).collect();
    let current = list(&object, "/status/currentMetrics").iter().filter(|m| is_cpu(m));
    let current = current.filter_map(|m| m.pointer("/resource/current/averageUtilization")).last().cloned();
    let conditions = list(&object, "/status/conditions").to_vec();

    let behavior = part(&mut object, "spec").and_then(|spec| {
        spec.remove("metrics");
        target.map(|t| spec.insert("targetCPUUtilizationPercentage".to_owned(), t));
        spec.remove("behavior")
    });
    if let Some(status) = part(&mut object, "status") {
        status.remove("currentMetrics");
        status.remove("conditions");
        current.map(|c| status.insert("currentCPUUtilizationPercentage".to_owned(), c));
    }
    for (key, values) in [(METRICS, others), (CURRENT_METRICS, statuses), (CONDITIONS, conditions)] {
        if !values.is_empty() {
            annotate(&mut object, key, &Value::Array(values));
        }
    }
    if let Some(behavior) = behavior {
        // Upstream wrote its internal type here, whose names have capitals, and reads them in either form.
        annotate(&mut object, BEHAVIOR, &renamed(behavior, char::to_uppercase));
    }
    object
}

fn part<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(field).and_then(Value::as_object_mut)
}

fn annotate(object: &mut Value, key: &str, value: &Value) {
    let Some(metadata) = meta::metadata_mut(object) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.to_owned(), json!(value.to_string()));
    }
}

/// The same tree with the first letter of every name changed, and without nulls.
fn renamed<I: Iterator<Item = char>>(value: Value, first: fn(char) -> I) -> Value {
    match value {
        Value::Object(map) => {
            let rename = |key: String| {
                let mut letters = key.chars();
                letters.next().map(|c| first(c).chain(letters).collect()).unwrap_or_default()
            };
            Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (rename(k), renamed(v, first))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(|v| renamed(v, first)).collect()),
        other => other,
    }
}

fn to_v2(mut object: Value, to: &Gvk) -> Value {
    let carriers = take_carriers(&mut object);
    if !carriers.is_empty() {
        let full = with_carriers(object.clone(), &carriers);
        // Annotations are anybody's text: what does not fit the kind is passed over, as upstream passes it over.
        if codec::decode_value(&relabel(full.clone(), to), model::schema(to), FieldValidation::Ignore).is_ok() {
            return full;
        }
    }
    with_carriers(object, &Map::new())
}

fn with_carriers(mut object: Value, carriers: &Map<String, Value>) -> Value {
    let carried = |key: &str| -> Option<Value> { serde_json::from_str(carriers.get(key)?.as_str()?).ok() };
    let carried_list = |key: &str| carried(key).and_then(|v| if let Value::Array(list) = v { Some(list) } else { None });
    if let Some(spec) = part(&mut object, "spec") {
        let mut metrics: Vec<Value> = carried_list(METRICS).unwrap_or_default().iter().map(metrics::spec_to_v2).collect();
        let target = spec.remove("targetCPUUtilizationPercentage");
        if let Some(percent) = target.or_else(|| metrics.is_empty().then(|| json!(CPU_PERCENT))) {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        spec.insert("metrics".to_owned(), Value::Array(metrics));
        if let Some(behavior) = carried(BEHAVIOR).filter(Value::is_object).map(|b| renamed(b, char::to_lowercase)) {
            if behavior.as_object().is_some_and(|b| !b.is_empty()) {
                spec.insert("behavior".to_owned(), behavior);
            }
        }
    }
    if let Some(status) = part(&mut object, "status") {
        let current = status.remove("currentCPUUtilizationPercentage");
        let cpu = current.map(|c| vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": c}}})]);
        let statuses = carried_list(CURRENT_METRICS).map(|l| l.iter().map(metrics::status_to_v2).collect());
        if let Some(metrics) = statuses.or(cpu) {
            status.insert("currentMetrics".to_owned(), Value::Array(metrics));
        }
        if let Some(conditions) = carried_list(CONDITIONS) {
            status.insert("conditions".to_owned(), Value::Array(conditions));
        }
    }
    object
}

#[cfg(test)]
mod tests;
