//! Defaults of horizontal pod autoscalers.

use serde_json::{Value, json};

use super::tree::{self, Object};

/// The CPU target where no metric is named, in percent of the request.
const CPU_PERCENT: u32 = 80;

pub(super) fn v1(o: &mut Object) {
    if let Some(spec) = tree::grow(o, "spec") {
        tree::set_absent(spec, "minReplicas", 1);
    }
}

pub(super) fn v2(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "minReplicas", 1);
    let cpu = json!([{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT},
    }}]);
    tree::set_empty(spec, "metrics", cpu);
    if let Some(behavior) = tree::child(spec, "behavior") {
        let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]});
        let down = json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
        rules(behavior, "scaleUp", up);
        rules(behavior, "scaleDown", down);
    }
}

fn rules(behavior: &mut Object, key: &str, defaults: Value) {
    let Some(target) = tree::grow(behavior, key) else { return };
    if let Value::Object(defaults) = defaults {
        for (name, value) in defaults {
            tree::set_absent(target, &name, value);
        }
    }
}
