//! The main job: real manifests become processes that answer through Services.

use std::collections::BTreeSet;

use testkit::cluster::BUSYBOX;
use testkit::image::Image;
use testkit::node::NODE_IP;
use testkit::{Cluster, Options, Place, eventually};

/// A pod from which names are looked up and services asked.
fn client_pod() -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: client}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  \
         - name: client\n    image: {BUSYBOX}\n    command: [sleep, '100000']\n"
    )
}

/// Applies the examples and waits until all of it is up.
fn guestbook(cluster: &Cluster) {
    cluster.import_sample();
    let manifests = testkit::peers::repository("examples/guestbook.yaml");
    let applied = cluster.kubectl_ok(&["apply", "-f", &manifests.to_string_lossy()]);
    for line in ["deployment.apps/guestbook-store created", "service/guestbook-web-node created", "secret/guestbook created", "configmap/guestbook created"] {
        assert!(applied.contains(line), "{applied}");
    }
    cluster.rolled_out("deployment/guestbook-store");
    cluster.rolled_out("deployment/guestbook-web");
    let again = cluster.kubectl_ok(&["apply", "-f", &manifests.to_string_lossy()]);
    // kubectl cannot see whether a Secret's stringData is what is stored already.
    assert!(again.lines().all(|l| l.ends_with(" unchanged") || l == "secret/guestbook configured"), "{again}");
}

/// The pods that answer an address, asked often enough that each of a few is met.
fn who_answers(cluster: &Cluster, from: Place, url: &str) -> BTreeSet<String> {
    let answers = (0..60).map(|_| {
        let answer = cluster.http_get(from, url).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        text.lines().next().and_then(|l| l.strip_prefix("Welcome aboard from ")).unwrap_or_else(|| panic!("{text}")).to_owned()
    });
    answers.collect()
}

#[test]
fn the_guestbook_answers_by_address_port_and_name() {
    let cluster = Cluster::start();
    guestbook(&cluster);
    let web: BTreeSet<String> = cluster.pods("tier=web").into_iter().collect();
    assert_eq!(web.len(), 3);

    let address = cluster.kubectl_ok(&["get", "service", "guestbook-web", "-o", "jsonpath={.spec.clusterIP}"]);
    assert_eq!(who_answers(&cluster, Place::Node, &format!("http://{address}/")), web, "the ClusterIP balances over all pods");
    assert_eq!(who_answers(&cluster, Place::Outside, &format!("http://{NODE_IP}:30080/")), web, "the NodePort answers outside");
    assert_eq!(who_answers(&cluster, Place::Node, &format!("http://{NODE_IP}:30080/")), web, "the NodePort answers on the node");

    cluster.apply(&client_pod());
    cluster.kubectl_ok(&["wait", "--for=condition=Ready", "pod/client", "--timeout=120s"]);
    for name in ["guestbook-web", "guestbook-web.default", "guestbook-web.default.svc", "guestbook-web.default.svc.cluster.local"] {
        let answer = cluster.kubectl_ok(&["exec", "client", "--", "wget", "-q", "-T", "10", "-O", "-", &format!("http://{name}/")]);
        assert!(answer.starts_with("Welcome aboard from guestbook-web-"), "{name}: {answer}");
    }
    let lookup = cluster.kubectl_ok(&["exec", "client", "--", "nslookup", "guestbook-web.default.svc.cluster.local"]);
    assert!(lookup.contains(&address) && lookup.contains("10.43.0.10"), "{lookup}");
    let missing = cluster.kubectl(&["exec", "client", "--", "nslookup", "nobody.default.svc.cluster.local"]);
    assert!(!missing.status.success() && missing.stdout.contains("NXDOMAIN"), "{missing}");
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
    assert!(environment.contains("KUBERNETES_SERVICE_HOST=10.43.0.1\n") && environment.contains("KUBERNETES_SERVICE_PORT=443\n"), "{environment}");

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
