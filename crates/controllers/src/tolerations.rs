//! Whether tolerations cover NoExecute taints, and for how long.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// How long a pod may stay on a node with these taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// For good.
    Forever,
    /// For so many seconds after the taints came.
    Seconds(i64),
    /// Not at all.
    No,
}

/// The effect that makes running pods leave.
pub const NO_EXECUTE: &str = "NoExecute";

/// Judges by the shortest time among the tolerations that are needed.
pub fn stay(taints: &[&Taint], tolerations: &[Toleration]) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let Some(toleration) = tolerations.iter().find(|t| tolerates(t, taint)) else {
            return Stay::No;
        };
        match toleration.toleration_seconds {
            Some(seconds) if seconds <= 0 => return Stay::No,
            Some(seconds) => shortest = Some(shortest.map_or(seconds, |s| s.min(seconds))),
            None => {}
        }
    }
    shortest.map_or(Stay::Forever, Stay::Seconds)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match text(&toleration.operator).as_str() {
            "" | "Equal" => text(&toleration.value) == text(&taint.value),
            "Exists" => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_shortest_needed_toleration_counts() {
        let taint = |key: &str| Taint { key: key.into(), effect: NO_EXECUTE.into(), ..Default::default() };
        let (a, b) = (taint("a"), taint("b"));
        let table = [
            (json!([]), Stay::No),
            (json!([{"key": "a", "operator": "Exists"}]), Stay::No),
            (json!([{"operator": "Exists"}]), Stay::Forever),
            (json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 25}, {"key": "b", "operator": "Exists"}]), Stay::Seconds(25)),
            (
                json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 25},
                       {"key": "b", "operator": "Exists", "tolerationSeconds": 5}]),
                Stay::Seconds(5),
            ),
            (json!([{"operator": "Exists", "tolerationSeconds": 0}]), Stay::No),
        ];
        for (tolerations, expected) in table {
            let parsed: Vec<Toleration> = serde_json::from_value(tolerations.clone()).unwrap();
            assert_eq!(stay(&[&a, &b], &parsed), expected, "{tolerations}");
        }
        assert_eq!(stay(&[], &[]), Stay::Forever);
    }
}
