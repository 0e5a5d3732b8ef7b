//! The scheduling loop: one pod at a time is given a node; writes run beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::{EventRecorder, EventType, Informers};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, ResourceExt as _};
use stdx::{Clock, Prng};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::bind::{self, NAME, Verdict};
use crate::cache::Cache;
use crate::cycle::{self, Outcome};
use crate::diagnosis::Diagnosis;
use crate::framework::{Cycle, Event, Plugin, Surroundings};
use crate::plugins::default_profile;
use crate::pod_info::PodInfo;
use crate::preemption;
use crate::queue::{Failure, Queue, Ticket};
use crate::watches;

/// Writes under way at once; the loop waits when there are more.
const MAX_WRITES: usize = 256;

/// What the scheduler needs from whoever runs it.
pub struct Config {
    /// Calls as `system:kube-scheduler`.
    pub client: Client,
    /// The caches of this process.
    pub informers: Informers,
    /// Timestamps.
    pub clock: Clock,
    /// Choices between equally good nodes.
    pub prng: Prng,
}

pub(crate) struct Scheduler {
    client: Client,
    pub(crate) informers: Informers,
    events: EventRecorder,
    clock: Clock,
    prng: Prng,
    profile: Vec<Box<dyn Plugin>>,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    changed: Notify,
}

/// What a cycle reads and changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) cache: Cache,
    pub(crate) surroundings: Surroundings,
    /// Pods for which room is being made, and where, by UID.
    pub(crate) nominated: HashMap<String, (String, Arc<PodInfo>)>,
    start: usize,
}

/// What one cycle decided.
enum Decision {
    Bind(String),
    Fail { failure: Failure, reason: &'static str, message: String, room: Option<(String, Vec<Arc<PodInfo>>)> },
}

/// Schedules pods until the future is dropped.
pub async fn run(config: Config) {
    let Config { client, informers, clock, prng } = config;
    let scheduler = Arc::new(Scheduler {
        events: EventRecorder::new(client.clone(), NAME, "", clock.clone(), prng.clone()),
        client,
        informers,
        clock,
        prng,
        profile: default_profile(),
        state: Mutex::default(),
        queue: Mutex::default(),
        changed: Notify::new(),
    });
    watches::start(&scheduler).await;
    let writes = Arc::new(Semaphore::new(MAX_WRITES));
    loop {
        let (pod, ticket) = scheduler.next().await;
        // The semaphore is never closed.
        let Ok(permit) = writes.clone().acquire_owned().await else {
            return;
        };
        let decision = scheduler.decide(&pod);
        scheduler.clone().carry_out(pod, ticket, decision, permit);
    }
}

impl Scheduler {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enqueue(&self, pod: Arc<PodInfo>) {
        self.queue().add(pod, Instant::now());
        self.changed.notify_one();
    }

    pub(crate) fn happened(&self, event: Event) {
        self.queue().happened(event, &self.profile, Instant::now());
        self.changed.notify_one();
    }

    async fn next(&self) -> (Arc<PodInfo>, Ticket) {
        loop {
            let changed = self.changed.notified();
            let due = {
                let mut queue = self.queue();
                if let Some(found) = queue.pop(Instant::now()) {
                    return found;
                }
                queue.next_due()
            };
            match due {
                Some(due) => drop(timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }

    /// One cycle, under the cache's lock, so that no change comes between looking and assuming.
    fn decide(&self, pod: &Arc<PodInfo>) -> Decision {
        let spreads_by_default = pod.pod.spec.as_ref().is_some_and(|s| s.topology_spread_constraints.iter().flatten().next().is_none());
        let selector = spreads_by_default.then(|| watches::default_selector(self, &pod.pod)).flatten();
        let mut guard = self.state();
        let state = &mut *guard;
        state.surroundings.default_selector = selector;
        let nominated: Vec<_> = state.nominated.values().cloned().collect();
        let cycle = Cycle { pod, cache: &state.cache, surroundings: &state.surroundings };
        match cycle::schedule(&self.profile, &cycle, &nominated, &mut state.start, &self.prng) {
            Outcome::Chosen(node) => {
                state.cache.assume(pod.clone(), &node);
                state.nominated.remove(pod.uid());
                Decision::Bind(node)
            }
            Outcome::NoNodes => Decision::Fail {
                failure: Failure::Unschedulable(Default::default()),
                reason: "Unschedulable",
                message: "no nodes available to schedule pods".to_owned(),
                room: None,
            },
            Outcome::Unfit(diagnosis) => self.make_room(state, pod, diagnosis),
        }
    }

    fn make_room(&self, state: &mut State, pod: &Arc<PodInfo>, diagnosis: Diagnosis) -> Decision {
        let mut message = diagnosis.message();
        let mut room = None;
        match preemption::find(&self.profile, &mut state.cache, &state.surroundings, pod, &diagnosis) {
            preemption::Outcome::Found { node, victims } => {
                state.nominated.insert(pod.uid().to_owned(), (node.clone(), pod.clone()));
                room = Some((node, victims));
            }
            preemption::Outcome::Useless(why) => {
                message.push_str(&format!(" no new claims to deallocate, preemption: {why}"));
            }
        }
        Decision::Fail { failure: Failure::Unschedulable(diagnosis.plugins), reason: "Unschedulable", message, room }
    }

    fn carry_out(self: Arc<Self>, pod: Arc<PodInfo>, ticket: Ticket, decision: Decision, permit: OwnedSemaphorePermit) {
        match decision {
            Decision::Bind(node) => {
                tokio::spawn(async move {
                    self.bind(&pod, ticket, &node).await;
                    drop(permit);
                });
            }
            Decision::Fail { failure, reason, message, room } => {
                // At once, so that no event finds the pod neither waiting nor in flight.
                self.queue().fail(pod.uid(), ticket, failure, Instant::now());
                self.changed.notify_one();
                tokio::spawn(async move {
                    self.report(&pod, reason, &message, room).await;
                    drop(permit);
                });
            }
        }
    }

    async fn bind(&self, pod: &PodInfo, ticket: Ticket, node: &str) {
        let (name, namespace) = (pod.pod.name_any(), pod.namespace());
        let Err(error) = bind::bind(&self.client, &pod.pod, node).await else {
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            self.events.event(pod.pod.as_ref(), EventType::Normal, "Scheduled", message);
            self.queue().remove(pod.uid());
            return;
        };
        self.state().cache.forget(pod.uid());
        if matches!(&error, kube::Error::Api(status) if status.code == 404) {
            self.queue().remove(pod.uid());
        } else {
            tracing::debug!(pod = %name, %namespace, node, %error, "binding failed");
            self.queue().fail(pod.uid(), ticket, Failure::Error, Instant::now());
            self.report(pod, "SchedulerError", &format!("binding rejected: {error}"), None).await;
        }
        // What was assumed is free again.
        self.happened(Event::PodGone);
    }

    async fn report(&self, pod: &PodInfo, reason: &'static str, message: &str, room: Option<(String, Vec<Arc<PodInfo>>)>) {
        self.events.event(pod.pod.as_ref(), EventType::Warning, "FailedScheduling", message);
        let now = Timestamp::try_from(self.clock.now()).unwrap_or_default();
        let nominated = room.as_ref().map(|(node, _)| node.as_str());
        let verdict = Verdict { reason, message, nominated };
        if let Err(error) = bind::report(&self.client, &pod.pod, &verdict, now).await {
            tracing::debug!(pod = %pod.pod.name_any(), %error, "writing the scheduling condition failed");
        }
        let Some((node, victims)) = room else { return };
        for victim in victims {
            match bind::evict(&self.client, &victim.pod, now).await {
                Ok(()) => {
                    let message = format!("Preempted by pod {} on node {node}", pod.uid());
                    self.events.event(victim.pod.as_ref(), EventType::Normal, "Preempted", message);
                }
                Err(error) => {
                    tracing::warn!(victim = %victim.pod.name_any(), %error, "preemption failed")
                }
            }
        }
    }
}
