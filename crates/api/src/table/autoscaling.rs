//! Rows of autoscalers and of the `scale` subresource.

use serde_json::{Value, json};

use super::row::{NONE, Row, UNKNOWN, UNSET, list, quantity, scalar, some_of, text};
use super::{Cells, workloads};

/// At most this many metrics are shown.
const SHOWN: usize = 2;

pub(super) fn cells(kind: &str) -> Option<Cells> {
    match kind {
        "HorizontalPodAutoscaler" => Some(autoscaler),
        "Scale" => Some(workloads::scale),
        _ => None,
    }
}

fn autoscaler(row: &Row<'_>) -> Vec<Value> {
    let target = format!("{}/{}", row.text("/spec/scaleTargetRef/kind"), row.text("/spec/scaleTargetRef/name"));
    let metrics: Vec<String> = match row.get("/spec/metrics") {
        Some(specs) => {
            let statuses = row.list("/status/currentMetrics");
            list(Some(specs)).iter().enumerate().map(|(i, spec)| metric(spec, statuses.get(i))).collect()
        }
        None => cpu_of_v1(row).into_iter().collect(),
    };
    let metrics = if metrics.is_empty() { NONE.to_owned() } else { some_of(&metrics, SHOWN, ", ") };
    vec![
        row.name(),
        json!(target),
        json!(metrics),
        json!(scalar(row.get("/spec/minReplicas")).unwrap_or_else(|| UNSET.to_owned())),
        json!(row.int("/spec/maxReplicas")),
        json!(row.int("/status/currentReplicas")),
        row.age(),
    ]
}

/// `autoscaling/v1` knows only the use of CPU as a field.
fn cpu_of_v1(row: &Row<'_>) -> Option<String> {
    let target = row.get("/spec/targetCPUUtilizationPercentage")?;
    let current = row.get("/status/currentCPUUtilizationPercentage");
    Some(format!("cpu: {}/{target}%", percent(current).unwrap_or_else(|| UNKNOWN.to_owned())))
}

fn percent(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_i64).map(|p| format!("{p}%"))
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (field, resource) = match text(spec.get("type")) {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let spec = spec.get(field);
    let target = spec.and_then(|s| s.get("target"));
    let current = status.and_then(|s| s.get(field)).and_then(|s| s.get("current"));
    let of = |place: Option<&Value>, name: &str| scalar(place.and_then(|p| p.get(name)));
    let shown = |name: &str| of(current, name).unwrap_or_else(|| UNKNOWN.to_owned());
    let average = of(target, "averageValue");
    if resource {
        let name = text(spec.and_then(|s| s.get("name")));
        return match average {
            Some(target) => format!("{name}: {}/{target}", shown("averageValue")),
            None => {
                let use_of = |place: Option<&Value>| percent(place.and_then(|p| p.get("averageUtilization")));
                let current = use_of(current).unwrap_or_else(|| UNKNOWN.to_owned());
                format!("{name}: {current}/{}", use_of(target).unwrap_or_else(|| "<auto>".to_owned()))
            }
        };
    }
    match average {
        Some(target) if field == "pods" => format!("{}/{target}", shown("averageValue")),
        Some(target) => format!("{}/{target} (avg)", shown("averageValue")),
        None => format!("{}/{}", shown("value"), quantity(target.and_then(|t| t.get("value")))),
    }
}
