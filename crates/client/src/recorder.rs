//! Events for people: what a component did to an object, and why (`kubectl describe`, `kubectl events`).
//!
//! The same event repeated becomes one object with a count, as client-go's recorder does it. Recording never delays the
//! caller: events go through a bounded queue, and when it is full the newest are dropped.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use stdx::{Clock, Prng};
use tokio::sync::mpsc;

/// Events waiting to be written; further ones are dropped.
const QUEUE: usize = 1000;
/// Kinds of events remembered for counting; the oldest are forgotten.
const REMEMBERED: usize = 4096;
/// The API refuses longer messages.
const MESSAGE_MAX_BYTES: usize = 1024;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Writes one component's events. Clones share the queue.
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Pending>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Pending {
    kind: EventType,
    object: RefKey,
    reason: String,
    message: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct RefKey {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    field_path: String,
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    clock: Clock,
    last_mark: u128,
    written: HashMap<Pending, Written>,
    order: VecDeque<Pending>,
}

struct Written {
    name: String,
    count: i32,
}

impl EventRecorder {
    /// A recorder for a component (`kubelet`, `deployment-controller`); `host` is the node, or empty. Must be called
    /// inside a tokio runtime.
    pub fn new(client: Client, component: &str, host: &str, clock: Clock, prng: Prng) -> Self {
        let (queue, mut pending) = mpsc::channel(QUEUE);
        let mut writer = Writer {
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            clock,
            // Two recorders may start in the same nanosecond.
            last_mark: u128::from(prng.below(1000)),
            written: HashMap::new(),
            order: VecDeque::new(),
        };
        tokio::spawn(async move {
            while let Some(event) = pending.recv().await {
                writer.write(event).await;
            }
        });
        Self { queue }
    }

    /// Records an event about an object.
    pub fn event<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, message: impl Into<String>) {
        self.event_at(object, "", kind, reason, message);
    }

    /// Records an event about a part of an object, for example `spec.containers{web}`.
    pub fn event_at<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        field_path: &str,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let meta = object.meta();
        let object = RefKey {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            field_path: field_path.to_owned(),
        };
        let message = shortened(message.into());
        if self.queue.try_send(Pending { kind, object, reason: reason.to_owned(), message }).is_err() {
            tracing::debug!(reason, "event queue is full, dropping an event");
        }
    }
}

impl Writer {
    async fn write(&mut self, event: Pending) {
        // Two events are the same if they differ only in the version of the object that they saw.
        let mut key = event.clone();
        key.object.resource_version.clear();
        let namespace = if event.object.namespace.is_empty() { "default" } else { &event.object.namespace };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let now = Time(Timestamp::try_from(self.clock.now()).unwrap_or_default());
        if let Some(written) = self.written.get_mut(&key) {
            written.count = written.count.saturating_add(1);
            let patch = json!({ "count": written.count, "lastTimestamp": now });
            match api.patch(&written.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.code == 404 => drop(self.written.remove(&key)),
                Err(error) => return tracing::debug!(%error, "updating an event failed"),
            }
        }
        let object = self.new_event(&event, namespace, now);
        let name = object.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => self.remember(key, Written { name, count: 1 }),
            Err(error) => tracing::debug!(%error, reason = event.reason, "writing an event failed"),
        }
    }

    /// Nanoseconds since the epoch, but never the same number twice: events of one object list in the order they happened.
    fn next_mark(&mut self) -> u128 {
        let now = self.clock.now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        self.last_mark = now.max(self.last_mark + 1);
        self.last_mark
    }

    fn new_event(&mut self, event: &Pending, namespace: &str, now: Time) -> Event {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut object = Event {
            involved_object: ObjectReference {
                api_version: some(&event.object.api_version),
                kind: some(&event.object.kind),
                namespace: some(&event.object.namespace),
                name: some(&event.object.name),
                uid: some(&event.object.uid),
                resource_version: some(&event.object.resource_version),
                field_path: some(&event.object.field_path),
            },
            reason: some(&event.reason),
            message: some(&event.message),
            type_: Some(format!("{:?}", event.kind)),
            source: Some(EventSource { component: some(&self.component), host: some(&self.host) }),
            reporting_component: some(&self.component),
            reporting_instance: some(&self.host),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            ..Event::default()
        };
        object.metadata.name = Some(format!("{}.{:x}", event.object.name, self.next_mark()));
        object.metadata.namespace = Some(namespace.to_owned());
        object
    }

    fn remember(&mut self, key: Pending, written: Written) {
        while self.order.len() >= REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.written.remove(&oldest);
            }
        }
        self.order.push_back(key.clone());
        self.written.insert(key, written);
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_MAX_BYTES {
        let mut end = MESSAGE_MAX_BYTES - 3;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push_str("...");
    }
    message
}
