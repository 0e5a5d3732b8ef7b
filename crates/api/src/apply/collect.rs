//! All fields of an object as a set: what an applier claims.

use std::collections::HashMap;

use serde_json::Value;

use super::element::Element;
use super::problem::Problems;
use super::set::{Branch, FieldSet};
use super::spot::{Atom, Spot};

/// The fields that an object sets.
pub(super) fn fields_of<'a>(spot: Spot<'a>, object: &'a Value) -> Result<FieldSet<'a>, Problems> {
    Ok(branch(spot, object)?.below)
}

fn branch<'a>(spot: Spot<'a>, value: &'a Value) -> Result<Branch<'a>, Problems> {
    let mut found = Branch::default();
    match (spot.atom(Some(value)), value) {
        (Atom::Scalar(_), _) => found.owned = true,
        (Atom::List(list), _) if list.is_atomic() => found.owned = true,
        (Atom::Map(map), _) if map.atomic => found.owned = true,
        (Atom::List(list), Value::Array(items)) => {
            let mut elements = Vec::with_capacity(items.len());
            let mut seen: HashMap<Element<'a>, usize> = HashMap::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                let element = list.element_of(item).map_err(|why| Problems::one(format!("element {i}: {why}")))?;
                *seen.entry(element.clone()).or_default() += 1;
                elements.push((element, item));
            }
            for (element, item) in elements {
                // Duplicates are owned as one piece.
                let mut child = Branch::default();
                if seen.get(&element).is_none_or(|n| *n == 1) {
                    child = branch(list.element, item).map_err(|p| p.below(&element))?;
                }
                child.owned = true;
                found.below.push(element, child);
            }
            found.below.sort();
        }
        (Atom::Map(map), Value::Object(members)) => {
            for (name, value) in members {
                let element = Element::field(name);
                let spot = map.member(name).unwrap_or(Spot::Deduced);
                let mut child = branch(spot, value).map_err(|p| p.below(&element))?;
                let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                child.owned |= empty || map.field(name).is_none();
                found.below.push(element, child);
            }
        }
        _ => {}
    }
    Ok(found)
}

/// The set with every named field that has owned fields below it.
pub(super) fn with_named_fields(set: &mut FieldSet<'_>, spot: Option<Spot<'_>>) {
    for node in set.nodes_mut() {
        if node.below.is_empty() {
            continue;
        }
        if let (Some(spot), Element::Field(name)) = (spot, &node.element)
            && let Atom::Map(map) = spot.atom(Some(&Value::Null))
        {
            node.owned |= map.field(name).is_some();
        }
        let below = spot.and_then(|s| s.below(&node.element));
        with_named_fields(&mut node.below, below);
    }
}

/// Makes one field of what a set holds below an atomic map or list: the schema was granular there when it was written. True if
/// that changed anything.
pub(super) fn collapse_atomic(set: &mut FieldSet<'_>, spot: Spot<'_>) -> bool {
    let mut changed = false;
    for node in set.nodes_mut().filter(|n| !n.below.is_empty()) {
        let Some(below @ Spot::At(_)) = spot.below(&node.element) else { continue };
        let atomic = match below.atom(Some(&Value::Null)) {
            Atom::List(list) => list.is_atomic(),
            Atom::Map(map) => map.atomic,
            Atom::Scalar(_) => false,
        };
        if atomic {
            (node.owned, node.below) = (true, FieldSet::default());
            changed = true;
        } else {
            changed |= collapse_atomic(&mut node.below, below);
        }
    }
    changed
}
