//! The pod network's steps, without a kernel.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use network::podnet::{Config, HostPort, PodNet, Protocol, Step, Steps};
use network::rt::Request;
use network::{Error, Namespace, Result};

/// Writes down the steps; fails at the first whose text contains the trap.
#[derive(Clone, Default)]
struct Recorder {
    steps: Arc<Mutex<Vec<String>>>,
    trap: Arc<Mutex<Option<&'static str>>>,
    links: Arc<Mutex<Vec<String>>>,
}

impl Steps for Recorder {
    fn run(&mut self, steps: &[Step]) -> Result<()> {
        for step in steps {
            let text = match step {
                Step::Node(request, _) => request.to_string(),
                Step::Pod(_, requests) => {
                    let all: Vec<String> = requests.iter().map(Request::to_string).collect();
                    format!("in the pod: {}", all.join(", "))
                }
                Step::Setting(name, value) => format!("{name} = {value}"),
                Step::Rules(ops) => format!("rules: {}", ops.last().unwrap()),
            };
            if self.trap.lock().unwrap().is_some_and(|trap| text.contains(trap)) {
                return Err(Error::NoNamespace("trap".into()));
            }
            self.steps.lock().unwrap().push(text);
        }
        Ok(())
    }

    fn pod_links(&mut self) -> Result<Vec<String>> {
        Ok(self.links.lock().unwrap().clone())
    }
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

fn config(dir: &Path) -> Config {
    Config {
        node: Namespace::current().unwrap(),
        bridge: "br".into(),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        local_addresses: vec!["10.43.0.10".parse().unwrap()],
        mtu: 1500,
        state_dir: dir.join("ipam"),
    }
}

const OWN_NAMESPACE: &str = "/proc/self/ns/net";

#[tokio::test]
async fn ranges_are_refused_before_anything_else_exists() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    PodNet::start_with(config(dir.path()), Box::new(recorder.clone())).unwrap();
    assert_eq!(
        recorder.take(),
        [
            "set route to 10.42.0.0/16",
            "set route to 10.43.0.0/16",
            "set link lo up",
            "add bridge br",
            "add address 10.42.0.1/32 to link br",
            "add address 10.43.0.10/32 to link br",
            "set link br up",
            "set route to 10.43.0.0/16",
            "ipv4/ip_forward = 1",
            "rules: add a rule to chain sources",
        ]
    );
}

#[tokio::test]
async fn a_pod_that_cannot_be_connected_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let net = PodNet::start_with(config(dir.path()), Box::new(recorder.clone())).unwrap();
    recorder.take();
    *recorder.trap.lock().unwrap() = Some("in the pod");
    let port = HostPort { host_ip: None, host_port: 80, container_port: 80, protocol: Protocol::Tcp };
    assert!(net.add("a", Path::new(OWN_NAMESPACE), &[port]).await.is_err());
    let steps = recorder.take();
    let undone = ["delete link fpod0a2a0002", "rules: add a rule to chain sources"];
    assert_eq!(steps[steps.len() - 2..], undone, "{steps:?}");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("ipam")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["last"]);
    *recorder.trap.lock().unwrap() = None;
    assert!(net.add("b", Path::new(OWN_NAMESPACE), &[port]).await.is_ok(), "the host port is free again");
}

#[tokio::test]
async fn recovery_takes_back_what_no_live_pod_has() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let net = PodNet::start_with(config(dir.path()), Box::new(recorder.clone())).unwrap();
    for pod in ["a", "b"] {
        net.add(pod, Path::new(OWN_NAMESPACE), &[]).await.unwrap();
    }
    *recorder.links.lock().unwrap() = vec!["fpod0a2a0002".into(), "fpod0a2a00ff".into()];
    recorder.take();
    let found = net.recover(&["a".into()]).await.unwrap();
    assert_eq!((found.kept, found.released, found.lost), (vec!["a".into()], vec!["b".into()], vec![]));
    let deleted = ["delete link fpod0a2a0003", "delete link fpod0a2a00ff", "rules: add a rule to chain sources"];
    assert_eq!(recorder.take(), deleted);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = config(dir.path());
    let table = [
        (Config { pod_cidr: "10.42.0.0/30".parse().unwrap(), ..base.clone() }, "pod-cidr"),
        (Config { bridge: "a-name-that-is-too-long".into(), ..base.clone() }, "bridge"),
        (Config { service_cidr: "10.42.128.0/17".parse().unwrap(), ..base }, "service-cidr"),
    ];
    for (config, setting) in table {
        let no = PodNet::start_with(config, Box::new(Recorder::default())).err().unwrap().to_string();
        assert!(no.starts_with(&format!("network setting {setting}: ")), "{no}");
    }
}
