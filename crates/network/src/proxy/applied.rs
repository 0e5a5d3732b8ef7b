//! What the table holds for all services, and the changes from one state to the next: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::service::{Fragment, UdpFrontend};
use crate::nft::{Data, Op};

/// Namespace and name of a Service.
pub type ServiceKey = (String, String);
type ElementKey = (&'static str, Vec<u8>);
type Element = (Vec<u8>, Option<Data>);

/// All fragments as they are in the table. Entries that several services ask for (a pod behind two services, the
/// same external address and port) belong to all of them; the first by name decides the verdict.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    fragments: BTreeMap<ServiceKey, Arc<Fragment>>,
    elements: BTreeMap<ElementKey, BTreeMap<ServiceKey, Option<Data>>>,
}

impl Applied {
    /// Replaces the fragments of some services (`None` removes) and returns the transaction that does the same to
    /// the table, and what may be deleted after it: chains and sets that nothing uses any more. Deleting is apart
    /// since kernels before 6.2 notice only later that a chain has lost its last map entry.
    pub fn change(&mut self, changes: Vec<(ServiceKey, Option<Arc<Fragment>>)>) -> (Vec<Op>, Vec<Op>) {
        let empty = Arc::new(Fragment::default());
        let (mut added, mut rewritten, mut retired) = (Vec::new(), Vec::new(), Vec::new());
        let mut touched: BTreeMap<ElementKey, Option<Option<Data>>> = BTreeMap::new();
        for (key, new) in changes {
            let old = self.fragments.get(&key).cloned().unwrap_or_else(|| Arc::clone(&empty));
            let fresh = new.clone().unwrap_or_else(|| Arc::clone(&empty));
            if *old == *fresh {
                self.keep(key, new);
                continue;
            }
            chains(&old, &fresh, &mut added, &mut rewritten, &mut retired);
            let ids: BTreeSet<&ElementKey> = old.elements.keys().chain(fresh.elements.keys()).collect();
            for id in ids {
                touched.entry(id.clone()).or_insert_with(|| self.effective(id));
                let owners = self.elements.entry(id.clone()).or_default();
                match fresh.elements.get(id) {
                    Some(value) => owners.insert(key.clone(), value.clone()),
                    None => owners.remove(&key),
                };
            }
            self.keep(key, new);
        }
        let mut ops = added;
        ops.extend(rewritten);
        ops.extend(self.element_ops(touched));
        (ops, retired)
    }

    fn keep(&mut self, key: ServiceKey, fragment: Option<Arc<Fragment>>) {
        match fragment {
            Some(fragment) => self.fragments.insert(key, fragment),
            None => self.fragments.remove(&key),
        };
    }

    fn effective(&self, id: &ElementKey) -> Option<Option<Data>> {
        self.elements.get(id).and_then(|owners| owners.values().next().cloned())
    }

    /// Deletions before additions, so that a changed verdict is both.
    fn element_ops(&mut self, touched: BTreeMap<ElementKey, Option<Option<Data>>>) -> Vec<Op> {
        let mut gone: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
        let mut come: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
        for (id, before) in touched {
            let after = self.effective(&id);
            if after.is_none() {
                self.elements.remove(&id);
            }
            if before == after {
                continue;
            }
            let (set, key) = id;
            if before.is_some() {
                gone.entry(set).or_default().push(key.clone());
            }
            if let Some(value) = after {
                come.entry(set).or_default().push((key, value));
            }
        }
        let deletions = gone.into_iter().map(|(set, keys)| Op::DeleteElements { set: set.into(), keys });
        let additions = come.into_iter().map(|(set, elements)| Op::AddElements { set: set.into(), elements });
        deletions.chain(additions).collect()
    }

    /// The transaction that fills an empty table with all of it.
    pub fn everything(&self) -> Vec<Op> {
        let mut blank = Self::default();
        let all = self.fragments.iter().map(|(key, fragment)| (key.clone(), Some(Arc::clone(fragment))));
        blank.change(all.collect()).0
    }

    /// The services that have a fragment.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.fragments.keys()
    }

    /// All UDP ports.
    pub fn udp(&self) -> impl Iterator<Item = &UdpFrontend> {
        self.fragments.values().flat_map(|f| &f.udp)
    }

    /// Each chain with the number of its rules.
    pub fn chains(&self) -> impl Iterator<Item = (&str, usize)> {
        self.fragments.values().flat_map(|f| &f.chains).map(|(name, rules)| (name.as_str(), rules.len()))
    }

    /// Whether the object that `deletion` would delete is in use (again).
    pub fn uses(&self, deletion: &Op) -> bool {
        self.fragments.values().any(|f| match deletion {
            Op::DeleteChain(name) => f.chains.contains_key(name),
            Op::DeleteSet(name) => f.sets.contains_key(name),
            _ => false,
        })
    }

    /// Each entry of the table's shared sets.
    pub fn elements(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.elements.keys().map(|(set, key)| (*set, key.as_slice()))
    }
}

fn chains(old: &Fragment, new: &Fragment, added: &mut Vec<Op>, rewritten: &mut Vec<Op>, retired: &mut Vec<Op>) {
    let fresh_sets = new.sets.iter().filter(|(name, _)| !old.sets.contains_key(*name));
    added.extend(fresh_sets.map(|(_, spec)| Op::AddSet(spec.clone())));
    for (chain, rules) in &new.chains {
        let before = old.chains.get(chain);
        if before == Some(rules) {
            continue;
        }
        // A chain that waits to be deleted may be there still, hence the flush of new ones too.
        if before.is_none() {
            added.push(Op::AddChain { chain: chain.clone(), base: None });
        }
        rewritten.push(Op::FlushChain(chain.clone()));
        rewritten.extend(rules.iter().map(|rule| Op::AddRule { chain: chain.clone(), rule: rule.clone() }));
    }
    for chain in old.chains.keys().filter(|name| !new.chains.contains_key(*name)) {
        rewritten.push(Op::FlushChain(chain.clone()));
        retired.push(Op::DeleteChain(chain.clone()));
    }
    let unused = old.sets.keys().filter(|name| !new.sets.contains_key(*name));
    retired.extend(unused.map(|name| Op::DeleteSet(name.clone())));
}
