//! The real helm: a release's whole life.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;
use testkit::{Cluster, Place, eventually};

fn answer(cluster: &Cluster) -> String {
    let address = cluster.kubectl_ok(&["get", "service", "book-web", "-o", "jsonpath={.spec.clusterIP}"]);
    cluster.http_get(Place::Node, &format!("http://{address}/")).unwrap().text()
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_and_uninstalled() {
    let cluster = Cluster::start();
    cluster.import_sample();
    let chart = testkit::peers::repository("examples/chart").to_string_lossy().into_owned();
    let wait = ["--wait", "--timeout", "180s"];
    let helm = |args: &[&str]| cluster.helm(&[args, &wait[..]].concat()).ok();

    let installed = helm(&["install", "book", &chart]);
    assert!(installed.contains("STATUS: deployed\nREVISION: 1\n"), "{installed}");
    assert!(answer(&cluster).starts_with("Welcome aboard from book-web-"));
    assert_eq!(cluster.pods("tier=web").len(), 2);

    let upgraded = helm(&["upgrade", "book", &chart, "--set", "greeting=Ahoy", "--set", "replicas=3"]);
    assert!(upgraded.contains("REVISION: 2\n"), "{upgraded}");
    eventually("the new greeting from three pods", || {
        let (text, pods) = (answer(&cluster), cluster.pods("tier=web"));
        if text.starts_with("Ahoy from book-web-") && pods.len() == 3 { Ok(()) } else { Err(format!("{text} {pods:?}")) }
    });

    assert!(helm(&["rollback", "book", "1"]).contains("Rollback was a success"));
    eventually("the old greeting from two pods", || {
        let (text, pods) = (answer(&cluster), cluster.pods("tier=web"));
        if text.starts_with("Welcome aboard from book-web-") && pods.len() == 2 { Ok(()) } else { Err(format!("{text} {pods:?}")) }
    });
    let history: Value = serde_json::from_str(&cluster.helm(&["history", "book", "-o", "json"]).ok()).unwrap();
    let statuses: Vec<&str> = history.as_array().unwrap().iter().map(|h| h["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["superseded", "superseded", "deployed"]);
    assert!(cluster.helm(&["list"]).ok().contains("guestbook-0.1.0"));

    assert_eq!(helm(&["uninstall", "book"]), "release \"book\" uninstalled\n");
    for kind in ["deployments", "services", "configmaps", "secrets"] {
        let left = cluster.kubectl(&["get", kind, "-l", "app.kubernetes.io/instance=book"]);
        assert_eq!(left.stdout, "", "{left}");
    }
    eventually("the end of its pods", || match cluster.pods("tier").len() {
        0 => Ok(()),
        left => Err(format!("{left} pods")),
    });
    let missing = cluster.helm(&["status", "book"]).failed();
    assert!(missing.contains("not found"), "{missing}");
}

#[test]
fn a_chart_that_cannot_work_fails_in_kubernetes_words() {
    let cluster = Cluster::start();
    let chart = testkit::peers::repository("examples/chart").to_string_lossy().into_owned();
    let refused = cluster.helm(&["install", "book", &chart, "--set", "service.port=70000"]).failed();
    assert!(refused.contains("Invalid value: 70000: must be between 1 and 65535, inclusive"), "{refused}");
    let twice = cluster.helm(&["install", "book", &chart]).failed();
    assert!(
        twice.contains("cannot reuse a name that is still in use") || twice.contains("cannot re-use a name that is still in use"),
        "{twice}"
    );
}
