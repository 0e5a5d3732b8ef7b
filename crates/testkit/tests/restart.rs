//! Pods outlive the server, and nothing outlives a reset.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use testkit::cluster::BUSYBOX;
use testkit::{Cluster, Node, Options, Place, eventually};

const SELECTOR: &str = "app=web";

fn web() -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{{name: www, emptyDir: {{medium: Memory}}}}, {{name: plain, emptyDir: {{}}}}]
      containers:
      - name: web
        image: {BUSYBOX}
        command: [sh, -c, 'trap \"exit 0\" TERM; hostname > /www/index.html; while sleep 0.2; do echo tick; done & httpd -f -p 8080 -h /www & wait']
        volumeMounts: [{{name: www, mountPath: /www}}, {{name: plain, mountPath: /plain}}]
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]
"
    )
}

/// Each pod's container, restarts and start: what must not change.
fn lives(cluster: &Cluster) -> BTreeMap<String, (String, String, String)> {
    let pods = cluster.get(&["pods", "-l", SELECTOR]);
    let text = |v: &serde_json::Value| v.to_string();
    let lives = pods["items"].as_array().unwrap().iter().map(|pod| {
        let status = &pod["status"]["containerStatuses"][0];
        let life = (text(&status["containerID"]), text(&status["restartCount"]), text(&status["state"]["running"]["startedAt"]));
        (pod["metadata"]["name"].as_str().unwrap().to_owned(), life)
    });
    lives.collect()
}

#[test]
fn a_killed_server_finds_its_pods_again_and_restarts_none() {
    let mut cluster = Cluster::start();
    cluster.apply(&web());
    cluster.rolled_out("deployment/web");
    let before = lives(&cluster);
    assert_eq!(before.len(), 3);
    let url = format!("http://{}:30080/", testkit::node::NODE_IP);

    for round in 0..3 {
        cluster.node.kill_server();
        for _ in 0..10 {
            assert_eq!(cluster.http_get(Place::Outside, &url).unwrap().status, 200, "services work while the server is away");
        }
        cluster.restart_server();
        cluster.rolled_out("deployment/web");
        assert_eq!(lives(&cluster), before, "round {round}");
    }
    // Found again, not just left alone: each way into a container works, and so does its end.
    let pods = cluster.pods(SELECTOR);
    let hostname = cluster.kubectl_ok(&["exec", &pods[0], "--", "hostname"]);
    assert_eq!(hostname.trim(), pods[0]);
    let lines = || cluster.kubectl_ok(&["logs", &pods[0]]).lines().count();
    let so_far = lines();
    eventually("more log lines", || if lines() > so_far { Ok(()) } else { Err(format!("still {so_far}")) });
    cluster.kubectl_ok(&["delete", "pod", &pods[1]]);
    // The command dies with its container, so its own end says nothing.
    cluster.kubectl(&["exec", &pods[2], "--", "sh", "-c", "kill -TERM 1"]);
    cluster.wait_for(&["pod", &pods[2]], "{.status.containerStatuses[0].restartCount}", "1");
    cluster.rolled_out("deployment/web");
    assert_eq!(cluster.http_get(Place::Outside, &url).unwrap().status, 200);
}

#[test]
fn an_orderly_end_keeps_pods_too_and_objects_stay() {
    let mut cluster = Cluster::start();
    cluster.apply(&web());
    cluster.rolled_out("deployment/web");
    let before = lives(&cluster);
    cluster.kubectl_ok(&["create", "configmap", "kept", "--from-literal=a=b"]);
    cluster.node.stop_server();
    cluster.restart_server();
    assert_eq!(cluster.kubectl_ok(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]), "b");
    cluster.rolled_out("deployment/web");
    assert_eq!(lives(&cluster), before);
}

/// Everything that a node could leave on its machine.
fn traces(node: &Node) -> BTreeMap<&'static str, String> {
    let run = |args: &[&str]| node.run(Place::Node, args).ok();
    let sorted = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    // The kernel gives a link its local IPv6 address some time after the link is up.
    let routes =
        sorted(run(&["ip", "route", "show", "table", "all"]).lines().filter(|l| !l.contains("fe80:")).map(|l| format!("{l}\n")).collect());
    let processes: Vec<String> = node.processes().into_iter().map(|(_, line)| line).filter(|l| !l.starts_with("sleep ")).collect();
    BTreeMap::from([
        ("links", sorted(run(&["ip", "-brief", "link"]))),
        ("addresses", sorted(run(&["ip", "-brief", "-4", "address"]))),
        ("routes", routes),
        ("rules", sorted(run(&["ip", "rule"]))),
        ("nft", run(&["nft", "list", "ruleset"])),
        ("mounts", sorted(run(&["cat", "/proc/self/mounts"]))),
        ("network namespaces", sorted(run(&["sh", "-c", "ls /run/netns 2>/dev/null || true"]))),
        ("cgroups", node.cgroups().iter().map(|c| format!("{}\n", c.display())).collect()),
        ("processes", processes.join("\n")),
        ("data", format!("{}", node.data_dir().exists())),
    ])
}

#[test]
fn a_reset_leaves_nothing_behind() {
    let node = Node::create().unwrap();
    let before = traces(&node);
    let mut cluster = Cluster::start_on(node, Options::default());
    cluster.apply(&web());
    cluster.rolled_out("deployment/web");
    let data = cluster.node.data_dir().to_string_lossy().into_owned();
    let busy = cluster.ferry(&["reset", "--data-dir", &data, "--yes"]).failed();
    assert!(busy.contains("running"), "a running server is not reset: {busy}");
    cluster.node.stop_server();
    let meanwhile = traces(&cluster.node);
    assert!(meanwhile["processes"].contains("httpd") && meanwhile["mounts"] != before["mounts"], "the pods keep running: {meanwhile:?}");
    cluster.ferry(&["reset", "--data-dir", &data, "--yes"]).ok();
    for (what, found) in traces(&cluster.node) {
        assert_eq!(found, before[what], "{what}");
    }
    let again = cluster.ferry(&["reset", "--data-dir", &data, "--yes"]).failed();
    assert!(again.contains("holds no Ferry cluster"), "{again}");
    // And the machine is as good as new.
    cluster.restart_server();
    assert_eq!(cluster.kubectl_ok(&["get", "pods"]), "");
}
