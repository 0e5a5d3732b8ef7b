//! Field sets as `FieldsV1` trees: `{"f:spec": {"f:replicas": {}, ".": {}}}`.

use serde_json::{Map, Value};

use super::element::{Element, ElementError};
use super::set::{Branch, FieldSet};

/// Reads a tree. Members of unknown kinds are skipped, since a later version may have written them.
pub(super) fn decode(tree: &Value) -> Result<FieldSet<'_>, String> {
    match tree {
        Value::Null => Ok(FieldSet::default()),
        Value::Object(map) => Ok(decode_map(map)?.below),
        _ => Err("fields must be an object".to_owned()),
    }
}

/// A subtree without children is a field of its parent; one with children is so only if it says `.`.
fn decode_map(map: &Map<String, Value>) -> Result<Branch<'_>, String> {
    let mut found = Branch::default();
    for (key, value) in map {
        if key == "." {
            found.owned = true;
            continue;
        }
        let element = match Element::parse(key) {
            Ok(element) => element,
            Err(ElementError::Unknown) => continue,
            Err(ElementError::Malformed(why)) => return Err(format!("parsing key as path element: {why}")),
        };
        let below = match value {
            Value::Object(map) => decode_map(map)?,
            Value::Null => Branch { owned: true, below: FieldSet::default() },
            _ => return Err(format!("expected an object below {key}")),
        };
        found.below.push(element, below);
    }
    found.owned |= found.below.is_empty();
    found.below.sort();
    Ok(found)
}

/// Writes a tree.
pub(super) fn encode(set: &FieldSet<'_>) -> Value {
    Value::Object(set.nodes().iter().map(|n| (n.element.encode(), encode_node(n.owned, &n.below))).collect())
}

fn encode_node(owned: bool, below: &FieldSet<'_>) -> Value {
    let Value::Object(mut map) = encode(below) else { return Value::Null };
    if owned && !map.is_empty() {
        map.insert(".".to_owned(), Value::Object(Map::new()));
    }
    Value::Object(map)
}
