//! Merges an applied configuration into the live object.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::element::Element;
use super::problem::Problems;
use super::spot::{Atom, ListAtom, MapAtom, Spot};

/// The live object with the configuration merged in. The configuration has been validated.
pub(super) fn merge<'a>(spot: Spot<'a>, live: &'a Value, config: &'a Value) -> Result<Value, Problems> {
    match spot.atom(Some(config)) {
        Atom::Scalar(_) => Ok(config.clone()),
        Atom::List(list) => {
            let (a, b) = (items(live), items(config));
            if list.is_atomic() || (a.is_empty() && b.is_empty()) { Ok(config.clone()) } else { merge_lists(list, a, b).map(Value::Array) }
        }
        Atom::Map(map) => {
            let (a, b) = (live.as_object(), config.as_object());
            if map.atomic || (a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty)) {
                Ok(config.clone())
            } else {
                merge_maps(map, a, b).map(Value::Object)
            }
        }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn merge_maps<'a>(
    atom: MapAtom<'a>,
    live: Option<&'a Map<String, Value>>,
    config: Option<&'a Map<String, Value>>,
) -> Result<Map<String, Value>, Problems> {
    let mut out = Map::new();
    for (name, value) in live.into_iter().flatten() {
        let merged = match config.and_then(|c| c.get(name)) {
            None => value.clone(),
            Some(change) => merge(atom.member(name).unwrap_or(Spot::Deduced), value, change).map_err(|p| p.below(&Element::field(name)))?,
        };
        out.insert(name.clone(), merged);
    }
    for (name, value) in config.into_iter().flatten() {
        if !live.is_some_and(|l| l.contains_key(name)) {
            out.insert(name.clone(), value.clone());
        }
    }
    Ok(out)
}

fn elements<'a>(list: ListAtom<'a>, items: &'a [Value]) -> Result<Vec<Element<'a>>, Problems> {
    let element = |(i, item): (usize, &'a Value)| list.element_of(item).map_err(|why| Problems::one(format!("element {i}: {why}")));
    items.iter().enumerate().map(element).collect()
}

/// Elements of the configuration keep its order; others keep their place among those that both have.
fn merge_lists<'a>(list: ListAtom<'a>, live: &'a [Value], config: &'a [Value]) -> Result<Vec<Value>, Problems> {
    let (old, new) = (elements(list, live)?, elements(list, config)?);
    let mut places: HashMap<&Element<'a>, Option<usize>> = HashMap::with_capacity(old.len());
    for (i, element) in old.iter().enumerate() {
        // Duplicates of the live list do not merge with the new value.
        places.entry(element).and_modify(|at| *at = None).or_insert(Some(i));
    }
    let wanted: HashSet<&Element<'a>> = new.iter().collect();
    let join = |at: usize| -> Result<Value, Problems> {
        let (Some(element), Some(change)) = (new.get(at), config.get(at)) else { return Ok(Value::Null) };
        let present = places.get(element).copied().flatten().and_then(|i| live.get(i));
        match present {
            None => Ok(change.clone()),
            Some(present) => merge(list.element, present, change).map_err(|p| p.below(element)),
        }
    };
    let mut shared = new.iter().filter(|e| places.contains_key(e));
    let mut next = shared.next();
    let mut done: HashSet<&Element<'a>> = HashSet::new();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut l, mut r) = (0, 0);
    while l < old.len() || r < new.len() {
        if let (Some(a), Some(b)) = (old.get(l), new.get(r)) {
            if a == b {
                done.insert(b);
                out.push(join(r)?);
                l += 1;
                r += 1;
                next = shared.next();
                continue;
            }
            // The configuration has it too, but at another place.
            if wanted.contains(a) && next.is_some_and(|n| n != a) {
                l += 1;
                continue;
            }
        }
        if let Some(a) = old.get(l) {
            if !wanted.contains(a) {
                out.extend(live.get(l).cloned());
                l += 1;
                continue;
            }
            if done.contains(a) {
                l += 1;
            }
        }
        if let Some(b) = new.get(r) {
            done.insert(b);
            out.push(join(r)?);
            r += 1;
            if next == Some(b) {
                next = shared.next();
            }
        }
    }
    Ok(out)
}
