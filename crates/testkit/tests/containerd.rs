//! The same main job with containerd in place of the built-in runtime.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use testkit::cluster::BUSYBOX;
use testkit::node::NODE_IP;
use testkit::{Cluster, Options, Place, Runtime, eventually, scenario};

fn on_containerd() -> Cluster {
    Cluster::start_with(Options { runtime: Runtime::Containerd, ..Options::default() })
}

#[test]
fn the_guestbook_answers_by_address_port_and_name() {
    scenario::guestbook_answers(&on_containerd());
}

#[test]
fn a_pods_life() {
    let cluster = on_containerd();
    let node = cluster.get(&["node", cluster.node.name()]);
    let version = node["status"]["nodeInfo"]["containerRuntimeVersion"].as_str().unwrap();
    assert!(version.starts_with("containerd://"), "{version}");
    scenario::a_pods_life(&cluster);
}

#[test]
fn a_killed_server_finds_its_pods_again_and_restarts_none() {
    let mut cluster = on_containerd();
    scenario::guestbook(&cluster);
    let ids = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let before = cluster.kubectl_ok(&["get", "pods", "-o", ids]);
    assert!(before.contains("containerd://"), "{before}");
    cluster.node.kill_server();
    cluster.restart_server();
    cluster.rolled_out("deployment/guestbook-web");
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "-o", ids]), before);

    cluster.restart_containerd();
    let answer = cluster.http_get(Place::Outside, &format!("http://{NODE_IP}:30080/")).unwrap();
    assert_eq!(answer.status, 200, "services keep their pods while the runtime restarts");
    let pod = cluster.pods("tier=web").remove(0);
    eventually("a command in a container that containerd found again", || {
        let output = cluster.kubectl(&["exec", &pod, "--", "/ferry", "version"]);
        if output.status.success() { Ok(()) } else { Err(output.to_string()) }
    });
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "-o", ids]), before);

    let manifests = testkit::peers::repository("examples/guestbook.yaml");
    cluster.kubectl_ok(&["delete", "-f", &manifests.to_string_lossy()]);
    eventually("an empty containerd", || match cluster.containerd_containers() {
        left if left.is_empty() => Ok(()),
        left => Err(left.join(" ")),
    });
}

/// What a pod may hold that a runtime has a hand in.
fn busy_pod() -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: words}}\ndata: {{greeting: hello}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: busy}}\nspec:\n  terminationGracePeriodSeconds: 0\n  shareProcessNamespace: true\n  \
         volumes:\n  - {{name: words, configMap: {{name: words}}}}\n  - {{name: shared, emptyDir: {{}}}}\n  \
         initContainers:\n  - name: first\n    image: {BUSYBOX}\n    command: [sh, -c, 'cp /words/greeting /shared/copy']\n    \
         volumeMounts: [{{name: words, mountPath: /words}}, {{name: shared, mountPath: /shared}}]\n  \
         containers:\n  - name: web\n    image: {BUSYBOX}\n    command: [httpd, -f, -p, '8080', -h, /shared]\n    \
         ports: [{{containerPort: 8080, hostPort: 8090}}]\n    \
         securityContext: {{runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}\n    \
         volumeMounts: [{{name: shared, mountPath: /shared, subPath: .}}]\n  \
         - name: flaky\n    image: {BUSYBOX}\n    command: [sh, -c, 'echo last words > /dev/termination-log; exit 3']\n"
    )
}

#[test]
fn volumes_host_ports_streams_and_restarts_work() {
    let cluster = on_containerd();
    cluster.apply(&busy_pod());
    cluster.wait_for(&["pod", "busy"], "{.status.containerStatuses[?(@.name=='web')].ready}", "true");
    let answer = eventually("the host port", || {
        cluster.http_get(Place::Outside, &format!("http://{NODE_IP}:8090/copy")).map_err(|e| format!("{e:#}"))
    });
    assert_eq!(answer.text(), "hello");

    let inside = |args: &[&str]| cluster.kubectl_with(&[&["exec", "-i", "busy", "-c", "web", "--"], args].concat(), "typed");
    assert_eq!(inside(&["cat"]).ok(), "typed");
    assert_eq!(inside(&["id", "-u"]).ok(), "1000\n");
    assert_eq!(inside(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    let refused = inside(&["/no-such-program"]).failed();
    assert_eq!(refused.matches("error executing command in container").count(), 1, "{refused}");
    assert!(inside(&["touch", "/x"]).failed().contains("Read-only file system"));
    assert!(inside(&["ps"]).ok().contains("/ferry pause"), "the pod's containers see its first process");
    let lookup = inside(&["nslookup", "kubernetes.default.svc.cluster.local"]).ok();
    assert!(lookup.contains("10.43.0.1\n"), "{lookup}");

    eventually("a restart", || {
        let path = "jsonpath={.status.containerStatuses[?(@.name=='flaky')].restartCount}";
        let count: u32 = cluster.kubectl_ok(&["get", "pod", "busy", "-o", path]).parse().unwrap_or_default();
        if count > 0 { Ok(()) } else { Err(count.to_string()) }
    });
    let path = "jsonpath={.status.containerStatuses[?(@.name=='flaky')].lastState.terminated}";
    let ended = cluster.kubectl_ok(&["get", "pod", "busy", "-o", path]);
    assert!(ended.contains(r#""exitCode":3"#) && ended.contains("last words"), "{ended}");

    forwarded(&cluster);
}

/// A forwarded port carries what the pod says.
fn forwarded(cluster: &Cluster) {
    let mut command = cluster.kubectl_command(&["port-forward", "pod/busy", "18080:8080"]);
    let mut forwarding = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let loopback = (IpAddr::from(Ipv4Addr::LOCALHOST), 18080).into();
    let answer = eventually("the forwarded port", || {
        let socket = cluster.node.connect(Place::Outside, loopback).map_err(|e| e.to_string())?;
        testkit::http::Connection::new(socket, "pod").ask("GET", "/copy", &[("connection", "close")], b"").map_err(|e| e.to_string())
    });
    let _ = forwarding.kill();
    let _ = forwarding.wait();
    assert_eq!(answer.text(), "hello");
}

#[test]
fn what_needs_the_built_in_runtime_says_so_and_reset_takes_all_away() {
    let mut cluster = on_containerd();
    let data = cluster.node.data_dir().to_string_lossy().into_owned();
    let listed = cluster.ferry(&["image", "list", "--data-dir", &data]).failed();
    assert!(listed.contains("containerd.sock keeps this node's images"), "{listed}");
    cluster.apply(&busy_pod());
    cluster.wait_for(&["pod", "busy"], "{.status.containerStatuses[?(@.name=='web')].ready}", "true");

    cluster.node.stop_server();
    let other =
        cluster.ferry(&["server", "--data-dir", &data, "--node-ip", &NODE_IP.to_string(), "--node-name", cluster.node.name()]).failed();
    assert!(other.contains("holds pods of another runtime"), "{other}");
    cluster.ferry(&["reset", "--yes", "--data-dir", &data]).ok();
    assert_eq!(cluster.containerd_containers(), Vec::<String>::new());
    assert_eq!(cluster.node.cgroups(), Vec::<std::path::PathBuf>::new());
    assert!(!cluster.node.data_dir().exists());
    let links = cluster.node.run(Place::Node, &["ip", "-brief", "link"]).ok();
    assert_eq!(links.lines().filter(|l| !l.starts_with("lo ") && !l.starts_with("eth0@")).collect::<Vec<_>>(), Vec::<&str>::new());
}
