//! Who owns whom, as far as the watches have shown. Pure: every change answers with the objects to look at.
//!
//! # Guarantees
//! Nothing is decided here: an object that "must go" is only looked at, and everything is verified live before it is deleted.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Keeps an owner until its blocking dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Keeps an owner until its dependents have forgotten it.
pub const ORPHAN: &str = "orphan";

/// Which object a UID stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
}

/// One object.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which it is.
    pub identity: Identity,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// UIDs of what it owns.
    pub dependents: BTreeSet<String>,
    /// It has been told to go.
    pub is_leaving: bool,
    /// It waits for its dependents to go first.
    pub waits_for_dependents: bool,
    /// Whether a watch has shown it, or only a reference speaks of it.
    pub is_observed: bool,
}

/// What to look at after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Objects that may have to go, or may be free to go.
    pub look_at: BTreeSet<String>,
    /// Owners whose dependents must forget them.
    pub orphan: BTreeSet<String>,
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    /// An object.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// What an object owns.
    pub fn dependents(&self, uid: &str) -> Vec<Node> {
        let Some(node) = self.nodes.get(uid) else {
            return Vec::new();
        };
        node.dependents.iter().filter_map(|d| self.nodes.get(d)).cloned().collect()
    }

    /// A watch shows an object, new or changed.
    pub fn observe(&mut self, identity: Identity, meta: &ObjectMeta) -> Work {
        let mut work = Work::default();
        let uid = identity.uid.clone();
        let finalizers = meta.finalizers.as_deref().unwrap_or_default();
        let leaving = meta.deletion_timestamp.is_some();
        let has = |name: &str| leaving && finalizers.iter().any(|f| f == name);
        let owners = meta.owner_references.clone().unwrap_or_default();
        let old = self.nodes.remove(&uid);
        let old_owners = old.as_ref().map(|o| o.owners.clone()).unwrap_or_default();
        let waited = old.as_ref().is_some_and(|o| o.waits_for_dependents);
        let node = Node {
            identity,
            owners: owners.clone(),
            dependents: old.map(|o| o.dependents).unwrap_or_default(),
            is_leaving: leaving,
            waits_for_dependents: has(FOREGROUND),
            is_observed: true,
        };
        if has(ORPHAN) {
            work.orphan.insert(uid.clone());
        }
        if node.waits_for_dependents {
            work.look_at.insert(uid.clone());
            if !waited {
                work.look_at.extend(node.dependents.iter().cloned());
            }
        }
        let namespace = node.identity.namespace.clone();
        self.nodes.insert(uid.clone(), node);
        self.link(&uid, &namespace, &old_owners, &owners, &mut work);
        work
    }

    /// A watch, or a look at the server, shows that an object is gone.
    pub fn remove(&mut self, uid: &str) -> Work {
        let mut work = Work::default();
        let Some(node) = self.nodes.remove(uid) else {
            return work;
        };
        for owner in &node.owners {
            self.unlink(uid, &owner.uid, &mut work);
        }
        work.look_at.extend(node.dependents);
        work
    }

    fn link(&mut self, uid: &str, namespace: &str, old: &[OwnerReference], new: &[OwnerReference], work: &mut Work) {
        for gone in old.iter().filter(|o| !new.iter().any(|n| n.uid == o.uid)) {
            self.unlink(uid, &gone.uid, work);
        }
        for owner in new {
            let before = old.iter().find(|o| o.uid == owner.uid);
            let known = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                // Nobody has seen this owner: it may be gone, so it must be looked for.
                work.look_at.insert(owner.uid.clone());
                unseen(owner, namespace)
            });
            known.dependents.insert(uid.to_owned());
            if before.is_none() && known.waits_for_dependents {
                work.look_at.insert(uid.to_owned());
            }
            let unblocked = before.is_some_and(|b| b.block_owner_deletion == Some(true)) && owner.block_owner_deletion != Some(true);
            if unblocked && known.waits_for_dependents {
                work.look_at.insert(owner.uid.clone());
            }
        }
    }

    fn unlink(&mut self, uid: &str, owner: &str, work: &mut Work) {
        let Some(node) = self.nodes.get_mut(owner) else {
            return;
        };
        node.dependents.remove(uid);
        if node.waits_for_dependents {
            work.look_at.insert(owner.to_owned());
        }
        if !node.is_observed && node.dependents.is_empty() {
            self.nodes.remove(owner);
        }
    }
}

/// An owner that only a reference speaks of. A namespaced one is in its dependent's namespace; for a cluster-scoped kind the
/// namespace is ignored later.
fn unseen(reference: &OwnerReference, namespace: &str) -> Node {
    let identity = Identity {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: namespace.to_owned(),
        name: reference.name.clone(),
        uid: reference.uid.clone(),
    };
    Node { identity, owners: Vec::new(), dependents: BTreeSet::new(), is_leaving: false, waits_for_dependents: false, is_observed: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::at;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    /// `uid owner=a owner=b! deleting finalizer=x`; `!` marks a blocking reference.
    fn observe(graph: &mut Graph, text: &str) -> Vec<String> {
        let mut words = text.split_whitespace();
        let uid = words.next().unwrap().to_owned();
        let mut meta = ObjectMeta::default();
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("owner", owner) => meta.owner_references.get_or_insert_default().push(OwnerReference {
                    uid: owner.trim_end_matches('!').into(),
                    block_owner_deletion: Some(owner.ends_with('!')),
                    ..Default::default()
                }),
                ("deleting", _) => meta.deletion_timestamp = Some(Time(at(1))),
                ("finalizer", f) => meta.finalizers.get_or_insert_default().push(f.into()),
                other => panic!("{other:?}"),
            }
        }
        let identity = Identity { api_version: "v1".into(), kind: "K".into(), namespace: "ns".into(), name: uid.clone(), uid };
        told(graph.observe(identity, &meta))
    }

    fn told(work: Work) -> Vec<String> {
        work.look_at.into_iter().chain(work.orphan.into_iter().map(|uid| format!("orphan {uid}"))).collect()
    }

    #[test]
    fn changes_name_what_must_be_looked_at() {
        let mut g = Graph::default();
        assert!(observe(&mut g, "owner").is_empty());
        assert!(observe(&mut g, "child owner=owner!").is_empty());
        assert_eq!(observe(&mut g, "stray owner=gone"), ["gone"], "an owner that nobody saw is looked for");
        assert_eq!(told(g.remove("gone")), ["stray"]);
        assert_eq!(observe(&mut g, "owner deleting finalizer=foregroundDeletion"), ["child", "owner"]);
        assert_eq!(observe(&mut g, "late owner=owner!"), ["late"]);
        assert_eq!(observe(&mut g, "late owner=owner"), ["owner"], "no longer blocks");
        assert_eq!(told(g.remove("child")), ["owner"]);
        assert_eq!(told(g.remove("owner")), ["late"]);
        assert_eq!(observe(&mut g, "second deleting finalizer=orphan"), ["orphan second"]);
    }

    #[test]
    fn a_circle_of_owners_goes_round_only_once() {
        let mut g = Graph::default();
        assert_eq!(observe(&mut g, "a owner=c"), ["c"]);
        assert!(observe(&mut g, "b owner=a").is_empty());
        assert!(observe(&mut g, "c owner=b").is_empty());
        assert_eq!(told(g.remove("a")), ["b"]);
        assert_eq!(told(g.remove("b")), ["c"]);
        assert!(told(g.remove("c")).is_empty());
    }
}
