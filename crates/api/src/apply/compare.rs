//! What changed between two objects, as field sets.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::element::Element;
use super::problem::Problems;
use super::set::{Branch, FieldSet};
use super::spot::{Atom, ListAtom, MapAtom, Spot};

/// Down to this depth equal parts are skipped as a whole. Deeper it would cost a look at everything per level.
const SKIP_DEPTH: usize = 5;
/// Lists up to this long are searched; longer ones get a hash table.
const SHORT_LIST: usize = 8;

/// The changes from one object to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes<'a> {
    pub(super) removed: FieldSet<'a>,
    pub(super) modified: FieldSet<'a>,
    pub(super) added: FieldSet<'a>,
}

/// The changes at one place and below it.
#[derive(Default)]
struct Found<'a> {
    removed: Branch<'a>,
    modified: Branch<'a>,
    added: Branch<'a>,
}

impl<'a> Found<'a> {
    fn push(&mut self, element: Element<'a>, child: Found<'a>) {
        let Found { removed, modified, added } = child;
        for (into, branch) in [(&mut self.removed, removed), (&mut self.modified, modified), (&mut self.added, added)] {
            if branch.owned || !branch.below.is_empty() {
                into.below.push(element.clone(), branch);
            }
        }
    }

    fn sort(&mut self) {
        for branch in [&mut self.removed, &mut self.modified, &mut self.added] {
            branch.below.sort();
        }
    }
}

/// The changes from `old` to `new`. Elements of lists must have their keys.
pub(super) fn compare<'a>(spot: Spot<'a>, old: &'a Value, new: &'a Value) -> Result<Changes<'a>, Problems> {
    let found = place(spot, Some(old), Some(new), 0)?;
    Ok(Changes { removed: found.removed.below, modified: found.modified.below, added: found.added.below })
}

fn place<'a>(spot: Spot<'a>, old: Option<&'a Value>, new: Option<&'a Value>, depth: usize) -> Result<Found<'a>, Problems> {
    let mut found = Found::default();
    let (was, is) = (spot.atom(old), spot.atom(new));
    if old.is_none() || new.is_none() || std::mem::discriminant(&was) == std::mem::discriminant(&is) {
        let atom = if new.is_none() { was } else { is };
        walk(atom, old, new, depth, &mut found)?;
    } else {
        // Only without a schema can a value become one of another kind.
        walk(was, old, new, depth, &mut found)?;
        walk(is, old, new, depth, &mut found)?;
        found.sort();
    }
    found.added.owned |= old.is_none();
    found.removed.owned |= new.is_none();
    Ok(found)
}

fn walk<'a>(atom: Atom<'a>, old: Option<&'a Value>, new: Option<&'a Value>, depth: usize, found: &mut Found<'a>) -> Result<(), Problems> {
    match atom {
        Atom::Scalar(_) => leaf(old, new, found),
        Atom::List(list) => {
            let (a, b) = (items(old), items(new));
            if list.is_atomic() || (a.is_empty() && b.is_empty()) {
                leaf(old, new, found);
            } else {
                walk_list(list, a, b, depth, found)?;
            }
        }
        Atom::Map(map) => {
            let (a, b) = (members(old), members(new));
            if map.atomic || (a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty)) {
                leaf(old, new, found);
            } else {
                walk_map(map, a, b, depth, found)?;
            }
        }
    }
    Ok(())
}

fn leaf(old: Option<&Value>, new: Option<&Value>, found: &mut Found<'_>) {
    if let (Some(old), Some(new)) = (old, new) {
        found.modified.owned |= old != new;
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn walk_map<'a>(
    atom: MapAtom<'a>,
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
    depth: usize,
    found: &mut Found<'a>,
) -> Result<(), Problems> {
    let mut old = old.into_iter().flatten().peekable();
    let mut new = new.into_iter().flatten().peekable();
    loop {
        // Both maps are sorted: one pass meets all members.
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let a = if order.is_le() { old.next() } else { None };
        let b = if order.is_ge() { new.next() } else { None };
        let Some((name, _)) = a.or(b) else { return Ok(()) };
        let (a, b) = (a.map(|(_, v)| v), b.map(|(_, v)| v));
        if depth < SKIP_DEPTH && a == b {
            continue;
        }
        let element = Element::field(name);
        // What the schema does not know cannot be here; if it is, it counts as one piece.
        let child = place(atom.member(name).unwrap_or(Spot::Deduced), a, b, depth + 1).map_err(|p| p.below(&element))?;
        found.push(element, child);
    }
}

/// All elements of a list under one element of the path, mostly one.
struct Slot<'a> {
    element: Element<'a>,
    old: Vec<&'a Value>,
    new: Vec<&'a Value>,
}

fn walk_list<'a>(list: ListAtom<'a>, old: &'a [Value], new: &'a [Value], depth: usize, found: &mut Found<'a>) -> Result<(), Problems> {
    for slot in slots(list, old, new)? {
        let Slot { element, old, new } = slot;
        let (first_old, first_new) = (old.first().copied(), new.first().copied());
        if depth < SKIP_DEPTH && old.len() == 1 && new.len() == 1 && first_old == first_new {
            continue;
        }
        let mut child = match (old.len() > 1, new.len() > 1) {
            (false, false) => place(list.element, first_old, first_new, depth + 1),
            (true, true) => Ok(Found { modified: Branch { owned: old != new, ..Branch::default() }, ..Found::default() }),
            // Duplicates are owned as one piece; when they come or go, the single element goes or comes.
            (true, false) => match first_new {
                Some(_) => place(list.element, None, first_new, depth + 1),
                None => Ok(Found::default()),
            },
            (false, true) => match first_old {
                Some(_) => place(list.element, first_old, None, depth + 1),
                None => Ok(Found::default()),
            },
        }
        .map_err(|p| p.below(&element))?;
        child.removed.owned |= old.len() > 1 && new.len() <= 1;
        child.added.owned |= new.len() > 1 && old.len() <= 1;
        found.push(element, child);
    }
    found.sort();
    Ok(())
}

fn slots<'a>(list: ListAtom<'a>, old: &'a [Value], new: &'a [Value]) -> Result<Vec<Slot<'a>>, Problems> {
    let mut slots: Vec<Slot<'a>> = Vec::with_capacity(old.len().max(new.len()));
    let mut index: HashMap<Element<'a>, usize> = HashMap::new();
    let big = old.len().max(new.len()) > SHORT_LIST;
    let mut place_of = |slots: &mut Vec<Slot<'a>>, element: Element<'a>, guess: usize| -> usize {
        // Mostly the lists have the same order.
        if slots.get(guess).is_some_and(|s| s.element == element) {
            return guess;
        }
        let known = if big { index.get(&element).copied() } else { slots.iter().position(|s| s.element == element) };
        known.unwrap_or_else(|| {
            if big {
                index.insert(element.clone(), slots.len());
            }
            slots.push(Slot { element, old: Vec::new(), new: Vec::new() });
            slots.len() - 1
        })
    };
    let fail = |i: usize, why: String| Problems::one(format!("element {i}: {why}"));
    for (i, item) in old.iter().enumerate() {
        let element = list.element_of(item).map_err(|why| fail(i, why))?;
        let at = place_of(&mut slots, element, usize::MAX);
        if let Some(slot) = slots.get_mut(at) {
            slot.old.push(item);
        }
    }
    for (i, item) in new.iter().enumerate() {
        let element = list.element_of(item).map_err(|why| fail(i, why))?;
        let at = place_of(&mut slots, element, i);
        if let Some(slot) = slots.get_mut(at) {
            slot.new.push(item);
        }
    }
    Ok(slots)
}
