//! What must hold on every runtime and for every client: the main job, as functions of a cluster.

use std::collections::BTreeSet;

use crate::cluster::{BUSYBOX, Cluster};
use crate::node::{NODE_IP, Place};
use crate::peers;
use crate::wait::eventually;

/// A pod from which names are looked up and services asked.
pub fn client_pod() -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: client}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - name: client\n    image: {BUSYBOX}\n    command: [sleep, '100000']\n"
    )
}

/// Applies `examples/guestbook.yaml` and waits until all of it is up.
///
/// # Panics
/// If it does not come up.
pub fn guestbook(cluster: &Cluster) {
    cluster.import_sample();
    let manifests = peers::repository("examples/guestbook.yaml");
    let applied = cluster.kubectl_ok(&["apply", "-f", &manifests.to_string_lossy()]);
    let created = ["deployment.apps/guestbook-store", "service/guestbook-web-node", "secret/guestbook", "configmap/guestbook"];
    for object in created {
        assert!(applied.contains(&format!("{object} created\n")), "{applied}");
    }
    cluster.rolled_out("deployment/guestbook-store");
    cluster.rolled_out("deployment/guestbook-web");
    let again = cluster.kubectl_ok(&["apply", "-f", &manifests.to_string_lossy()]);
    // kubectl cannot see whether a Secret's stringData is what is stored already.
    assert!(again.lines().all(|l| l.ends_with(" unchanged") || l == "secret/guestbook configured"), "{again}");
}

/// The pods that answer an address, asked often enough that each of a few is met.
///
/// # Panics
/// If one request is not answered by a web half of the guestbook.
pub fn who_answers(cluster: &Cluster, from: Place, url: &str) -> BTreeSet<String> {
    let answers = (0..60).map(|_| {
        let answer = cluster.http_get(from, url).unwrap();
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        text.lines().next().and_then(|l| l.strip_prefix("Welcome aboard from ")).unwrap_or_else(|| panic!("{text}")).to_owned()
    });
    answers.collect()
}

/// The guestbook answers by its ClusterIP, its NodePort and its names.
///
/// # Panics
/// If it does not.
pub fn guestbook_answers(cluster: &Cluster) {
    guestbook(cluster);
    let web: BTreeSet<String> = cluster.pods("tier=web").into_iter().collect();
    assert_eq!(web.len(), 3);

    let address = cluster.kubectl_ok(&["get", "service", "guestbook-web", "-o", "jsonpath={.spec.clusterIP}"]);
    assert_eq!(who_answers(cluster, Place::Node, &format!("http://{address}/")), web, "the ClusterIP balances over all pods");
    assert_eq!(who_answers(cluster, Place::Outside, &format!("http://{NODE_IP}:30080/")), web, "the NodePort answers outside");
    assert_eq!(who_answers(cluster, Place::Node, &format!("http://{NODE_IP}:30080/")), web, "the NodePort answers on the node");

    cluster.apply(&client_pod());
    cluster.kubectl_ok(&["wait", "--for=condition=Ready", "pod/client", "--timeout=120s"]);
    let names = ["guestbook-web", "guestbook-web.default", "guestbook-web.default.svc", "guestbook-web.default.svc.cluster.local"];
    for name in names {
        let url = format!("http://{name}/");
        let answer = cluster.kubectl_ok(&["exec", "client", "--", "wget", "-q", "-O", "-", &url]);
        assert!(answer.starts_with("Welcome aboard from guestbook-web-"), "{name}: {answer}");
    }
    let lookup = cluster.kubectl_ok(&["exec", "client", "--", "nslookup", "guestbook-web.default.svc.cluster.local"]);
    assert!(lookup.contains(&address) && lookup.contains("10.43.0.10"), "{lookup}");
    let missing = cluster.kubectl(&["exec", "client", "--", "nslookup", "nobody.default.svc.cluster.local"]);
    assert!(!missing.status.success() && missing.stdout.contains("NXDOMAIN"), "{missing}");
}

/// A pod is looked into, its container restarted, and all of it taken away.
///
/// # Panics
/// If one of these fails.
pub fn a_pods_life(cluster: &Cluster) {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: life}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    \
         image: {BUSYBOX}\n    command: [sh, -c, 'trap \"exit 3\" TERM; echo born; sleep 100000 & wait']\n    \
         resources: {{limits: {{memory: 32Mi, cpu: 200m}}}}\n"
    );
    cluster.apply(&pod);
    cluster.kubectl_ok(&["wait", "--for=condition=Ready", "pod/life", "--timeout=120s"]);
    assert_eq!(cluster.kubectl_ok(&["logs", "life"]), "born\n");
    let echoed = cluster.kubectl_with(&["exec", "-i", "life", "--", "cat"], "through and back\n");
    assert_eq!(echoed.ok(), "through and back\n");
    assert_eq!(cluster.kubectl(&["exec", "life", "--", "sh", "-c", "exit 9"]).status.code(), Some(9));
    // The command dies with its container, so its own end says nothing.
    cluster.kubectl(&["exec", "life", "--", "sh", "-c", "kill -TERM 1"]);
    cluster.wait_for(&["pod", "life"], "{.status.containerStatuses[0].restartCount}", "1");
    cluster.wait_for(&["pod", "life"], "{.status.containerStatuses[0].lastState.terminated.exitCode}", "3");
    cluster.wait_for(&["pod", "life"], "{.status.conditions[?(@.type==\"Ready\")].status}", "True");
    assert_eq!(cluster.kubectl_ok(&["logs", "--previous", "life"]), "born\n");
    assert_eq!(cluster.kubectl_ok(&["delete", "pod", "life"]), "pod \"life\" deleted from default namespace\n");
    eventually("the end of its processes", || {
        let left: Vec<String> = cluster.node.processes().into_iter().map(|(_, line)| line).filter(|l| l.contains("echo born")).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}
