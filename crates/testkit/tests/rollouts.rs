//! Change without loss: rolling updates under load, rollbacks, replacement of what dies.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::image::Image;
use testkit::node::NODE_IP;
use testkit::{Cluster, Place, eventually};

const SELECTOR: &str = "app=web";

/// A web server that says which version of its image it is. It ends at once when asked to, after its last requests.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: ferry.test/web:1
        command: [sh, -c, 'trap \"exit 0\" TERM; httpd -f -p 8080 -h /www & wait']
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 3}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
";

fn web() -> Cluster {
    let cluster = Cluster::start();
    for version in ["1", "2"] {
        let mut image = Image::busybox(&format!("ferry.test/web:{version}")).unwrap();
        image.texts.push((format!("version {version}\n"), "www/index.html".to_owned()));
        cluster.import(&image);
    }
    cluster.apply(WEB);
    cluster.rolled_out("deployment/web");
    cluster
}

/// What a client in a loop saw until it was stopped.
fn ask_until(cluster: &Cluster, url: &str, stop: &AtomicBool) -> Vec<Result<String, String>> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        answers.push(match cluster.http_get(Place::Outside, url) {
            Ok(answer) if answer.status == 200 => Ok(answer.text().trim().to_owned()),
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(error) => Err(format!("{error:#}")),
        });
    }
    answers
}

fn replica_set_of(cluster: &Cluster, image: &str) -> String {
    let path = format!("jsonpath={{.items[?(@.spec.template.spec.containers[0].image==\"{image}\")].metadata.name}}");
    cluster.kubectl_ok(&["get", "rs", "-l", SELECTOR, "-o", &path])
}

#[test]
fn a_rolling_update_loses_no_request_and_a_rollback_takes_up_the_old_set() {
    let cluster = web();
    let old_set = replica_set_of(&cluster, "ferry.test/web:1");
    let stop = Arc::new(AtomicBool::new(false));
    let url = format!("http://{NODE_IP}:30080/");
    let answers = std::thread::scope(|scope| {
        // Also when a step below panics.
        struct StopAtEnd(Arc<AtomicBool>);
        impl Drop for StopAtEnd {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _guard = StopAtEnd(stop.clone());
        let client = scope.spawn(|| ask_until(&cluster, &url, &stop));
        let said = cluster.kubectl_ok(&["set", "image", "deployment/web", "web=ferry.test/web:2"]);
        assert_eq!(said, "deployment.apps/web image updated\n");
        cluster.rolled_out("deployment/web");
        stop.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    let lost: Vec<&String> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(lost.is_empty(), "{} of {} requests were lost: {lost:?}", lost.len(), answers.len());
    assert_eq!(answers.first(), Some(&Ok("version 1".to_owned())));
    // The old pods are still ending when the rollout is complete, but no longer asked.
    assert_eq!(cluster.http_get(Place::Outside, &url).unwrap().text(), "version 2\n");

    let history = cluster.kubectl_ok(&["rollout", "history", "deployment/web"]);
    assert!(history.starts_with("deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n"), "{history}");
    assert_eq!(cluster.kubectl_ok(&["rollout", "undo", "deployment/web"]), "deployment.apps/web rolled back\n");
    cluster.rolled_out("deployment/web");
    assert_eq!(cluster.http_get(Place::Outside, &url).unwrap().text(), "version 1\n");
    assert_eq!(replica_set_of(&cluster, "ferry.test/web:1"), old_set, "the old set serves again, no third one is made");
    cluster.wait_for(&["rs", &old_set], "{.spec.replicas}", "3");
    let history = cluster.kubectl_ok(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n2         <none>\n3         <none>\n") && !history.contains("\n1 "), "{history}");
}

#[test]
fn a_paused_rollout_waits_and_a_restart_replaces_every_pod() {
    let cluster = web();
    assert_eq!(cluster.kubectl_ok(&["rollout", "pause", "deployment/web"]), "deployment.apps/web paused\n");
    cluster.kubectl_ok(&["set", "image", "deployment/web", "web=ferry.test/web:2"]);
    cluster.wait_for(&["deployment", "web"], "{.status.conditions[?(@.type==\"Progressing\")].reason}", "DeploymentPaused");
    cluster.wait_for(
        &["deployment", "web"],
        "{.status.observedGeneration}",
        &cluster.kubectl_ok(&["get", "deployment", "web", "-o", "jsonpath={.metadata.generation}"]),
    );
    assert_eq!(replica_set_of(&cluster, "ferry.test/web:2"), "", "nothing rolls while paused");
    assert_eq!(cluster.kubectl_ok(&["rollout", "resume", "deployment/web"]), "deployment.apps/web resumed\n");
    cluster.rolled_out("deployment/web");
    assert_ne!(replica_set_of(&cluster, "ferry.test/web:2"), "");

    let before = cluster.pods(SELECTOR);
    assert_eq!(cluster.kubectl_ok(&["rollout", "restart", "deployment/web"]), "deployment.apps/web restarted\n");
    cluster.rolled_out("deployment/web");
    eventually("the end of all earlier pods", || {
        let now = cluster.pods(SELECTOR);
        if now.len() == 3 && now.iter().all(|pod| !before.contains(pod)) { Ok(()) } else { Err(format!("{before:?} {now:?}")) }
    });
}

#[test]
fn deleted_and_killed_pods_are_replaced() {
    let cluster = web();
    let before = cluster.pods(SELECTOR);
    let gone = cluster.kubectl_ok(&["delete", "pod", &before[0]]);
    assert_eq!(gone, format!("pod \"{}\" deleted from default namespace\n", before[0]));
    eventually("three pods again", || {
        let now = cluster.pods(SELECTOR);
        if now.len() == 3 && !now.contains(&before[0]) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    cluster.rolled_out("deployment/web");

    // Its process dies: the pod stays, its container is started again.
    cluster.kubectl(&["exec", &before[1], "--", "sh", "-c", "kill -TERM 1"]);
    cluster.wait_for(&["pod", &before[1]], "{.status.containerStatuses[0].restartCount}", "1");
    cluster.wait_for(&["pod", &before[1]], "{.status.conditions[?(@.type==\"Ready\")].status}", "True");
    let table = cluster.kubectl_ok(&["get", "pod", &before[1]]);
    assert!(table.lines().nth(1).is_some_and(|l| l.contains("1/1") && l.contains("Running") && l.contains("1 (")), "{table}");
}

#[test]
fn a_crashing_container_backs_off_and_says_so() {
    let cluster = Cluster::start();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: crasher}}\nspec:\n  containers:\n  - name: crasher\n    image: {}\n    \
         command: [sh, -c, 'echo life $(cat /proc/uptime); exit 3']\n",
        testkit::cluster::BUSYBOX
    );
    cluster.apply(&pod);
    cluster.wait_for(&["pod", "crasher"], "{.status.containerStatuses[0].state.waiting.reason}", "CrashLoopBackOff");
    let table = cluster.kubectl_ok(&["get", "pod", "crasher"]);
    assert!(table.lines().nth(1).is_some_and(|l| l.contains("0/1") && l.contains("CrashLoopBackOff")), "{table}");
    let status = cluster.get(&["pod", "crasher"]);
    let state = &status["status"]["containerStatuses"][0];
    let message = state["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.starts_with("back-off ") && message.contains(" restarting failed container=crasher pod=crasher_default("), "{message}");
    assert_eq!(state["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(state["lastState"]["terminated"]["reason"], "Error");
    let described = cluster.kubectl_ok(&["describe", "pod", "crasher"]);
    for text in [
        "Reason:       CrashLoopBackOff",
        "Exit Code:    3",
        "Restart Count:",
        "Back-off restarting failed container crasher in pod crasher_default(",
    ] {
        assert!(described.contains(text), "no {text:?} in:\n{described}");
    }
    assert!(cluster.kubectl_ok(&["logs", "crasher"]).starts_with("life "));
    eventually("the log of an earlier life", || {
        let (now, before) = (cluster.kubectl(&["logs", "crasher"]), cluster.kubectl(&["logs", "--previous", "crasher"]));
        if before.stdout.starts_with("life ") { Ok(()) } else { Err(format!("{now}\n{before}")) }
    });
}
