//! One metric of an autoscaler in `v2`'s form, and in the flat form that `v1` carries in annotations.

use serde_json::{Map, Value, json};

/// Where a member stands in v1's form and in v2's.
type Member = (&'static str, &'static [&'static str]);

/// One kind of metric: its member's name, and the members of its target and of its current value.
struct Kind {
    name: &'static str,
    common: &'static [Member],
    target: &'static [Member],
    current: &'static [Member],
    /// Members that v1's form has even when v2's has none: quantities that are no pointers.
    always: &'static [&'static str],
}

const METRIC_NAME: Member = ("metricName", &["metric", "name"]);
const SELECTOR: Member = ("selector", &["metric", "selector"]);
const UTILIZATION: Member = ("targetAverageUtilization", &["target", "averageUtilization"]);
const AVERAGE: Member = ("targetAverageValue", &["target", "averageValue"]);
const NOW_UTILIZATION: Member = ("currentAverageUtilization", &["current", "averageUtilization"]);
const NOW_AVERAGE: Member = ("currentAverageValue", &["current", "averageValue"]);

const KINDS: [Kind; 5] = [
    Kind {
        name: "resource",
        common: &[("name", &["name"])],
        target: &[UTILIZATION, AVERAGE],
        current: &[NOW_UTILIZATION, NOW_AVERAGE],
        always: &["currentAverageValue"],
    },
    Kind {
        name: "containerResource",
        common: &[("name", &["name"]), ("container", &["container"])],
        target: &[UTILIZATION, AVERAGE],
        current: &[NOW_UTILIZATION, NOW_AVERAGE],
        always: &["currentAverageValue"],
    },
    Kind {
        name: "object",
        common: &[("target", &["describedObject"]), METRIC_NAME, SELECTOR],
        target: &[("targetValue", &["target", "value"]), ("averageValue", &["target", "averageValue"])],
        current: &[("currentValue", &["current", "value"]), ("averageValue", &["current", "averageValue"])],
        always: &["targetValue", "currentValue"],
    },
    Kind {
        name: "pods",
        common: &[METRIC_NAME, SELECTOR],
        target: &[AVERAGE],
        current: &[NOW_AVERAGE],
        always: &["targetAverageValue", "currentAverageValue"],
    },
    Kind {
        name: "external",
        common: &[METRIC_NAME, ("metricSelector", &["metric", "selector"])],
        target: &[("targetValue", &["target", "value"]), AVERAGE],
        current: &[("currentValue", &["current", "value"]), NOW_AVERAGE],
        always: &["currentValue"],
    },
];

/// Which half of a metric is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Target,
    Current,
}

impl Kind {
    fn members(&self, half: Half) -> impl Iterator<Item = &Member> {
        let own = match half {
            Half::Target => self.target,
            Half::Current => self.current,
        };
        self.common.iter().chain(own)
    }
}

/// A metric of `spec.metrics` in v1's form.
pub(super) fn spec_to_v1(metric: &Value) -> Value {
    each(metric, |kind, source| flat(kind, Half::Target, source))
}

/// A metric of `status.currentMetrics` in v1's form.
pub(super) fn status_to_v1(metric: &Value) -> Value {
    each(metric, |kind, source| flat(kind, Half::Current, source))
}

/// A metric of v1's annotation in v2's form.
pub(super) fn spec_to_v2(metric: &Value) -> Value {
    each(metric, |kind, source| {
        let mut out = nested(kind, Half::Target, source);
        let has = |key: &str| source.get(key).is_some_and(|v| !v.is_null());
        let target = out.entry("target").or_insert_with(|| json!({}));
        let Some(target) = target.as_object_mut() else { return out };
        let word = match kind.name {
            "resource" | "containerResource" if has("targetAverageUtilization") => "Utilization",
            "external" if has("targetValue") => "Value",
            "object" if !has("averageValue") => "Value",
            _ => "AverageValue",
        };
        // v1's form cannot leave the value out, and says 0 instead.
        if kind.name == "object" && word == "AverageValue" && target.get("value").is_some_and(|v| v == "0") {
            target.remove("value");
        }
        target.insert("type".to_owned(), json!(word));
        out
    })
}

/// A metric of v1's annotation of current values in v2's form.
pub(super) fn status_to_v2(metric: &Value) -> Value {
    each(metric, |kind, source| nested(kind, Half::Current, source))
}

fn each(metric: &Value, convert: impl Fn(&Kind, &Value) -> Map<String, Value>) -> Value {
    let mut out = Map::new();
    if let Some(kind) = metric.get("type") {
        out.insert("type".to_owned(), kind.clone());
    }
    for kind in &KINDS {
        if let Some(source) = metric.get(kind.name).filter(|s| s.is_object()) {
            out.insert(kind.name.to_owned(), Value::Object(convert(kind, source)));
        }
    }
    Value::Object(out)
}

fn flat(kind: &Kind, half: Half, source: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, path) in kind.members(half) {
        let found = path.iter().try_fold(source, |at, step| at.get(step));
        let value = found.cloned().or_else(|| kind.always.contains(name).then(|| json!("0")));
        value.map(|v| out.insert((*name).to_owned(), v));
    }
    out
}

fn nested(kind: &Kind, half: Half, source: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    if half == Half::Current {
        out.insert("current".to_owned(), json!({}));
    }
    for (name, path) in kind.members(half) {
        let Some(value) = source.get(name).filter(|v| !v.is_null()) else { continue };
        match path {
            [field] => {
                out.insert((*field).to_owned(), value.clone());
            }
            [outer, field] => {
                let inner = out.entry(*outer).or_insert_with(|| json!({}));
                if let Some(inner) = inner.as_object_mut() {
                    inner.insert((*field).to_owned(), value.clone());
                }
            }
            _ => {}
        }
    }
    out
}
