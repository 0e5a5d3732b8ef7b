//! Whether a configuration fits the schema, in structured-merge-diff's words.

use std::collections::HashSet;

use serde_json::Value;

use super::element::Element;
use super::problem::Problems;
use super::spot::{Atom, Scalar, Spot};

/// The complaints about a value; none if it fits.
pub(super) fn check(spot: Spot<'_>, value: &Value) -> Problems {
    match (spot.atom(Some(value)), value) {
        (_, Value::Null) => Problems::default(),
        (Atom::Scalar(kind), _) => scalar(kind, value),
        (Atom::List(list), Value::Array(items)) => {
            let mut found = Problems::default();
            let mut seen = HashSet::new();
            for (i, item) in items.iter().enumerate() {
                let element = if list.is_atomic() {
                    Element::Index(i64::try_from(i).unwrap_or(i64::MAX))
                } else {
                    match list.element_of(item) {
                        Ok(element) => element,
                        Err(why) => {
                            // Without the element's path nothing below it can be reported.
                            found.extend(Problems::one(format!("element {i}: {why}")));
                            return found;
                        }
                    }
                };
                found.extend(check(list.element, item).below(&element));
                if seen.contains(&element) {
                    found.extend(Problems::one(format!("duplicate entries for key {element}")));
                }
                seen.insert(element);
            }
            found
        }
        (Atom::List(_), _) => Problems::one(format!("expected list, got &{{{}}}", go(value))),
        (Atom::Map(map), Value::Object(members)) => {
            let mut found = Problems::default();
            for (name, value) in members {
                let element = Element::field(name);
                let Some(spot) = map.member(name) else {
                    found.extend(Problems::one("field not declared in schema").below(&element));
                    return found;
                };
                let below = check(spot, value);
                if !below.is_empty() {
                    found.extend(below.below(&element));
                }
            }
            found
        }
        (Atom::Map(_), _) => Problems::one(format!("expected map, got &{{{}}}", go(value))),
    }
}

fn scalar(kind: Scalar, value: &Value) -> Problems {
    let fits = match kind {
        Scalar::Numeric => value.is_number(),
        Scalar::String => value.is_string(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::Untyped => !value.is_object() && !value.is_array(),
    };
    if fits {
        return Problems::default();
    }
    Problems::one(match kind {
        Scalar::Numeric => format!("expected numeric (int or float), got {}", go_type(value)),
        Scalar::String => format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)),
        Scalar::Boolean => format!("expected boolean, got &{{{}}}", go(value)),
        Scalar::Untyped => format!("expected any scalar, got &{{{}}}", go(value)),
    })
}

fn go(value: &Value) -> String {
    crate::patch::shown(value)
}

fn go_type(value: &Value) -> &'static str {
    crate::patch::type_name(value)
}

/// `%#v`.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(k, v)| format!("{k:?}:{}", go_syntax(v))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}
