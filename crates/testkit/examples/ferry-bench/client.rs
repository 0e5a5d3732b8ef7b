//! The API as the benchmark uses it: one connection per thread, JSON, and watches read line by line.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Value, json};
use testkit::https::{Access, Api, Identity};
use testkit::node::NODE_IP;
use testkit::{Node, Place};

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Makes connections to one server.
pub(crate) struct Client<'a> {
    node: &'a Node,
    access: Access,
    tls: Arc<ClientConfig>,
}

impl<'a> Client<'a> {
    /// Out of the kubeconfig that the server has written; none as long as it has not.
    pub(crate) fn new(node: &'a Node) -> Option<Self> {
        let access = Access::read(&fs::read_to_string(node.data_dir().join("kubeconfig")).ok()?).ok()?;
        let tls = access.tls(Identity::Administrator).ok()?;
        Some(Self { node, access, tls })
    }

    pub(crate) fn connect(&self) -> Option<Api> {
        let socket = self.node.connect(Place::Outside, (NODE_IP, 6443).into()).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
        self.access.over(self.tls.clone(), socket).ok()
    }
}

/// A request that must succeed; its body.
pub(crate) fn ask(api: &mut Api, method: &str, path: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let kind = if method == "PATCH" { ("content-type", "application/merge-patch+json") } else { JSON };
    let answer = api.ask(method, path, &[kind], &body).unwrap();
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    answer.body
}

/// A watch's events, one JSON text a line.
pub(crate) struct Watch {
    api: Api,
    pending: Vec<u8>,
}

impl Watch {
    pub(crate) fn open(mut api: Api, path: &str) -> Self {
        assert_eq!(api.open("GET", path, &[]).unwrap(), 200, "{path}");
        Self { api, pending: Vec::new() }
    }

    /// The next event's line.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let rest = self.pending.split_off(end + 1);
                return std::mem::replace(&mut self.pending, rest);
            }
            assert!(self.api.chunk(&mut self.pending).unwrap(), "the watch ended");
        }
    }

    pub(crate) fn event(&mut self) -> Value {
        serde_json::from_slice(&self.line()).unwrap()
    }
}

/// A pod that only rests.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "bench": "yes" } },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": testkit::cluster::BUSYBOX, "command": ["sleep", "100000"],
        }] },
    })
}

/// The value below which a part of the values lies.
pub(crate) fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
