//! Pods that wait for a node: those to try now, those that wait a while after a failure, and those for which nothing has
//! changed since they failed. Pure: time is passed in.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use stdx::Backoff;
use tokio::time::Instant;

use crate::framework::{Event, Plugin};
use crate::plugins::scheduling_gates::is_gated;
use crate::pod_info::PodInfo;

/// The wait after a failed try.
pub const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// A pod for which nothing seems to change is tried again after this time all the same.
pub const MAX_IDLE: Duration = Duration::from_secs(300);

/// Why a try failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// These plugins refused every node.
    Unschedulable(BTreeSet<&'static str>),
    /// Something went wrong that has nothing to do with nodes, such as a failed write.
    Error,
}

/// Handed out with a pod: says what had happened by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Has gates.
    Gated,
    Active,
    /// Until the instant.
    Backoff(Instant),
    /// Since the instant, until an event helps.
    Idle(Instant),
    /// Being tried, or being bound.
    InFlight,
}

struct Entry {
    pod: Arc<PodInfo>,
    order: u64,
    attempts: u32,
    /// No try before this instant, unless there is nothing else to do and nodes have changed.
    not_before: Option<Instant>,
    failure: Option<Failure>,
    waiting: Waiting,
}

/// The queue.
#[derive(Default)]
pub struct Queue {
    entries: HashMap<String, Entry>,
    active: BTreeSet<(Reverse<i32>, u64, String)>,
    backoff: BTreeSet<(Instant, String)>,
    /// By the instant since when they wait, so that finding the oldest costs nothing.
    idle: BTreeSet<(Instant, String)>,
    next_order: u64,
    events: u64,
}

impl Queue {
    /// A pod without a node is new or changed.
    pub fn add(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let uid = pod.uid().to_owned();
        let gated = is_gated(&pod.pod);
        let Some(entry) = self.entries.get_mut(&uid) else {
            self.next_order += 1;
            let entry = Entry { pod, order: self.next_order, attempts: 0, not_before: None, failure: None, waiting: Waiting::Gated };
            self.entries.insert(uid.clone(), entry);
            if !gated {
                self.activate(&uid);
            }
            return;
        };
        let changed = matters(&entry.pod, &pod);
        entry.pod = pod;
        match entry.waiting {
            Waiting::Gated if !gated => self.activate(&uid),
            Waiting::Idle(_) if changed => self.wake(&uid, now),
            // Its priority or position may have changed.
            Waiting::Active => self.activate(&uid),
            _ => {}
        }
    }

    /// The pod has a node, has ended, or is gone.
    pub fn remove(&mut self, uid: &str) {
        self.unlist(uid);
        self.entries.remove(uid);
    }

    /// The next pod to try.
    pub fn pop(&mut self, now: Instant) -> Option<(Arc<PodInfo>, Ticket)> {
        self.move_due(now);
        let uid = match self.active.pop_first() {
            Some((_, _, uid)) => uid,
            None => self.early()?,
        };
        self.unlist(&uid);
        let events = self.events;
        let entry = self.entries.get_mut(&uid)?;
        entry.waiting = Waiting::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        Some((entry.pod.clone(), Ticket(events)))
    }

    /// With nothing else to do, a pod whose chances have changed need not wait out its backoff. After an error it must.
    fn early(&self) -> Option<String> {
        let may = |uid: &String| self.entries.get(uid).is_some_and(|e| matches!(e.failure, Some(Failure::Unschedulable(_))));
        self.backoff.iter().map(|(_, uid)| uid).find(|uid| may(uid)).cloned()
    }

    /// A try has failed. If anything happened during the try the pod may have missed it, so it is tried again soon.
    pub fn fail(&mut self, uid: &str, ticket: Ticket, failure: Failure, now: Instant) {
        let missed = self.events != ticket.0;
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        let due = now + BACKOFF.after(entry.attempts);
        entry.not_before = Some(due);
        let retry = missed || failure == Failure::Error;
        entry.failure = Some(failure);
        if retry {
            entry.waiting = Waiting::Backoff(due);
            self.backoff.insert((due, uid.to_owned()));
        } else {
            entry.waiting = Waiting::Idle(now);
            self.idle.insert((now, uid.to_owned()));
        }
    }

    /// Something happened in the cluster: wakes the pods that it may help.
    pub fn happened(&mut self, event: Event, profile: &[Box<dyn Plugin>], now: Instant) {
        self.events += 1;
        let helps = |entry: &Entry| match &entry.failure {
            Some(Failure::Unschedulable(by)) if !by.is_empty() => {
                profile.iter().any(|plugin| by.contains(plugin.name()) && plugin.wakes(event))
            }
            _ => true,
        };
        let helped = self.idle.iter().filter(|(_, uid)| self.entries.get(uid).is_some_and(helps));
        let woken: Vec<String> = helped.map(|(_, uid)| uid.clone()).collect();
        woken.iter().for_each(|uid| self.wake(uid, now));
    }

    /// When [`Queue::pop`] may have something that it does not have now.
    pub fn next_due(&self) -> Option<Instant> {
        let backoff = self.backoff.first().map(|(due, _)| *due);
        let idle = self.idle.first().map(|(since, _)| *since + MAX_IDLE);
        idle.into_iter().chain(backoff).min()
    }

    /// How many pods wait, whatever for.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn move_due(&mut self, now: Instant) {
        while let Some((due, uid)) = self.backoff.first().filter(|(due, _)| *due <= now).cloned() {
            self.backoff.remove(&(due, uid.clone()));
            self.activate(&uid);
        }
        while let Some((since, uid)) = self.idle.first().filter(|(since, _)| *since + MAX_IDLE <= now).cloned() {
            self.idle.remove(&(since, uid.clone()));
            self.activate(&uid);
        }
    }

    fn wake(&mut self, uid: &str, now: Instant) {
        match self.entries.get(uid).and_then(|e| e.not_before).filter(|due| *due > now) {
            Some(due) => {
                self.unlist(uid);
                if let Some(entry) = self.entries.get_mut(uid) {
                    entry.waiting = Waiting::Backoff(due);
                }
                self.backoff.insert((due, uid.to_owned()));
            }
            None => self.activate(uid),
        }
    }

    fn activate(&mut self, uid: &str) {
        self.unlist(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.waiting = Waiting::Active;
            self.active.insert((Reverse(entry.pod.priority()), entry.order, uid.to_owned()));
        }
    }

    /// Takes the pod out of the ordered lists, whatever its priority was when it got there.
    fn unlist(&mut self, uid: &str) {
        let Some(entry) = self.entries.get(uid) else {
            return;
        };
        match entry.waiting {
            Waiting::Active => {
                let key = (Reverse(entry.pod.priority()), entry.order, uid.to_owned());
                if !self.active.remove(&key) {
                    self.active.retain(|(_, _, other)| other != uid);
                }
            }
            Waiting::Backoff(due) => _ = self.backoff.remove(&(due, uid.to_owned())),
            Waiting::Idle(since) => _ = self.idle.remove(&(since, uid.to_owned())),
            Waiting::Gated | Waiting::InFlight => {}
        }
    }
}

/// Whether a pod's change can make it schedulable: the scheduler's own status writes cannot.
fn matters(old: &PodInfo, new: &PodInfo) -> bool {
    old.pod.spec != new.pod.spec || old.pod.metadata.labels != new.pod.metadata.labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::default_profile;
    use crate::pod_info::tests::pod;
    use serde_json::json;

    fn add(q: &mut Queue, text: &str, now: Instant) {
        q.add(Arc::new(pod(text, json!(null))), now);
    }

    fn next(q: &mut Queue, now: Instant) -> Option<(String, Ticket)> {
        q.pop(now).map(|(p, t)| (p.pod.metadata.name.clone().unwrap(), t))
    }

    fn by(plugin: &'static str) -> Failure {
        Failure::Unschedulable(BTreeSet::from([plugin]))
    }

    #[test]
    fn important_pods_go_first_and_then_the_oldest() {
        let (mut q, now) = (Queue::default(), Instant::now());
        for text in ["a", "b priority=5", "c", "d priority=5"] {
            add(&mut q, text, now);
        }
        let order: Vec<String> = std::iter::from_fn(|| next(&mut q, now).map(|(name, _)| name)).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[test]
    fn a_refused_pod_waits_for_an_event_that_can_help() {
        let (mut q, now, profile) = (Queue::default(), Instant::now(), default_profile());
        add(&mut q, "a", now);
        let (_, ticket) = next(&mut q, now).unwrap();
        q.fail("uid-a", ticket, by("NodeResourcesFit"), now);
        let later = now + Duration::from_secs(2);
        q.happened(Event::NodeLabels, &profile, later);
        assert_eq!(next(&mut q, later), None, "labels free no CPU");
        q.happened(Event::PodGone, &profile, later);
        assert!(next(&mut q, later).is_some());
        assert_eq!(next(&mut q, later + MAX_IDLE * 2), None, "in flight");
    }

    #[test]
    fn errors_wait_longer_each_time_and_missed_events_are_made_up_for() {
        let (mut q, mut now, profile) = (Queue::default(), Instant::now(), default_profile());
        add(&mut q, "a", now);
        for wait in [1, 2, 4, 8, 10, 10] {
            let (_, ticket) = next(&mut q, now).unwrap();
            q.fail("uid-a", ticket, Failure::Error, now);
            assert_eq!(q.next_due(), Some(now + Duration::from_secs(wait)));
            assert_eq!(next(&mut q, now), None);
            now += Duration::from_secs(wait);
        }
        let (_, ticket) = next(&mut q, now).unwrap();
        q.happened(Event::PodGone, &profile, now);
        q.fail("uid-a", ticket, by("NodeResourcesFit"), now);
        assert!(next(&mut q, now).is_some(), "room was made during the try");
    }

    #[test]
    fn idle_pods_are_tried_again_after_a_while_and_gates_are_waited_for() {
        let (mut q, now) = (Queue::default(), Instant::now());
        let gates = json!({"schedulingGates": [{"name": "wait"}]});
        q.add(Arc::new(pod("g", gates)), now);
        assert_eq!(next(&mut q, now), None);
        add(&mut q, "g", now);
        let (_, ticket) = next(&mut q, now).unwrap();
        q.fail("uid-g", ticket, by("NodeAffinity"), now);
        assert_eq!(q.next_due(), Some(now + MAX_IDLE));
        assert!(next(&mut q, now + MAX_IDLE).is_some());
        q.remove("uid-g");
        assert!(q.is_empty());
    }
}
