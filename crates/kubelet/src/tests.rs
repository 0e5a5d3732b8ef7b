//! A whole kubelet on a fake API and a fake runtime.

use serde_json::{Value, json};

use crate::testing::Rig;

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[tokio::test]
async fn a_pod_runs_and_goes() {
    let rig = Rig::start();
    rig.create("web", json!({"containers": [{"name": "c"}], "terminationGracePeriodSeconds": 30}));
    let pod = rig.until("web", "ready", ready).await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(pod["status"]["podIP"].as_str().unwrap().starts_with("10.0.0."));
    assert_eq!(pod["status"]["hostIP"], "192.0.2.1");
    assert_eq!(container(&pod)["image"], "img:1");
    assert!(container(&pod)["containerID"].as_str().unwrap().starts_with("fake://c"));
    rig.delete("web", 30);
    rig.until("web", "gone", Value::is_null).await;
    let calls = rig.runtime.calls();
    assert!(calls.contains(&"stop c 30".into()), "{calls:?}");
    for _ in 0..200 {
        if rig.runtime.calls().iter().any(|c| c.starts_with("remove-sandbox")) && !rig.dir.path().join("pods/uid-web").exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("leftovers: {:?}", rig.runtime.calls());
}

#[tokio::test]
async fn a_restarted_kubelet_restarts_no_container() {
    let mut rig = Rig::start();
    rig.create("web", json!({"containers": [{"name": "c", "readinessProbe": {"exec": {"command": ["true"]}}}]}));
    rig.until("web", "ready", ready).await;
    let starts = |rig: &Rig| rig.runtime.calls().iter().filter(|c| c.starts_with("start") || c.starts_with("sandbox")).count();
    let before = starts(&rig);
    rig.restart().await;
    rig.create("next", json!({"containers": [{"name": "d"}]}));
    rig.until("next", "ready", ready).await;
    assert_eq!(starts(&rig), before + 2, "{:?}", rig.runtime.calls());
    assert!(ready(&rig.api.get("/api/v1/namespaces/ns/pods/web").unwrap()));
    // What the API forgot while nobody looked is taken away.
    rig.api.remove("/api/v1/namespaces/ns/pods/web");
    rig.restart().await;
    rig.create("last", json!({"containers": [{"name": "e"}]}));
    rig.until("last", "ready", ready).await;
    rig.until("web", "stopped", |_| rig.runtime.calls().iter().any(|c| c.starts_with("stop c"))).await;
}

#[tokio::test]
async fn a_crashing_container_backs_off() {
    let rig = Rig::start();
    rig.create("bad", json!({"containers": [{"name": "c"}]}));
    rig.until("bad", "ready", ready).await;
    rig.runtime.exit("c", 3);
    let pod = rig.until("bad", "restarted", |p| container(p)["restartCount"] == 1 && ready(p)).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 3);
    rig.runtime.exit("c", 3);
    let pod = rig.until("bad", "backing off", |p| container(p)["state"]["waiting"]["reason"] == "CrashLoopBackOff").await;
    assert_eq!(container(&pod)["state"]["waiting"]["message"], "back-off 10s restarting failed container=c pod=bad_ns(uid-bad)");
    assert_eq!(pod["status"]["phase"], "Running");
}

#[tokio::test]
async fn a_pod_that_runs_once_succeeds_and_keeps_its_container() {
    let rig = Rig::start();
    rig.create("job", json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}));
    rig.until("job", "initialising", |p| p["status"]["initContainerStatuses"][0]["state"]["running"].is_object()).await;
    rig.runtime.exit("i", 0);
    rig.until("job", "running", ready).await;
    rig.runtime.exit("c", 0);
    let pod = rig.until("job", "complete", |p| p["status"]["phase"] == "Succeeded").await;
    assert_eq!(container(&pod)["state"]["terminated"]["reason"], "Completed");
    assert!(!rig.runtime.calls().iter().any(|c| c.starts_with("remove")), "logs would be lost");
}

#[tokio::test]
async fn images_are_pulled_or_said_to_be_missing() {
    let rig = Rig::start();
    rig.runtime.allow_pull("new:1");
    rig.create("pull", json!({"containers": [{"name": "c", "image": "new:1"}]}));
    rig.until("pull", "ready", ready).await;
    let waits = |p: &Value, reason: &str| container(p)["state"]["waiting"]["reason"] == reason;
    rig.create("none", json!({"containers": [{"name": "c", "image": "none:1"}]}));
    rig.until("none", "failing", |p| waits(p, "ErrImagePull")).await;
    rig.create("never", json!({"containers": [{"name": "c", "image": "none:1", "imagePullPolicy": "Never"}]}));
    rig.until("never", "failing", |p| waits(p, "ErrImageNeverPull")).await;
    rig.create("odd", json!({"containers": [{"name": "c", "image": "Bad Name"}]}));
    rig.until("odd", "failing", |p| waits(p, "InvalidImageName")).await;
}

#[tokio::test]
async fn configuration_arrives_and_is_updated() {
    let rig = Rig::start();
    let map = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "ns"}, "data": {"k": value}});
    rig.create("app", json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}],
        "containers": [{"name": "c", "command": ["run", "$(K)-$(NAME)"], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "env": [{"name": "K", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}, {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}));
    rig.until("app", "told of the missing map", |_| rig.api.events().iter().any(|e| e.starts_with("FailedMount MountVolume.SetUp failed for volume \"v\" : configmaps \"m\" not found"))).await;
    rig.api.put("/api/v1/namespaces/ns/configmaps/m", map("1"));
    rig.until("app", "ready", ready).await;
    let config = rig.runtime.config_of("c");
    assert_eq!(config.command, ["run", "1-app"]);
    let mount = config.mounts.iter().find(|m| m.container_path == "/v").unwrap();
    let file = std::path::Path::new(&mount.host_path).join("k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    let hosts = config.mounts.iter().find(|m| m.container_path == "/etc/hosts").unwrap();
    assert!(std::fs::read_to_string(&hosts.host_path).unwrap().contains("\tapp\n"));
    rig.api.put("/api/v1/namespaces/ns/configmaps/m", map("2"));
    rig.until("app", "updated", |_| std::fs::read_to_string(&file).is_ok_and(|t| t == "2")).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let rig = Rig::start();
    rig.create("first", json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]}));
    rig.until("first", "ready", ready).await;
    rig.create("second", json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]}));
    let pod = rig.until("second", "refused", |p| p["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "NodePorts");
    assert!(pod["status"].get("containerStatuses").is_none());
}

#[tokio::test]
async fn a_failed_liveness_probe_restarts() {
    let rig = Rig::start();
    rig.create("live", json!({"containers": [{"name": "c", "livenessProbe": {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}}]}));
    rig.until("live", "ready", ready).await;
    rig.runtime.set_exec_exit(1);
    rig.until("live", "restarted", |p| container(p)["restartCount"] == 1).await;
    let events = rig.api.events();
    assert!(events.iter().any(|e| e.starts_with("Killing Container c failed liveness probe, will be restarted")), "{events:?}");
    assert!(events.iter().any(|e| e.starts_with("Unhealthy Liveness probe failed: ")), "{events:?}");
}

#[tokio::test]
async fn a_changed_image_restarts_the_container() {
    let rig = Rig::start();
    rig.create("app", json!({"containers": [{"name": "c"}]}));
    let mut pod = rig.until("app", "ready", ready).await;
    pod["spec"]["containers"][0]["image"] = "img:2".into();
    pod["metadata"]["generation"] = 2.into();
    rig.api.put("/api/v1/namespaces/ns/pods/app", pod);
    let pod = rig.until("app", "restarted", |p| container(p)["image"] == "img:2" && ready(p)).await;
    assert_eq!((&container(&pod)["restartCount"], &pod["status"]["observedGeneration"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn the_node_registers_and_holds_its_lease() {
    let rig = Rig::start();
    let ready = |n: &Value| n["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    rig.until("none", "node ready", |_| rig.api.get("/api/v1/nodes/node-1").is_some_and(|n| ready(&n))).await;
    let node = rig.api.get("/api/v1/nodes/node-1").unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1");
    rig.until("none", "leased", |_| rig.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1").is_some()).await;
}
