//! The same main job with containerd in place of the built-in runtime.

use testkit::{Cluster, Options, Runtime, scenario};

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
}
