//! Lists in a strategic merge patch.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{DIRECTIVE, ListPlace, Place, Problem, merge_map, order};

/// What the elements of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elements {
    Maps,
    Scalars,
}

/// `$deleteFromPrimitiveList/name`: takes scalars out of a list.
pub(super) fn delete_from(original: &mut Map<String, Value>, name: &str, gone: Value, place: Place<'_>) -> Result<(), Problem> {
    match (original.get_mut(name), gone) {
        (_, Value::Null) => {
            original.remove(name);
        }
        (Some(Value::Array(present)), Value::Array(gone)) => {
            let of = place.list_field(name)?;
            if elements(present, &gone)? == Some(Elements::Maps) {
                *present = merge(std::mem::take(present), gone, of)?;
            } else {
                let gone: HashSet<&Value> = gone.iter().collect();
                present.retain(|v| !gone.contains(v));
            }
        }
        // Nothing is there to delete from, or it is no list.
        _ => {}
    }
    Ok(())
}

/// The list after a patch of its field.
pub(super) fn merge_field(original: Vec<Value>, patch: Vec<Value>, of: ListPlace<'_>) -> Result<Vec<Value>, Problem> {
    if of.strategy.merge { merge(original, patch, of) } else { Ok(patch) }
}

/// What the elements of both lists are; `None` when both are empty. They must all be of one type, and no lists.
pub(super) fn elements(a: &[Value], b: &[Value]) -> Result<Option<Elements>, Problem> {
    let mut all = a.iter().chain(b);
    let Some(first) = all.next() else { return Ok(None) };
    if first.is_array() {
        return Err(Problem::ListOfLists);
    }
    let alike = |v: &Value| match (first, v) {
        (Value::Number(x), Value::Number(y)) => x.is_f64() == y.is_f64(),
        _ => std::mem::discriminant(first) == std::mem::discriminant(v),
    };
    if first.is_null() || !all.all(alike) {
        let lists = Value::Array(vec![Value::Array(a.to_vec()), Value::Array(b.to_vec())]);
        return Err(Problem::Other(format!("list element types are not identical: {}", super::shown(&lists))));
    }
    Ok(Some(if first.is_object() { Elements::Maps } else { Elements::Scalars }))
}

fn merge(original: Vec<Value>, patch: Vec<Value>, of: ListPlace<'_>) -> Result<Vec<Value>, Problem> {
    match elements(&original, &patch)? {
        None => Ok(original),
        Some(Elements::Scalars) => {
            let orders = (order::Order::of_scalars(&patch), order::Order::of_scalars(&original));
            let mut seen = HashSet::new();
            let merged: Vec<Value> = original.iter().chain(&patch).filter(|v| seen.insert(*v)).cloned().collect();
            Ok(order::arrange(merged, &orders.0, &orders.1))
        }
        Some(Elements::Maps) if of.key.is_empty() => {
            Err(Problem::Other(format!("cannot merge lists without merge key for {}", of.element.kind())))
        }
        Some(Elements::Maps) => {
            let (original, patch) = obey_directives(original, patch, of.key)?;
            let orders = (order::Order::of_maps(&patch, of.key)?, order::Order::of_maps(&original, of.key)?);
            let merged = merge_maps(original, patch, of)?;
            order::require_keys(&merged, of.key)?;
            Ok(order::arrange(merged, &orders.0, &orders.1))
        }
    }
}

/// Elements with `$patch` delete others or make the patch replace the whole list; they are not elements themselves.
fn obey_directives(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Problem> {
    let mut kept = Vec::with_capacity(patch.len());
    let mut gone: HashSet<Value> = HashSet::new();
    let mut replace = false;
    for element in patch {
        let Value::Object(map) = &element else { continue };
        match map.get(DIRECTIVE) {
            None => kept.push(element),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    gone.insert(map.get(key).ok_or_else(|| Problem::no_merge_key(map, key))?.clone());
                }
                Some("replace") => replace = true,
                Some("merge") => return Err(Problem::Other("merging lists cannot yet be specified in the patch".to_owned())),
                _ => return Err(Problem::directive(directive, map)),
            },
        }
    }
    if replace {
        return Ok((kept, Vec::new()));
    }
    if !gone.is_empty() {
        original.retain(|v| v.get(key).is_none_or(|k| !gone.contains(k)));
    }
    Ok((original, kept))
}

fn merge_maps(mut original: Vec<Value>, patch: Vec<Value>, of: ListPlace<'_>) -> Result<Vec<Value>, Problem> {
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (i, element) in original.iter().enumerate() {
        if let Some(key) = element.get(of.key) {
            places.entry(key.clone()).or_insert(i);
        }
    }
    for element in patch {
        let Value::Object(change) = element else { continue };
        let key = change.get(of.key).ok_or_else(|| Problem::no_merge_key(&change, of.key))?.clone();
        let next = original.len();
        match places.entry(key) {
            std::collections::hash_map::Entry::Occupied(found) => {
                if let Some(Value::Object(present)) = original.get_mut(*found.get()) {
                    merge_map(present, change, of.element)?;
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(next);
                original.push(Value::Object(change));
            }
        }
    }
    Ok(original)
}
