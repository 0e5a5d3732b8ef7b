//! Metrics in Prometheus' text format.

use std::fmt::Write as _;

use cri::v1;
use http::{Response, StatusCode};

use super::Shared;
use super::reply::{self, Body};
use super::stats::{self, number};
use crate::node::Facts;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text under construction. Writing to a string cannot fail.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}\n");
    }

    fn row(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// The kubelet's own metrics.
pub(super) fn own(shared: &Shared) -> Response<Body> {
    let mut text = Text::default();
    let pods = shared.registry.list();
    let running = |pod: &k8s_openapi::api::core::v1::Pod| {
        let statuses = pod.status.iter().filter_map(|s| s.container_statuses.as_ref()).flatten();
        statuses.filter(|s| s.state.as_ref().is_some_and(|s| s.running.is_some())).count()
    };
    let containers: usize = pods.iter().map(|p| running(p)).sum();
    text.head("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
    text.row("kubelet_running_pods", &[], pods.iter().filter(|p| running(p) > 0).count() as f64);
    text.head("kubelet_running_containers", "gauge", "Number of containers currently running");
    text.row("kubelet_running_containers", &[("container_state", "running")], containers as f64);
    text.head("kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    text.row("kubelet_node_name", &[("node", &shared.machine.config.node_name)], 1.0);
    reply::of(StatusCode::OK, FORMAT, text.0)
}

/// What the node, its pods and their containers use.
pub(super) async fn resource(shared: &Shared) -> Response<Body> {
    let mut text = Text::default();
    let facts = Facts::read(&shared.machine.config);
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    text.head("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
    text.row("node_cpu_usage_seconds_total", &[], seconds(facts.cpu_nanos));
    text.head("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
    text.row("node_memory_working_set_bytes", &[], facts.memory.saturating_sub(facts.available) as f64);
    let pods = stats::pods(shared).await;
    let failed = pods.is_err();
    let pods = pods.unwrap_or_default();
    let cpu = |c: &Option<v1::CpuUsage>| c.as_ref().and_then(|c| number(&c.usage_core_nano_seconds)).map(seconds);
    let memory = |m: &Option<v1::MemoryUsage>| m.as_ref().and_then(|m| number(&m.working_set_bytes)).map(|bytes| bytes as f64);
    let containers = |text: &mut Text, name: &str, value: &dyn Fn(&v1::ContainerStats) -> Option<f64>| {
        for (pod, container) in pods.iter().flat_map(|p| p.containers.iter().map(move |c| (p, c))) {
            if let Some(value) = value(&container.stats) {
                text.row(name, &[("container", &container.name), ("namespace", &pod.namespace), ("pod", &pod.name)], value);
            }
        }
    };
    let of_pods = |text: &mut Text, name: &str, value: &dyn Fn(&stats::Pod) -> Option<f64>| {
        for pod in &pods {
            if let Some(value) = value(pod) {
                text.row(name, &[("namespace", &pod.namespace), ("pod", &pod.name)], value);
            }
        }
    };
    text.head("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds");
    containers(&mut text, "container_cpu_usage_seconds_total", &|s| cpu(&s.cpu));
    text.head("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
    containers(&mut text, "container_memory_working_set_bytes", &|s| memory(&s.memory));
    text.head("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds");
    of_pods(&mut text, "pod_cpu_usage_seconds_total", &|p| cpu(&p.cpu));
    text.head("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
    of_pods(&mut text, "pod_memory_working_set_bytes", &|p| memory(&p.memory));
    text.head("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
    text.row("resource_scrape_error", &[], f64::from(u8::from(failed)));
    reply::of(StatusCode::OK, FORMAT, text.0)
}
