//! Takes fields out of an object.

use serde_json::Value;

use super::set::FieldSet;
use super::spot::{Atom, Spot};

/// The value without the fields of a set. A map or list that loses its last part goes too (`None`).
pub(super) fn without(spot: Spot<'_>, value: &Value, set: &FieldSet<'_>) -> Option<Value> {
    match (spot.atom(Some(value)), value) {
        (Atom::List(list), Value::Array(items)) => {
            if list.is_atomic() {
                return None;
            }
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| {
                    let node = list.element_of(item).ok().and_then(|element| set.get(&element));
                    match node {
                        None => Some(item.clone()),
                        Some(node) if node.owned => None,
                        Some(node) => without(list.element, item, &node.below),
                    }
                })
                .collect();
            (!kept.is_empty() || items.is_empty()).then_some(Value::Array(kept))
        }
        (Atom::Map(map), Value::Object(members)) => {
            if map.atomic {
                return None;
            }
            let kept: serde_json::Map<String, Value> = members
                .iter()
                .filter_map(|(name, value)| {
                    let kept = match set.get(&super::element::Element::field(name)) {
                        None => Some(value.clone()),
                        Some(node) if node.owned => None,
                        Some(node) => without(map.member(name).unwrap_or(Spot::Deduced), value, &node.below),
                    };
                    kept.map(|v| (name.clone(), v))
                })
                .collect();
            (!kept.is_empty() || members.is_empty()).then_some(Value::Object(kept))
        }
        (_, value) => Some(value.clone()),
    }
}
