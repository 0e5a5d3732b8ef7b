//! The main job: real manifests become processes that answer through Services.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use testkit::cluster::BUSYBOX;
use testkit::image::Image;
use testkit::scenario::{self, client_pod, guestbook, who_answers};
use testkit::{Cluster, Options, Place, eventually};

#[test]
fn the_guestbook_answers_by_address_port_and_name() {
    scenario::guestbook_answers(&Cluster::start());
}

#[test]
fn a_pods_life() {
    scenario::a_pods_life(&Cluster::start());
}

#[test]
fn pods_reach_the_api_server_by_its_name_with_their_token() {
    let cluster = Cluster::start();
    // A client that checks certificates, and finds its way by what is mounted.
    let mut image = Image::busybox("ferry.test/kubectl:1").unwrap();
    image.files.push((testkit::peers::kubectl(testkit::peers::Kubectl::V1_35), "bin/kubectl".to_owned()));
    cluster.import(&image);
    cluster.apply(&client_pod().replace(BUSYBOX, &image.name));
    cluster.kubectl_ok(&["wait", "--for=condition=Ready", "pod/client", "--timeout=120s"]);
    let ask = |script: &str| cluster.kubectl(&["exec", "client", "--", "sh", "-c", script]);
    let files = ask("ls /var/run/secrets/kubernetes.io/serviceaccount").ok();
    assert_eq!(files.split_whitespace().collect::<Vec<_>>(), ["ca.crt", "namespace", "token"]);
    assert_eq!(ask("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace").ok(), "default");
    let environment = ask("env").ok();
    assert!(
        environment.contains("KUBERNETES_SERVICE_HOST=10.43.0.1\n") && environment.contains("KUBERNETES_SERVICE_PORT=443\n"),
        "{environment}"
    );

    let whoami = "D=/var/run/secrets/kubernetes.io/serviceaccount; kubectl --server=https://kubernetes.default \
                  --certificate-authority=$D/ca.crt --token=$(cat $D/token) get pod client -o json";
    let refused = ask(whoami).failed();
    let message = "pods \"client\" is forbidden: User \"system:serviceaccount:default:default\" cannot get resource \"pods\" in API group \"\" \
                   in the namespace \"default\"";
    assert!(refused.contains(message), "{refused}");
    cluster.kubectl_ok(&["create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount=default:default"]);
    let seen = eventually("the new right", || {
        let output = ask(whoami);
        if output.status.success() { Ok(output.stdout) } else { Err(output.to_string()) }
    });
    let pod: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(pod["metadata"]["name"], "client");
}

#[test]
fn an_older_kubectl_does_the_same_job() {
    let cluster = Cluster::start_with(Options { kubectl: testkit::peers::Kubectl::V1_32, ..Options::default() });
    guestbook(&cluster);
    assert!(cluster.kubectl_ok(&["version"]).contains("Server Version: v1.36"), "the version is told");
    let table = cluster.kubectl_ok(&["get", "deployments"]);
    assert!(table.starts_with("NAME              READY   UP-TO-DATE   AVAILABLE   AGE\n"), "{table}");
    let address = cluster.kubectl_ok(&["get", "service", "guestbook-web", "-o", "jsonpath={.spec.clusterIP}"]);
    assert_eq!(who_answers(&cluster, Place::Node, &format!("http://{address}/")).len(), 3);
    assert!(cluster.kubectl_ok(&["describe", "deployment", "guestbook-web"]).contains("Replicas:               3 desired"));
    let pod = &cluster.pods("tier=web")[0];
    assert!(cluster.kubectl_ok(&["logs", pod]).contains("web half of the guestbook"));
    assert!(cluster.kubectl(&["exec", pod, "--", "/ferry", "version"]).ok().contains("Kubernetes"));
}
