//! The order of merged lists: `$setElementOrder` first, then the patch's own order, then the live order.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::list::{self, Elements};
use super::{DIRECTIVE, ListPlace, Place, Problem, SET_ORDER, shown, target, without_directives};

/// Where elements stand in a list, by their merge key or, for scalars, by themselves.
pub(super) struct Order {
    key: String,
    places: HashMap<Value, usize>,
}

impl Order {
    pub(super) fn of_scalars(list: &[Value]) -> Self {
        let mut places = HashMap::with_capacity(list.len());
        list.iter().enumerate().for_each(|(i, v)| {
            places.entry(v.clone()).or_insert(i);
        });
        Self { key: String::new(), places }
    }

    pub(super) fn of_maps(list: &[Value], key: &str) -> Result<Self, Problem> {
        let mut places = HashMap::with_capacity(list.len());
        for (i, element) in list.iter().enumerate() {
            let Value::Object(map) = element else {
                return Err(Problem::Other(format!("value for key {i} is not a map")));
            };
            let value = map.get(key).ok_or_else(|| Problem::no_merge_key(map, key))?;
            places.entry(value.clone()).or_insert(i);
        }
        Ok(Self { key: key.to_owned(), places })
    }

    fn of(list: &[Value], key: &str) -> Result<Self, Problem> {
        if key.is_empty() { Ok(Self::of_scalars(list)) } else { Self::of_maps(list, key) }
    }

    fn place(&self, element: &Value) -> Option<usize> {
        let key = if self.key.is_empty() { Some(element) } else { element.get(&self.key) };
        key.and_then(|k| self.places.get(k)).copied()
    }
}

/// Every element must have its merge key.
pub(super) fn require_keys(list: &[Value], key: &str) -> Result<(), Problem> {
    for element in list {
        match element {
            Value::Object(map) if map.contains_key(key) => {}
            Value::Object(map) => return Err(Problem::no_merge_key(map, key)),
            other => return Err(Problem::wrong_type("map[string]interface {}", other)),
        }
    }
    Ok(())
}

/// Arranges merged elements: those in `first` by its order, the others by the live order, both woven together so that
/// the live order holds where it does not contradict.
pub(super) fn arrange(merged: Vec<Value>, first: &Order, live: &Order) -> Vec<Value> {
    let (mut chosen, mut rest): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|v| first.place(v).is_some());
    chosen.sort_by_key(|v| first.place(v));
    rest.sort_by_key(|v| live.place(v).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(chosen.len() + rest.len());
    let (mut chosen, mut rest) = (chosen.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let from_rest = match (rest.peek(), chosen.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(a), Some(b)) => matches!((live.place(a), live.place(b)), (Some(a), Some(b)) if a < b),
        };
        out.extend(if from_rest { rest.next() } else { chosen.next() });
    }
}

/// Merges all lists for which the patch gives an order, and takes them and their orders out of the patch.
pub(super) fn apply_set_orders(original: &mut Map<String, Value>, patch: &mut Map<String, Value>, place: Place<'_>) -> Result<(), Problem> {
    if !patch.keys().any(|k| k.starts_with(SET_ORDER)) {
        return Ok(());
    }
    let orders: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
    for order in orders {
        let wanted = match patch.remove(&order) {
            Some(Value::Array(wanted)) => wanted,
            other => return Err(Problem::wrong_type("[]interface {}", &other.unwrap_or_default())),
        };
        let name = target(&order, SET_ORDER, Problem::SetOrderFormat)?;
        let as_list = |value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list.clone())),
            Some(other) => Err(Problem::wrong_type("[]interface {}", other)),
        };
        let live = as_list(original.get(name))?;
        let change = as_list(patch.get(name))?;
        let of = place.list_field(name)?;
        if let Some(merged) = ordered(&wanted, live, change, of)? {
            original.insert(name.to_owned(), Value::Array(merged));
            patch.remove(name);
        }
    }
    Ok(())
}

fn ordered(
    wanted: &[Value],
    live: Option<Vec<Value>>,
    change: Option<Vec<Value>>,
    of: ListPlace<'_>,
) -> Result<Option<Vec<Value>>, Problem> {
    check_order(change.as_deref().unwrap_or_default(), wanted, of.key)?;
    let kind = list::elements(live.as_deref().unwrap_or_default(), change.as_deref().unwrap_or_default())?;
    let live_order = match kind {
        Some(Elements::Maps) => Order::of(live.as_deref().unwrap_or_default(), of.key)?,
        _ => Order::of_scalars(live.as_deref().unwrap_or_default()),
    };
    let merged = match (live, change) {
        (None, None) => return Ok(None),
        (Some(live), None) => live,
        (None, Some(change)) => match without_directives(Value::Array(change)) {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        },
        (Some(live), Some(change)) => list::merge_field(live, change, of)?,
    };
    if !of.key.is_empty() {
        require_keys(&merged, of.key)?;
    }
    Ok(Some(arrange(merged, &Order::of(wanted, of.key)?, &live_order)))
}

/// The patch's elements must all be in the order, and in that order; deletions need not.
fn check_order(patch: &[Value], wanted: &[Value], key: &str) -> Result<(), Problem> {
    if wanted.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut places = wanted.iter();
    for element in patch {
        if key.is_empty() {
            if !places.any(|w| w == element) {
                return Err(mismatch(patch, wanted));
            }
            continue;
        }
        let Value::Object(map) = element else { return Err(Problem::wrong_type("map[string]interface {}", element)) };
        if map.contains_key(DIRECTIVE) {
            continue;
        }
        let mut found = false;
        for w in places.by_ref() {
            let Value::Object(other) = w else { return Err(Problem::wrong_type("map[string]interface {}", w)) };
            let mine = map.get(key).ok_or_else(|| Problem::no_merge_key(map, key))?;
            if mine == other.get(key).ok_or_else(|| Problem::no_merge_key(other, key))? {
                found = true;
                break;
            }
        }
        if !found {
            return Err(mismatch(patch, wanted));
        }
    }
    Ok(())
}

fn mismatch(patch: &[Value], wanted: &[Value]) -> Problem {
    let show = |list: &[Value]| shown(&Value::Array(list.to_vec()));
    Problem::Other(format!("The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n", show(patch), show(wanted)))
}
