//! Node selectors, affinity terms and taints (`component-helpers/scheduling`).

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};

use crate::node_info::NodeInfo;

/// Whether the node has what the pod requires by `nodeSelector` and required node affinity.
pub(crate) fn required(pod: &Pod, node: &NodeInfo) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.label(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let terms = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && terms.is_none_or(|t| t.node_selector_terms.iter().any(|term| fits_term(term, node)))
}

/// Whether the node has all that a term asks for; an empty term asks for the impossible.
pub(crate) fn fits_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then(|| node.name());
    labels.iter().all(|r| fits(r, node.label(&r.key))) && fields.iter().all(|r| fits(r, field(&r.key)))
}

fn fits(requirement: &NodeSelectorRequirement, have: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|v| number(v));
    match requirement.operator.as_str() {
        "In" => have.is_some_and(|have| values.iter().any(|v| v == have)),
        "NotIn" => have.is_none_or(|have| values.iter().all(|v| v != have)),
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        "Gt" => have.and_then(number).zip(bound).is_some_and(|(have, bound)| have > bound),
        "Lt" => have.and_then(number).zip(bound).is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// Whether the pod tolerates the taint.
pub(crate) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|t| {
        let effect = t.effect.as_deref().unwrap_or_default();
        let key = t.key.as_deref().unwrap_or_default();
        let value = t.value.as_deref().unwrap_or_default();
        let right = (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key);
        right
            && match t.operator.as_deref().unwrap_or_default() {
                "" | "Equal" => value == taint.value.as_deref().unwrap_or_default(),
                "Exists" => true,
                _ => false,
            }
    })
}

/// The pod's tolerations.
pub(crate) fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default()
}

/// Whether some taint of the node keeps the pod away.
pub(crate) fn is_kept_away(pod: &Pod, node: &NodeInfo) -> bool {
    let keeps_away = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints().iter().filter(keeps_away).any(|taint| !tolerates(tolerations(pod), taint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_info::tests::node;
    use serde_json::json;

    #[test]
    fn operators_compare_labels_fields_and_numbers() {
        let n = node("one label=zone:a label=gen:7");
        let table = [
            (json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), false),
            (json!({"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["a"]}]}), true),
            (json!({"matchExpressions": [{"key": "no", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "gen", "operator": "Gt", "values": ["6"]}]}), true),
            (json!({"matchExpressions": [{"key": "gen", "operator": "Lt", "values": ["7"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["1"]}]}), false),
            (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["one"]}]}), true),
            (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["two"]}]}), false),
            (json!({}), false),
        ];
        for (term, expected) in table {
            let parsed: NodeSelectorTerm = serde_json::from_value(term.clone()).unwrap();
            assert_eq!(fits_term(&parsed, &n), expected, "{term}");
        }
    }

    #[test]
    fn tolerations_match_by_key_value_and_effect() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        let table = [
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "x"}), false),
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false),
        ];
        for (toleration, expected) in table {
            let parsed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&[parsed], &taint), expected, "{toleration}");
        }
    }
}
