//! Fields that a resource or subresource resets, so that nobody owns them through it.

use super::element::Element;
use super::set::FieldSet;

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The member of this name.
    Field(&'a str),
    /// Any part.
    Any,
}

/// The fields that a write through a resource or subresource cannot own.
#[derive(Clone, Debug, Default)]
pub enum ResetFields<'a> {
    /// All fields can be owned.
    #[default]
    None,
    /// These fields and what is below them cannot.
    These(FieldSet<'a>),
    /// Only what matches one of the patterns, as a prefix, can.
    AllBut(&'a [&'a [Step<'a>]]),
}

impl ResetFields<'_> {
    pub(super) fn filter(&self, set: &mut FieldSet<'_>) {
        match self {
            Self::None => {}
            Self::These(fields) => set.subtract_trees(fields),
            Self::AllBut(patterns) => keep(set, patterns),
        }
    }
}

fn keep(set: &mut FieldSet<'_>, patterns: &[&[Step<'_>]]) {
    if patterns.iter().any(|p| p.is_empty()) {
        return;
    }
    set.retain(|node| {
        let matches = |step: &Step<'_>| match (step, &node.element) {
            (Step::Any, _) => true,
            (Step::Field(name), Element::Field(found)) => name == found,
            (Step::Field(_), _) => false,
        };
        let rest: Vec<&[Step<'_>]> = patterns.iter().filter_map(|p| p.split_first()).filter(|(s, _)| matches(s)).map(|(_, r)| r).collect();
        if rest.is_empty() {
            return false;
        }
        keep(&mut node.below, &rest);
        node.owned || !node.below.is_empty()
    });
}
