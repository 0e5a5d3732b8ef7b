//! A whole kubelet on a fake API and a fake runtime.

use serde_json::{Value, json};

use crate::testing::Rig;

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// Waits for an event; they are written beside the work.
async fn told(rig: &Rig, event: &str) {
    rig.until("none", event, |_| rig.api.events().iter().any(|e| e.starts_with(event))).await;
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
    let map =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "ns"}, "data": {"k": value}});
    rig.create("app", json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}],
        "containers": [{"name": "c", "command": ["run", "$(K)-$(NAME)"], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "env": [{"name": "K", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}, {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}));
    rig.until("app", "told of the missing map", |_| {
        rig.api.events().iter().any(|e| e.starts_with("FailedMount MountVolume.SetUp failed for volume \"v\" : configmaps \"m\" not found"))
    })
    .await;
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
    told(&rig, "Killing Container c failed liveness probe, will be restarted").await;
    told(&rig, "Unhealthy Liveness probe failed: ").await;
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
    let ready =
        |n: &Value| n["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    rig.until("none", "node ready", |_| rig.api.get("/api/v1/nodes/node-1").is_some_and(|n| ready(&n))).await;
    let node = rig.api.get("/api/v1/nodes/node-1").unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1");
    rig.until("none", "leased", |_| rig.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1").is_some()).await;
}

#[tokio::test]
async fn secrets_and_tokens_are_in_memory_and_go_with_the_pod() {
    if !rustix::process::geteuid().is_root() {
        // Mounting needs root.
        return;
    }
    let rig = Rig::start();
    rig.api.put(
        "/api/v1/namespaces/ns/secrets/s",
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}, "data": {"k": "aGk="}}),
    );
    rig.create("app", json!({"securityContext": {"fsGroup": 1234}, "volumes": [
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 256, "items": [{"key": "k", "path": "d/f"}]}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "t", "mountPath": "/t"}, {"name": "e", "mountPath": "/e", "subPath": "x/y"}]}]}));
    rig.until("app", "ready", ready).await;
    let config = rig.runtime.config_of("c");
    let at = |path: &str| std::path::PathBuf::from(&config.mounts.iter().find(|m| m.container_path == path).unwrap().host_path);
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        (read(at("/s").join("d/f")), read(at("/t").join("token")), read(at("/t").join("name"))),
        ("hi".into(), "token-1".into(), "app".into())
    );
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(at("/s").join("d/f")).unwrap();
    assert_eq!((meta.gid(), meta.mode() & 0o777), (1234, 0o440));
    std::fs::write(at("/e").join("file"), "x").unwrap();
    let written = rig.dir.path().join("pods/uid-app/volumes/kubernetes.io~empty-dir/e/x/y/file");
    assert!(written.exists(), "the subPath shows the volume");
    let mounts = || std::fs::read_to_string("/proc/self/mounts").unwrap().matches(rig.dir.path().to_str().unwrap()).count();
    assert_eq!(mounts(), 4);
    rig.delete("app", 1);
    rig.until("app", "gone", Value::is_null).await;
    assert_eq!(mounts(), 0);
}

#[tokio::test]
async fn sidecars_start_first_and_end_last() {
    let rig = Rig::start();
    rig.create("app", json!({"terminationGracePeriodSeconds": 5, "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "containers": [{"name": "main", "lifecycle": {"postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["goodbye"]}}}}]}));
    rig.until("app", "ready", ready).await;
    rig.delete("app", 5);
    rig.until("app", "gone", Value::is_null).await;
    let calls = rig.runtime.calls();
    let at = |call: &str| calls.iter().position(|c| c.starts_with(call)).unwrap_or_else(|| panic!("no {call} in {calls:?}"));
    let order = ["start side", "start main", "exec hello", "exec goodbye", "stop main", "stop side", "stop-sandbox"].map(at);
    assert!(order.is_sorted(), "{calls:?}");
}

#[tokio::test]
async fn a_failed_post_start_hook_kills_the_container() {
    let rig = Rig::start();
    rig.runtime.set_exec_exit(3);
    rig.create("app", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "lifecycle": {"postStart": {"exec": {"command": ["hello"]}}}}]}));
    rig.until("app", "restarted", |p| {
        container(p)["restartCount"].as_i64() >= Some(1) || container(p)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })
    .await;
    told(&rig, "FailedPostStartHook PostStartHook failed").await;
}

#[tokio::test]
async fn the_deadline_ends_a_pod() {
    let rig = Rig::start();
    rig.create("app", json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1, "containers": [{"name": "c"}]}));
    let pod = rig.until("app", "failed", |p| p["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert_eq!(pod["status"]["message"], "Pod was active on the node longer than the specified deadline");
}

#[tokio::test]
async fn ephemeral_containers_join_a_running_pod() {
    let rig = Rig::start();
    rig.create("app", json!({"containers": [{"name": "c"}]}));
    let mut pod = rig.until("app", "ready", ready).await;
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "img:1", "targetContainerName": "c"}]);
    pod["metadata"]["generation"] = 2.into();
    rig.api.put("/api/v1/namespaces/ns/pods/app", pod);
    rig.until("app", "debugged", |p| p["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_object()).await;
    let target = rig.runtime.config_of("debug").linux.unwrap().security_context.unwrap().namespace_options.unwrap().target_id;
    assert!(target.starts_with('c'), "{target}");
    rig.runtime.exit("debug", 0);
    rig.until("app", "done debugging", |p| p["status"]["ephemeralContainerStatuses"][0]["state"]["terminated"].is_object() && ready(p))
        .await;
}
