//! The same cluster on another runtime: Debian's containerd and runc behind the CRI, CNI plugins for the pods' links.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Stdio;

use testkit::cluster::BUSYBOX;
use testkit::image::Image;
use testkit::node::NODE_IP;
use testkit::{Cluster, Containerd, Node, Options, Place, eventually};

/// A node on containerd that has the images of pause, busybox and the sample.
fn start() -> (Containerd, Cluster) {
    let node = Node::create().unwrap();
    let containerd = Containerd::start(&node).unwrap();
    let flags = vec![format!("--container-runtime-endpoint={}", containerd.endpoint())];
    let cluster = Cluster::start_on(node, Options { flags, ..Options::default() });
    for command in [["image", "pause"], ["sample", "image"]] {
        let archive = archive(&cluster);
        cluster.ferry(&[command[0], command[1], &archive.to_string_lossy()]).ok();
        containerd.import(&cluster.node, &archive);
    }
    Image::busybox(BUSYBOX).unwrap().write(&archive(&cluster)).unwrap();
    containerd.import(&cluster.node, &archive(&cluster));
    (containerd, cluster)
}

fn archive(cluster: &Cluster) -> PathBuf {
    cluster.node.folder().join("image.tar")
}

fn guestbook(cluster: &Cluster) {
    let manifests = testkit::peers::repository("examples/guestbook.yaml");
    cluster.kubectl_ok(&["apply", "-f", &manifests.to_string_lossy()]);
    cluster.rolled_out("deployment/guestbook-store");
    cluster.rolled_out("deployment/guestbook-web");
}

fn welcomed(cluster: &Cluster, from: Place, url: &str) {
    let answer = cluster.http_get(from, url).unwrap();
    assert!(answer.status == 200 && answer.text().starts_with("Welcome aboard from guestbook-web-"), "{answer:?}");
}

fn identities(cluster: &Cluster, selector: &str) -> String {
    let path = "jsonpath={range .items[*]}{.status.podIP} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{'\\n'}{end}";
    cluster.kubectl_ok(&["get", "pods", "-l", selector, "-o", path])
}

#[test]
fn the_guestbook_answers_and_outlives_the_server() {
    let (mut containerd, mut cluster) = start();
    let runtime = cluster.kubectl_ok(&["get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}"]);
    assert!(runtime.starts_with("containerd://"), "{runtime}");
    guestbook(&cluster);
    welcomed(&cluster, Place::Outside, &format!("http://{NODE_IP}:30080/"));
    let address = cluster.kubectl_ok(&["get", "service", "guestbook-web", "-o", "jsonpath={.spec.clusterIP}"]);
    welcomed(&cluster, Place::Node, &format!("http://{address}/"));

    let pod = cluster.pods("tier=web").remove(0);
    assert!(cluster.kubectl_ok(&["logs", &pod]).contains("web half of the guestbook"));
    assert!(cluster.kubectl_ok(&["exec", &pod, "--", "/ferry", "version"]).contains("Kubernetes"));
    let refused = cluster.kubectl(&["exec", &pod, "--", "/no-such-program"]).failed();
    assert_eq!(refused.matches("error executing command in container").count(), 1, "{refused}");
    assert!(refused.contains("/no-such-program"), "{refused}");

    let before = identities(&cluster, "app=guestbook");
    assert!(before.lines().all(|l| l.starts_with("10.42.0.") && l.contains("containerd://") && l.ends_with(" 0")), "{before}");
    cluster.node.kill_server();
    cluster.restart_server();
    cluster.wait_for(&["deployment", "guestbook-web"], "{.status.availableReplicas}", "3");
    assert_eq!(identities(&cluster, "app=guestbook"), before);
    welcomed(&cluster, Place::Outside, &format!("http://{NODE_IP}:30080/"));

    containerd.restart(&cluster.node).unwrap();
    welcomed(&cluster, Place::Outside, &format!("http://{NODE_IP}:30080/"));
    assert!(cluster.kubectl_ok(&["exec", &pod, "--", "/ferry", "version"]).contains("Kubernetes"));
    assert_eq!(identities(&cluster, "app=guestbook"), before);

    let manifests = testkit::peers::repository("examples/guestbook.yaml");
    cluster.kubectl_ok(&["delete", "--wait", "-f", &manifests.to_string_lossy()]);
    eventually("the end of all pods", || match cluster.pods("app=guestbook") {
        pods if pods.is_empty() => Ok(()),
        pods => Err(pods.join(" ")),
    });
    eventually("an empty containerd", || match containerd.containers(&cluster.node) {
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
    let (_containerd, cluster) = start();
    cluster.apply(&busy_pod());
    cluster.wait_for(&["pod", "busy"], "{.status.containerStatuses[?(@.name=='web')].ready}", "true");
    let answer = eventually("the host port", || cluster.http_get(Place::Outside, &format!("http://{NODE_IP}:8090/copy")).map_err(|e| format!("{e:#}")));
    assert_eq!(answer.text(), "hello");

    let inside = |args: &[&str]| cluster.kubectl_with(&[&["exec", "-i", "busy", "-c", "web", "--"], args].concat(), "typed");
    assert_eq!(inside(&["cat"]).ok(), "typed");
    assert_eq!(inside(&["id", "-u"]).ok(), "1000\n");
    assert_eq!(inside(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert!(inside(&["touch", "/x"]).failed().contains("Read-only file system"));
    assert!(inside(&["ps"]).ok().contains("/ferry pause"), "the pod's containers see its first process");
    let lookup = inside(&["nslookup", "kubernetes.default.svc.cluster.local"]).ok();
    assert!(lookup.contains("10.43.0.1\n"), "{lookup}");

    let restarts = eventually("a restart", || {
        let path = "jsonpath={.status.containerStatuses[?(@.name=='flaky')].restartCount}";
        let count: u32 = cluster.kubectl_ok(&["get", "pod", "busy", "-o", path]).parse().unwrap_or_default();
        if count > 0 { Ok(count) } else { Err(count.to_string()) }
    });
    assert!(restarts > 0);
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
    let (containerd, mut cluster) = start();
    let data = cluster.node.data_dir().to_string_lossy().into_owned();
    let listed = cluster.ferry(&["image", "list", "--data-dir", &data]).failed();
    assert!(listed.contains("containerd.sock keeps this node's images"), "{listed}");
    cluster.apply(&busy_pod());
    cluster.wait_for(&["pod", "busy"], "{.status.containerStatuses[?(@.name=='web')].ready}", "true");

    cluster.node.stop_server();
    let other = cluster.ferry(&["server", "--data-dir", &data, "--node-ip", &NODE_IP.to_string(), "--node-name", cluster.node.name()]).failed();
    assert!(other.contains("holds pods of another runtime"), "{other}");
    cluster.ferry(&["reset", "--yes", "--data-dir", &data]).ok();
    assert_eq!(containerd.containers(&cluster.node), Vec::<String>::new());
    assert!(!cluster.node.data_dir().exists());
    let links = cluster.node.run(Place::Node, &["ip", "-brief", "link"]).ok();
    assert_eq!(links.lines().filter(|l| !l.starts_with("lo ") && !l.starts_with("eth0@")).collect::<Vec<_>>(), Vec::<&str>::new());
}
