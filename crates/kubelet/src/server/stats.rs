//! What pods and the node use, as `/stats/summary` tells it.

use std::collections::BTreeMap;

use cri::v1;
use http::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::reply::{self, Body};
use crate::labels;
use crate::node::Facts;
use crate::time;

/// One container's use.
#[derive(Clone, Debug, Default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) stats: v1::ContainerStats,
}

/// One pod's use.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) cpu: Option<v1::CpuUsage>,
    pub(super) memory: Option<v1::MemoryUsage>,
    pub(super) network: Option<v1::NetworkUsage>,
    pub(super) containers: Vec<Container>,
}

/// Asks the runtime for the use of all pods; by sandboxes, or by containers from a runtime that knows only those.
pub(super) async fn pods(shared: &Shared) -> cri::Result<Vec<Pod>> {
    let runtime = &shared.machine.deps.runtime;
    match runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default()).await {
        Ok(answer) => Ok(answer.stats.into_iter().filter_map(of_sandbox).collect()),
        Err(cri::Error::Unimplemented(_)) => {
            let answer = runtime.list_container_stats(v1::ListContainerStatsRequest::default()).await?;
            let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
            for stats in answer.stats {
                let Some((mut pod, container)) = of_container(stats) else { continue };
                let entry = pods.entry(pod.uid.clone()).or_insert_with(|| std::mem::take(&mut pod));
                entry.containers.push(container);
            }
            Ok(pods.into_values().collect())
        }
        Err(error) => Err(error),
    }
}

fn of_sandbox(stats: v1::PodSandboxStats) -> Option<Pod> {
    let metadata = stats.attributes?.metadata?;
    let linux = stats.linux.unwrap_or_default();
    Some(Pod {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        cpu: linux.cpu,
        memory: linux.memory,
        network: linux.network,
        containers: linux.containers.into_iter().filter_map(of_container).map(|(_, c)| c).collect(),
    })
}

fn of_container(stats: v1::ContainerStats) -> Option<(Pod, Container)> {
    let attributes = stats.attributes.as_ref()?;
    let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
    let pod = Pod { namespace: label(labels::POD_NAMESPACE), name: label(labels::POD_NAME), uid: label(labels::POD_UID), ..Pod::default() };
    let from_metadata = || attributes.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default();
    let name = attributes.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_else(from_metadata);
    Some((pod, Container { name, stats }))
}

pub(super) fn number(value: &Option<v1::UInt64Value>) -> Option<u64> {
    value.as_ref().map(|v| v.value)
}

/// Answers with the summary.
pub(super) async fn summary(shared: &Shared) -> Response<Body> {
    let pods = match pods(shared).await {
        Ok(pods) => pods,
        Err(error) => return reply::text(http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let facts = Facts::read(&shared.machine.config);
    let now = time::now(&shared.machine.config.clock);
    let used = u64::try_from(facts.memory.saturating_sub(facts.available)).unwrap_or(0);
    let node = json!({
        "nodeName": shared.machine.config.node_name,
        "startTime": now,
        "cpu": { "time": now, "usageCoreNanoSeconds": facts.cpu_nanos },
        "memory": { "time": now, "availableBytes": facts.available, "usageBytes": used, "workingSetBytes": used },
        "fs": { "time": now, "availableBytes": facts.disk.1, "capacityBytes": facts.disk.0, "usedBytes": facts.disk.0.saturating_sub(facts.disk.1) },
        "rlimit": { "time": now, "maxpid": facts.pids.0, "curproc": facts.pids.1 },
    });
    reply::json(&json!({ "node": node, "pods": pods.iter().map(pod_json).collect::<Vec<_>>() }))
}

fn pod_json(pod: &Pod) -> Value {
    let containers: Vec<Value> =
        pod.containers.iter().map(|c| with(json!({ "name": c.name, "startTime": null }), &c.stats.cpu, &c.stats.memory)).collect();
    let mut whole = with(
        json!({ "podRef": { "name": pod.name, "namespace": pod.namespace, "uid": pod.uid }, "startTime": null, "containers": containers }),
        &pod.cpu,
        &pod.memory,
    );
    if let (Some(network), Some(map)) = (pod.network.as_ref().and_then(|n| n.default_interface.as_ref()), whole.as_object_mut()) {
        map.insert(
            "network".into(),
            json!({ "name": network.name, "rxBytes": number(&network.rx_bytes), "txBytes": number(&network.tx_bytes) }),
        );
    }
    whole
}

fn with(mut value: Value, cpu: &Option<v1::CpuUsage>, memory: &Option<v1::MemoryUsage>) -> Value {
    let Some(map) = value.as_object_mut() else { return value };
    let set = |map: &mut Map<String, Value>, key: &str, timestamp: i64, rows: Vec<(&str, Option<u64>)>| {
        let mut inner = Map::from_iter([("time".to_owned(), json!(time::from_nanos(timestamp)))]);
        inner.extend(rows.into_iter().filter_map(|(k, v)| Some((k.to_owned(), json!(v?)))));
        map.insert(key.to_owned(), Value::Object(inner));
    };
    if let Some(c) = cpu {
        set(
            map,
            "cpu",
            c.timestamp,
            vec![("usageNanoCores", number(&c.usage_nano_cores)), ("usageCoreNanoSeconds", number(&c.usage_core_nano_seconds))],
        );
    }
    if let Some(m) = memory {
        let rows = vec![
            ("availableBytes", number(&m.available_bytes)),
            ("usageBytes", number(&m.usage_bytes)),
            ("workingSetBytes", number(&m.working_set_bytes)),
            ("rssBytes", number(&m.rss_bytes)),
            ("pageFaults", number(&m.page_faults)),
            ("majorPageFaults", number(&m.major_page_faults)),
        ];
        set(map, "memory", m.timestamp, rows);
    }
    map.retain(|_, v| !v.is_null());
    value
}
