//! Decides how many pods to create or which to delete, and what the status is.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::kinds::{Condition, Replicator, Status};
use super::rank;
use crate::context::time;
use crate::pods;

/// At most this many pods are created or deleted in one pass (upstream's burst).
pub const BURST: usize = 500;

/// What was seen.
pub struct Observed<'a, R> {
    /// The ReplicaSet or ReplicationController.
    pub owner: &'a R,
    /// Its claimed pods that are active.
    pub active: &'a [Arc<Pod>],
    /// Its pods on their way out; `None` where the kind does not report them.
    pub terminating: Option<usize>,
    /// Active pods of the owner's whole family, for choosing victims.
    pub related: &'a [Arc<Pod>],
}

/// What to do about the number of pods.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// How many pods to create.
    pub create: usize,
    /// Which pods to delete.
    pub delete: Vec<Arc<Pod>>,
}

/// Compares the number of active pods with the wanted number.
pub fn plan<R: Replicator>(seen: &Observed<'_, R>, now: Timestamp) -> Plan {
    let wanted = usize::try_from(seen.owner.replicas()).unwrap_or(0);
    let have = seen.active.len();
    if have <= wanted {
        return Plan { create: (wanted - have).min(BURST), delete: Vec::new() };
    }
    let mut victims = seen.active.to_vec();
    rank::sort(&mut victims, seen.related, now);
    victims.truncate((have - wanted).min(BURST));
    Plan { create: 0, delete: victims }
}

/// The status to write, or `None` when the written one is right. `failure` is why creating or deleting did not work.
pub fn status<R: Replicator>(seen: &Observed<'_, R>, failure: Option<&str>, now: Timestamp) -> Option<Status> {
    let owner = seen.owner;
    let old = owner.status();
    let labels = owner.template().and_then(|t| t.metadata.as_ref()?.labels.as_ref());
    let fully_labeled = |pod: &Pod| {
        let has = pod.metadata.labels.as_ref();
        labels.is_none_or(|wanted| wanted.iter().all(|(k, v)| has.and_then(|h| h.get(k)) == Some(v)))
    };
    let min_ready = owner.min_ready_seconds();
    let count = |is: &dyn Fn(&Pod) -> bool| number(seen.active.iter().filter(|pod| is(pod)).count());
    let new = Status {
        replicas: number(seen.active.len()),
        fully_labeled: count(&fully_labeled),
        ready: count(&pods::is_ready),
        available: count(&|pod| pods::is_available(pod, min_ready, now)),
        terminating: seen.terminating.map(number),
        observed_generation: owner.meta().generation.unwrap_or(0),
        conditions: conditions(&old.conditions, failure, owner.replicas(), seen.active.len(), now),
    };
    (new != old).then_some(new)
}

/// When a ready pod next becomes available without any event telling so.
pub fn recheck<R: Replicator>(seen: &Observed<'_, R>, now: Timestamp) -> Option<Duration> {
    let min_ready = seen.owner.min_ready_seconds();
    let waits = seen.active.iter().filter_map(|pod| pods::available_in(pod, min_ready, now));
    waits.filter(|wait| !wait.is_zero()).min().map(|wait| wait.unsigned_abs())
}

fn conditions(old: &[Condition], failure: Option<&str>, wanted: i32, have: usize, now: Timestamp) -> Vec<Condition> {
    const FAILURE: &str = "ReplicaFailure";
    let has_failure = old.iter().any(|c| c.type_ == FAILURE);
    match failure {
        None => old.iter().filter(|c| c.type_ != FAILURE).cloned().collect(),
        Some(_) if has_failure => old.to_vec(),
        Some(message) => {
            let reason = if number(have) < wanted { "FailedCreate" } else { "FailedDelete" };
            let failed = Condition {
                type_: FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: Some(time(now)),
            };
            old.iter().cloned().chain([failed]).collect()
        }
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, pod};
    use k8s_openapi::api::apps::v1::ReplicaSet;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "generation": 3},
            "spec": {"replicas": replicas, "minReadySeconds": 10, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}}
        }))
        .unwrap()
    }

    fn pods_of(texts: &[&str]) -> Vec<Arc<Pod>> {
        texts.iter().map(|t| Arc::new(pod(t))).collect()
    }

    #[test]
    fn the_number_of_pods_is_brought_to_the_wanted_one_in_bursts() {
        for (replicas, have, create, delete) in [(3, 0, 3, 0), (3, 3, 0, 0), (1, 3, 0, 2), (0, 2, 0, 2), (900, 0, 500, 0)] {
            let owner = set(replicas);
            let active: Vec<_> = (0..have).map(|i| Arc::new(pod(&format!("p{i}")))).collect();
            let seen = Observed { owner: &owner, active: &active, terminating: Some(0), related: &[] };
            let plan = plan(&seen, at(100));
            assert_eq!((plan.create, plan.delete.len()), (create, delete), "{replicas} wanted, {have} there");
        }
    }

    #[test]
    fn the_status_counts_and_failures_come_and_go() {
        let owner = set(3);
        let active = pods_of(&["a ready=0 label=app:web", "b ready=95", "c phase=Pending"]);
        let seen = Observed { owner: &owner, active: &active, terminating: Some(1), related: &[] };
        let s = status(&seen, None, at(100)).unwrap();
        assert_eq!((s.replicas, s.fully_labeled, s.ready, s.available), (3, 1, 2, 1));
        assert_eq!((s.terminating, s.observed_generation), (Some(1), 3));
        assert_eq!(recheck(&seen, at(100)), Some(Duration::from_secs(5)));

        let owner = owner.with_status(s);
        let seen = Observed { owner: &owner, active: &active, terminating: Some(1), related: &[] };
        assert_eq!(status(&seen, None, at(100)), None, "nothing changed");
        let active = pods_of(&["a"]);
        let seen = Observed { owner: &owner, active: &active, terminating: Some(1), related: &[] };
        let failed = status(&seen, Some("quota"), at(100)).unwrap();
        assert_eq!(failed.conditions[0].reason.as_deref(), Some("FailedCreate"));
        let owner = owner.with_status(failed);
        let seen = Observed { owner: &owner, active: &active, terminating: Some(1), related: &[] };
        assert!(status(&seen, None, at(100)).unwrap().conditions.is_empty());
    }
}
