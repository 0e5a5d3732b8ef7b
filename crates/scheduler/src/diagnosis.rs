//! Why a pod fits nowhere, in kube-scheduler's words.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::framework::Verdict;

/// What the filters said about each node.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// How many nodes there are.
    pub nodes: usize,
    /// The verdict on each node that was refused.
    pub verdicts: BTreeMap<String, Verdict>,
    /// The plugins that refused.
    pub plugins: BTreeSet<&'static str>,
}

impl Diagnosis {
    /// `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`
    pub fn message(&self) -> String {
        let reasons = self.verdicts.values().flat_map(|verdict| match verdict {
            Verdict::Fits => &[],
            Verdict::Rejected(reasons) | Verdict::Unresolvable(reasons) => reasons.as_slice(),
        });
        histogram(self.nodes, reasons)
    }
}

/// Counts equal reasons and lists them in the order of their text, as upstream does (so `10 …` comes before `2 …`).
pub(crate) fn histogram<'a>(nodes: usize, reasons: impl Iterator<Item = &'a Cow<'static, str>>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut texts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    let list = if texts.is_empty() { String::new() } else { format!(" {}.", texts.join(", ")) };
    format!("0/{nodes} nodes are available:{list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_over_nodes() {
        let verdict = |reasons: &[&'static str]| Verdict::Rejected(reasons.iter().map(|r| Cow::Borrowed(*r)).collect());
        let d = Diagnosis {
            nodes: 3,
            verdicts: BTreeMap::from([
                ("a".into(), verdict(&["Insufficient cpu", "Insufficient memory"])),
                ("b".into(), verdict(&["Insufficient cpu"])),
                ("c".into(), Verdict::unresolvable("node(s) had untolerated taint(s)")),
            ]),
            plugins: BTreeSet::new(),
        };
        assert_eq!(d.message(), "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s), 2 Insufficient cpu.");
    }
}
