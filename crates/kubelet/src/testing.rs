//! What tests share: a configuration, an API server and a runtime that exist only in memory.

pub(crate) mod api;
pub(crate) mod runtime;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stdx::{Clock, Prng};

use crate::config::{Config, Deps, Register, Reserved};

/// A plausible configuration.
pub(crate) fn config(data_dir: &Path) -> Config {
    Config {
        node_name: "node-1".into(),
        node_ips: vec!["192.0.2.1".parse().unwrap()],
        data_dir: data_dir.to_owned(),
        cluster_dns: vec!["10.43.0.10".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/nonexistent".into(),
        max_pods: 110,
        node_labels: Default::default(),
        node_taints: vec![],
        register: Register::Yes,
        provider_id: None,
        cgroup_root: String::new(),
        reserved: Reserved::default(),
        version: "v1.36.0".into(),
        server: None,
        clock: Clock::System,
        prng: Prng::seeded(1),
    }
}

/// A kubelet on a fake API and a fake runtime; ends when dropped.
pub(crate) struct Rig {
    pub(crate) api: api::Api,
    pub(crate) runtime: Arc<runtime::Runtime>,
    pub(crate) dir: tempfile::TempDir,
    config: Config,
    kubelet: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kubelet.abort();
        // Memory volumes are mounted there; a leftover would keep the directory.
        let _ = crate::volume::teardown::remove(&self.dir.path().join("pods"));
    }
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (api, runtime) = (api::Api::default(), Arc::new(runtime::Runtime::default()));
        let mut config = config(dir.path());
        change(&mut config);
        let kubelet = tokio::spawn(kubelet(&api, &runtime, config.clone()));
        Self { api, runtime, dir, kubelet, config }
    }

    /// Ends the kubelet and starts another on the same API, runtime and directory.
    pub(crate) async fn restart(&mut self) {
        self.kubelet.abort();
        let _ = (&mut self.kubelet).await;
        self.kubelet = tokio::spawn(kubelet(&self.api, &self.runtime, self.config.clone()));
    }

    /// Creates a pod bound to the node.
    pub(crate) fn create(&self, name: &str, mut spec: serde_json::Value) {
        spec["nodeName"] = "node-1".into();
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container.as_object_mut().unwrap().entry("image").or_insert("img:1".into());
            }
        }
        spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1}, "spec": spec, "status": {"phase": "Pending"}});
        self.api.put(&format!("/api/v1/namespaces/ns/pods/{name}"), pod);
    }

    /// Waits until the pod is as wished; fails with its last state.
    pub(crate) async fn until(&self, name: &str, what: &str, wish: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let path = format!("/api/v1/namespaces/ns/pods/{name}");
        let mut last = serde_json::Value::Null;
        for _ in 0..1000 {
            last = self.api.get(&path).unwrap_or_default();
            if wish(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} never was {what}: {last:#}\nevents: {:#?}\ncalls: {:#?}", self.api.events(), self.runtime.calls());
    }

    pub(crate) fn delete(&self, name: &str, grace: i64) {
        let path = format!("/api/v1/namespaces/ns/pods/{name}");
        let mut pod = self.api.get(&path).unwrap();
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.api.put(&path, pod);
    }
}

fn kubelet(api: &api::Api, runtime: &Arc<runtime::Runtime>, config: Config) -> impl Future<Output = ()> + use<> {
    let deps = Deps { client: api.client(), runtime: runtime.clone(), images: runtime.clone(), streaming: runtime.clone() };
    async move { crate::run(config, deps).await.unwrap() }
}
