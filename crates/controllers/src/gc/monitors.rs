//! One metadata-only watch per resource, feeding the graph.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::{AbortHandle, JoinSet};

use super::graph::Identity;
use super::resources::Known;
use super::sync::Collector;

/// The watches that run, by group and kind.
#[derive(Default)]
pub(super) struct Monitors {
    running: HashMap<(String, String), (Known, AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Monitors {
    /// Starts what is missing and stops what is no longer served.
    pub(super) fn follow(&mut self, collector: &Arc<Collector>) {
        let wanted = collector.resources();
        self.running.retain(|key, (known, task)| {
            let stays = wanted.get(key) == Some(known);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, known) in wanted {
            if !self.running.contains_key(&key) {
                let task = self.tasks.spawn(watch(collector.clone(), known.clone()));
                self.running.insert(key, (known, task));
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn watch(collector: Arc<Collector>, known: Known) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(collector.client().clone(), &known.resource);
    let mut events = watcher(api, Config::default()).default_backoff().boxed();
    // UIDs, to notice what went while the watch was interrupted.
    let (mut there, mut listed) = (HashSet::new(), HashSet::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.extend(object.metadata.uid.clone());
                there.extend(object.metadata.uid.clone());
                collector.observe(identity(&known, &object), &object.metadata);
            }
            Ok(Event::InitDone) => {
                there.difference(&listed).for_each(|uid| collector.gone(uid));
                there = std::mem::take(&mut listed);
            }
            Ok(Event::Apply(object)) => {
                there.extend(object.metadata.uid.clone());
                collector.observe(identity(&known, &object), &object.metadata);
                collector.kinds_may_have_changed(&known);
            }
            Ok(Event::Delete(object)) => {
                let uid = object.metadata.uid.clone().unwrap_or_default();
                there.remove(&uid);
                collector.gone(&uid);
                collector.kinds_may_have_changed(&known);
            }
            Err(error) => {
                tracing::debug!(resource = %known.resource.plural, %error, "watch interrupted")
            }
        }
    }
}

fn identity(known: &Known, object: &PartialObjectMeta<DynamicObject>) -> Identity {
    let meta = &object.metadata;
    Identity {
        api_version: known.resource.api_version.clone(),
        kind: known.resource.kind.clone(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}
