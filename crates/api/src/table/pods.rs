//! Rows of pods and pod templates.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::age;
use super::row::{NONE, Row, int, list, or, text};

pub(super) fn pod_template(row: &Row<'_>) -> Vec<Value> {
    let [names, images] = row.containers("/template/spec/containers");
    vec![row.name(), names, images, row.labels("/template/metadata/labels")]
}

/// Finished pods are marked, so that clients may hide them.
pub(super) fn conditions(object: &Value) -> Option<Value> {
    let (reason, message) = match object.pointer("/status/phase").and_then(Value::as_str)? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

pub(super) fn pod(row: &Row<'_>) -> Vec<Value> {
    let summary = Summary::of(row);
    let restarts = match summary.last_restart {
        Some(at) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, age::between(at, row.now)),
        _ => summary.restarts.to_string(),
    };
    let ip = row.text("/status/podIPs/0/ip");
    vec![
        row.name(),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        row.age(),
        json!(or(ip, NONE)),
        json!(or(row.text("/spec/nodeName"), NONE)),
        json!(or(row.text("/status/nominatedNodeName"), NONE)),
        json!(readiness_gates(row)),
    ]
}

fn readiness_gates(row: &Row<'_>) -> String {
    let gates = row.list("/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|g| row.holds(text(g.get("conditionType")))).count();
    format!("{open}/{}", gates.len())
}

/// What READY, STATUS and RESTARTS say.
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<i128>,
}

/// Where the initialisation of a pod stands.
enum Init {
    Done,
    /// It is under way or has failed.
    Pending(String),
}

fn last_restart(status: &Value) -> Option<i128> {
    age::parse(text(status.pointer("/lastState/terminated/finishedAt")))
}

/// How a container ended, in the words of STATUS.
fn ending(terminated: &Value) -> String {
    match (text(terminated.get("reason")), int(terminated.get("signal"))) {
        ("", 0) => format!("ExitCode:{}", int(terminated.get("exitCode"))),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn state<'a>(status: &'a Value, which: &str) -> Option<&'a Value> {
    status.get("state")?.get(which).filter(|v| !v.is_null())
}

impl Summary {
    fn of(row: &Row<'_>) -> Self {
        let mut reason = row.text("/status/phase").to_owned();
        if !row.text("/status/reason").is_empty() {
            reason = row.text("/status/reason").to_owned();
        }
        if row
            .list("/status/conditions")
            .iter()
            .any(|c| text(c.get("type")) == "PodScheduled" && text(c.get("reason")) == "SchedulingGated")
        {
            reason = "SchedulingGated".to_owned();
        }
        let mut summary = Self { ready: 0, total: row.list("/spec/containers").len(), reason, restarts: 0, last_restart: None };
        let (init, side_restarts, side_last) = summary.initialise(row);
        let pending = match init {
            Init::Pending(why) => {
                summary.reason = why;
                true
            }
            Init::Done => false,
        };
        if !pending || row.holds("Initialized") {
            summary.restarts = side_restarts;
            summary.last_restart = side_last;
            summary.run(row);
        }
        if row.is_deleted() {
            if row.text("/status/reason") == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(row.text("/status/phase"), "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += int(status.get("restartCount"));
        self.last_restart = self.last_restart.max(last_restart(status));
    }

    /// Goes through the init containers up to the first that holds things up. Also tells the restarts of sidecars, the
    /// only ones that count once the pod runs.
    fn initialise(&mut self, row: &Row<'_>) -> (Init, i64, Option<i128>) {
        let specs: HashMap<&str, bool> =
            row.list("/spec/initContainers").iter().map(|c| (text(c.get("name")), text(c.get("restartPolicy")) == "Always")).collect();
        self.total += row.list("/spec/initContainers").iter().filter(|c| text(c.get("restartPolicy")) == "Always").count();
        let (mut side_restarts, mut side_last) = (0, None);
        for (i, status) in row.list("/status/initContainerStatuses").iter().enumerate() {
            self.count_restarts(status);
            let sidecar = specs.get(text(status.get("name"))).copied().unwrap_or(false);
            if sidecar {
                side_restarts += int(status.get("restartCount"));
                side_last = side_last.max(last_restart(status));
            }
            let terminated = state(status, "terminated");
            if terminated.is_some_and(|t| int(t.get("exitCode")) == 0) {
                continue;
            }
            if sidecar && status.get("started") == Some(&Value::Bool(true)) {
                self.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
                continue;
            }
            let waiting = text(state(status, "waiting").and_then(|w| w.get("reason")));
            let why = match terminated {
                Some(terminated) => format!("Init:{}", ending(terminated)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
                None => format!("Init:{i}/{}", row.list("/spec/initContainers").len()),
            };
            return (Init::Pending(why), side_restarts, side_last);
        }
        (Init::Done, side_restarts, side_last)
    }

    /// Goes through the containers from last to first: the first one that has something to say wins.
    fn run(&mut self, row: &Row<'_>) {
        let mut running = false;
        let mut error = String::new();
        for status in list(row.get("/status/containerStatuses")).iter().rev() {
            self.count_restarts(status);
            let waiting = text(state(status, "waiting").and_then(|w| w.get("reason")));
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(terminated) = state(status, "terminated") {
                self.reason = ending(terminated);
                if int(terminated.get("exitCode")) != 0 {
                    error.clone_from(&self.reason);
                }
            } else if status.get("ready") == Some(&Value::Bool(true)) && state(status, "running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        // A pod of which one container has completed while another still runs is not complete.
        if self.reason == "Completed" {
            if running && row.holds("Ready") {
                self.reason = "Running".to_owned();
            } else if !error.is_empty() {
                self.reason = error;
            } else if running {
                self.reason = "NotReady".to_owned();
            }
        }
    }
}
