//! Sets of fields as trees, sorted at every level, so that two sets meet in one pass.

use std::cmp::Ordering;

use super::element::Element;

/// A set of fields. To own a field is not to own what is below it, nor the other way around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet<'a> {
    nodes: Vec<Node<'a>>,
}

/// One field of a set, or the way to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node<'a> {
    pub(super) element: Element<'a>,
    /// The field itself is in the set.
    pub(super) owned: bool,
    pub(super) below: FieldSet<'a>,
}

/// What a walk found at one place: the place itself and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Branch<'a> {
    pub(super) owned: bool,
    pub(super) below: FieldSet<'a>,
}

impl<'a> FieldSet<'a> {
    /// The set of some paths of plain fields, such as `["spec", "replicas"]`.
    pub fn of_paths(paths: &[&[&'a str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    fn insert(&mut self, path: &[&'a str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let element = Element::field(first);
        let at = match self.nodes.binary_search_by(|n| n.element.cmp(&element)) {
            Ok(at) => at,
            Err(at) => {
                self.nodes.insert(at, Node { element, owned: false, below: Self::default() });
                at
            }
        };
        if let Some(node) = self.nodes.get_mut(at) {
            if rest.is_empty() {
                node.owned = true;
            } else {
                node.below.insert(rest);
            }
        }
    }

    /// No field is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many fields are in the set.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|n| usize::from(n.owned) + n.below.len()).sum()
    }

    pub(super) fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    pub(super) fn into_nodes(self) -> Vec<Node<'a>> {
        self.nodes
    }

    /// Appends what a walk found. The caller sorts at the end if it does not come in order.
    pub(super) fn push(&mut self, element: Element<'a>, found: Branch<'a>) {
        if found.owned || !found.below.is_empty() {
            self.nodes.push(Node { element, owned: found.owned, below: found.below });
        }
    }

    /// Brings appended nodes into order and joins those of one element.
    pub(super) fn sort(&mut self) {
        if self.nodes.is_sorted_by(|a, b| a.element < b.element) {
            return;
        }
        self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
        let mut joined: Vec<Node<'a>> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.drain(..) {
            match joined.last_mut() {
                Some(last) if last.element == node.element => {
                    last.owned |= node.owned;
                    last.below = std::mem::take(&mut last.below).union(node.below);
                }
                _ => joined.push(node),
            }
        }
        self.nodes = joined;
    }

    pub(super) fn get(&self, element: &Element<'_>) -> Option<&Node<'a>> {
        let found = self.nodes.binary_search_by(|n| n.element.cmp(element)).ok()?;
        self.nodes.get(found)
    }

    /// Whether a path of plain fields is in the set.
    pub fn has(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        self.get(&Element::field(first)).is_some_and(|n| if rest.is_empty() { n.owned } else { n.below.has(rest) })
    }

    /// Fields in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut out = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let (mut a, mut b) = (self.nodes.into_iter().peekable(), other.nodes.into_iter().peekable());
        loop {
            let order = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) => x.element.cmp(&y.element),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Self { nodes: out },
            };
            match order {
                Ordering::Less => out.extend(a.next()),
                Ordering::Greater => out.extend(b.next()),
                Ordering::Equal => {
                    if let (Some(x), Some(y)) = (a.next(), b.next()) {
                        out.push(Node { element: x.element, owned: x.owned || y.owned, below: x.below.union(y.below) });
                    }
                }
            }
        }
    }

    /// Fields in both sets.
    #[must_use]
    pub fn intersection(&self, other: &FieldSet<'_>) -> Self {
        let mut out = Self::default();
        for node in &self.nodes {
            if let Some(twin) = other.get(&node.element) {
                let found = Branch { owned: node.owned && twin.owned, below: node.below.intersection(&twin.below) };
                out.push(node.element.clone(), found);
            }
        }
        out
    }

    /// Takes the fields of another set out; true if any was there.
    pub fn subtract(&mut self, other: &FieldSet<'_>) -> bool {
        let (mut changed, mut emptied) = (false, false);
        for twin in &other.nodes {
            let Ok(at) = self.nodes.binary_search_by(|n| n.element.cmp(&twin.element)) else { continue };
            let Some(node) = self.nodes.get_mut(at) else { continue };
            if node.owned && twin.owned {
                node.owned = false;
                changed = true;
            }
            changed |= !twin.below.is_empty() && !node.below.is_empty() && node.below.subtract(&twin.below);
            emptied |= !node.owned && node.below.is_empty();
        }
        if emptied {
            self.nodes.retain(|n| n.owned || !n.below.is_empty());
        }
        changed
    }

    /// As [`FieldSet::subtract`], and with each field goes what is below it.
    pub fn subtract_trees(&mut self, other: &FieldSet<'_>) {
        self.nodes.retain_mut(|node| match other.get(&node.element) {
            None => true,
            Some(twin) if twin.owned => false,
            Some(twin) => {
                node.below.subtract_trees(&twin.below);
                node.owned || !node.below.is_empty()
            }
        });
    }

    /// Whether every field of this set is in the other.
    pub fn is_within(&self, other: &FieldSet<'_>) -> bool {
        self.nodes
            .iter()
            .all(|node| other.get(&node.element).is_some_and(|twin| (twin.owned || !node.owned) && node.below.is_within(&twin.below)))
    }

    /// Keeps what a predicate over nodes wants, after it may have changed them.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Node<'a>) -> bool) {
        self.nodes.retain_mut(keep);
    }

    pub(super) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node<'a>> {
        self.nodes.iter_mut()
    }

    /// All fields as they are shown to people; owned ones before what is below them.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.write_paths("", &mut out);
        out
    }

    fn write_paths(&self, before: &str, out: &mut Vec<String>) {
        out.extend(self.nodes.iter().filter(|n| n.owned).map(|n| format!("{before}{}", n.element)));
        for node in self.nodes.iter().filter(|n| !n.below.is_empty()) {
            node.below.write_paths(&format!("{before}{}", node.element), out);
        }
    }
}
