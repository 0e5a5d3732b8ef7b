//! Events: kept for an hour, one storage for both API groups.

use std::time::Duration;

use api::meta::Gvk;
use serde_json::{Map, Value, json};

use super::generic::relabel;
use super::{Strategy, Unconditional, Upsert};

/// Kubernetes' `--event-ttl`.
const KEPT: Duration = Duration::from_secs(3600);
/// Names that differ: core's, and events.k8s.io's.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

pub(super) struct Events;

impl Strategy for Events {
    fn upsert(&self) -> Upsert {
        Upsert::Creates
    }

    fn unconditional(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn prepare_create(&self, _: &mut Value) {}

    fn prepare_update(&self, _: &mut Value, _: &Value) {}

    fn time_to_live(&self, _: &Value) -> Option<Duration> {
        Some(KEPT)
    }

    fn convert(&self, object: Value, to: &Gvk) -> Value {
        let Value::Object(fields) = object else { return object };
        let to_core = to.group.is_empty();
        let mut out = Map::new();
        for (key, value) in fields {
            let renamed = RENAMED.iter().find_map(|(core, new)| match to_core {
                true if *new == key => Some(*core),
                false if *core == key => Some(*new),
                _ => None,
            });
            out.insert(renamed.map_or(key, str::to_owned), value);
        }
        if to_core {
            // The core form always has these, empty or not.
            for key in ["source", "involvedObject"] {
                out.entry(key).or_insert_with(|| json!({}));
            }
            for key in ["firstTimestamp", "lastTimestamp", "eventTime"] {
                out.entry(key).or_insert(Value::Null);
            }
            for key in ["reportingComponent", "reportingInstance"] {
                out.entry(key).or_insert_with(|| json!(""));
            }
        }
        relabel(Value::Object(out), to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_groups_tell_the_same_event() {
        let new = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "n",
            "regarding": {"name": "p"}, "deprecatedCount": 2, "reportingController": "c", "eventTime": "t", "reportingInstance": "i"});
        let core = Events.convert(new, &Gvk::new("", "v1", "Event"));
        assert_eq!(core["involvedObject"]["name"], "p");
        assert_eq!(core["message"], "n");
        assert_eq!(core["count"], 2);
        let back = Events.convert(core, &Gvk::new("events.k8s.io", "v1", "Event"));
        assert_eq!(back["regarding"]["name"], "p");
        assert_eq!(back["reportingController"], "c");
        assert_eq!(back["apiVersion"], "events.k8s.io/v1");
    }
}
