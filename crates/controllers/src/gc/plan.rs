//! What happens to one object, given its live state and that of its owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, ORPHAN};

/// What a look at the server said about an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists and stays.
    Solid,
    /// It does not exist (or an object of another UID has its name).
    Absent,
    /// It waits for this dependent to go.
    Waiting,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// Take away the references to these UIDs.
    Forget(Vec<String>),
    Delete(PropagationPolicy),
}

/// Decides about an object with owners. It stays while one of them does.
pub(super) fn decide(owners: &[(OwnerReference, Owner)], finalizers: &[String], has_dependents: bool) -> Action {
    let of = |state: Owner| owners.iter().filter(move |(_, s)| *s == state).map(|(r, _)| r.uid.clone());
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    if owners.is_empty() {
        return Action::Nothing;
    }
    if of(Owner::Solid).next().is_some() {
        let stale: Vec<String> = of(Owner::Absent).chain(of(Owner::Waiting)).collect();
        return if stale.is_empty() { Action::Nothing } else { Action::Forget(stale) };
    }
    if of(Owner::Waiting).next().is_some() && has_dependents {
        return Action::Delete(PropagationPolicy::Foreground);
    }
    // What the object itself was told at its deletion comes first.
    Action::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_stays_while_one_owner_stays() {
        use Owner::{Absent, Solid, Waiting};
        let forget = |uids: &[&str]| Action::Forget(uids.iter().map(|u| (*u).to_owned()).collect());
        let table: [(&[Owner], &[&str], bool, Action); 8] = [
            (&[], &[], false, Action::Nothing),
            (&[Solid], &[], false, Action::Nothing),
            (&[Solid, Absent], &[], false, forget(&["1"])),
            (&[Waiting, Solid, Absent], &[], false, forget(&["2", "0"])),
            (&[Absent], &[], false, Action::Delete(PropagationPolicy::Background)),
            (&[Absent], &[ORPHAN], false, Action::Delete(PropagationPolicy::Orphan)),
            (&[Waiting], &[], true, Action::Delete(PropagationPolicy::Foreground)),
            (&[Waiting], &[], false, Action::Delete(PropagationPolicy::Background)),
        ];
        for (owners, finalizers, dependents, expected) in table {
            let owners: Vec<_> =
                owners.iter().enumerate().map(|(i, state)| (OwnerReference { uid: i.to_string(), ..Default::default() }, *state)).collect();
            let finalizers: Vec<String> = finalizers.iter().map(|f| (*f).to_owned()).collect();
            assert_eq!(decide(&owners, &finalizers, dependents), expected, "{owners:?}");
        }
    }
}
