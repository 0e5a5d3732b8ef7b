//! Requests and their answers: codes, reasons, messages.

#[path = "support/cluster.rs"]
mod cluster;

use cluster::{Cluster, config_map, pod};
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted() {
    let c = Cluster::start().await;
    let made = c.post(MAPS, &config_map("a", "1")).await;
    assert_eq!(made.code, 201, "{}", made.json);
    assert_eq!(made.text("/metadata/namespace"), "default");
    assert!(!made.text("/metadata/uid").is_empty() && !made.text("/metadata/creationTimestamp").is_empty());
    let read = c.get(&format!("{MAPS}/a")).await;
    assert_eq!(read.json, made.json);

    let mut changed = read.json.clone();
    changed["data"]["k"] = json!("2");
    let put = c.put(&format!("{MAPS}/a"), &changed).await;
    assert_eq!(put.code, 200, "{}", put.json);
    assert_ne!(put.text("/metadata/resourceVersion"), made.text("/metadata/resourceVersion"));
    let again = c.put(&format!("{MAPS}/a"), &put.json).await;
    assert_eq!(again.text("/metadata/resourceVersion"), put.text("/metadata/resourceVersion"), "a change of nothing is none");

    let patched = c.merge(&format!("{MAPS}/a"), &json!({"data": {"x": "y"}})).await;
    assert_eq!(patched.at("/data"), &json!({"k": "2", "x": "y"}));
    let gone = c.delete(&format!("{MAPS}/a")).await;
    assert_eq!((gone.code, gone.text("/status"), gone.text("/details/kind")), (200, "Success", "configmaps"));
    assert_eq!(c.get(&format!("{MAPS}/a")).await.line(), "404 NotFound configmaps \"a\" not found");
}

#[tokio::test]
async fn failures_have_kubernetes_words() {
    let c = Cluster::start().await;
    c.post(MAPS, &config_map("a", "1")).await;
    let mut stale = config_map("a", "2");
    stale["metadata"]["resourceVersion"] = json!("1");
    let mut elsewhere = config_map("b", "1");
    elsewhere["metadata"]["namespace"] = json!("other");
    let none = json!({});
    let cases = [
        ("POST", MAPS, config_map("a", "1"), "409 AlreadyExists configmaps \"a\" already exists"),
        ("POST", "/api/v1/namespaces/nope/configmaps", config_map("a", "1"), "404 NotFound namespaces \"nope\" not found"),
        ("POST", MAPS, elsewhere, "400 BadRequest the namespace of the provided object does not match the namespace sent on the request"),
        (
            "PUT",
            "/api/v1/namespaces/default/configmaps/b",
            config_map("a", "1"),
            "400 BadRequest the name of the object (a) does not match the name on the URL (b)",
        ),
        ("PUT", "/api/v1/namespaces/default/configmaps/zz", config_map("zz", "1"), "404 NotFound configmaps \"zz\" not found"),
        (
            "PUT",
            "/api/v1/namespaces/default/configmaps/a",
            stale,
            "409 Conflict Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        ("PUT", MAPS, none.clone(), "405 MethodNotAllowed the server does not allow this method on the requested resource"),
        (
            "DELETE",
            "/api/v1/namespaces/default",
            none.clone(),
            "403 Forbidden namespaces \"default\" is forbidden: this namespace may not be deleted",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps?fieldSelector=a%3Db",
            none.clone(),
            "400 BadRequest \"a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("GET", "/api/v1/namespaces/default/pods?fieldSelector=a%3Db", none.clone(), "400 BadRequest field label not supported: a"),
    ];
    for (method, path, body, expected) in cases {
        let body = if body == none { String::new() } else { body.to_string() };
        assert_eq!(c.ask(method, path, &[], body).await.line(), expected, "{method} {path}");
    }
    let wrong = c.ask("POST", MAPS, &[("content-type", "text/plain")], "x").await;
    assert_eq!(wrong.code, 415, "{}", wrong.json);
    let unacceptable = c.ask("GET", MAPS, &[("accept", "image/png")], "").await;
    assert_eq!(unacceptable.code, 406);
    let large = c.ask("POST", MAPS, &[], vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!(large.line(), "413 RequestEntityTooLarge Request entity too large: limit is 3145728");
    let page = c.get("/apis/example.com/v1/things").await;
    assert_eq!((page.code, &page.bytes[..]), (404, &b"404 page not found\n"[..]));
}

#[tokio::test]
async fn unknown_fields_warn_or_fail() {
    let c = Cluster::start().await;
    let mut odd = config_map("a", "1");
    odd["nonsense"] = json!(1);
    let warned = c.post(MAPS, &odd).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.headers.get("warning").unwrap(), "299 - \"unknown field \\\"nonsense\\\"\"");
    assert!(warned.at("/nonsense").is_null());
    let strict = c.post(&format!("{MAPS}?fieldValidation=Strict"), &odd).await;
    assert!(strict.line().contains("strict decoding error: unknown field \"nonsense\""), "{}", strict.line());
    let bad = c.post(&format!("{MAPS}?fieldValidation=Loose"), &odd).await;
    assert_eq!(bad.code, 422);
}

#[tokio::test]
async fn users_without_rights_are_told_what_they_lack() {
    let mut c = Cluster::start().await;
    c.user = apiserver::UserInfo::new("nobody", &[]);
    let cases = [
        (
            "/api/v1/namespaces/default/pods/a",
            "403 Forbidden pods \"a\" is forbidden: User \"nobody\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"",
        ),
        (
            "/apis/apps/v1/deployments",
            "403 Forbidden deployments.apps is forbidden: User \"nobody\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope",
        ),
        ("/metrics", "403 Forbidden forbidden: User \"nobody\" cannot get path \"/metrics\""),
    ];
    for (path, expected) in cases {
        assert_eq!(c.get(path).await.line(), expected);
    }
}

#[tokio::test]
async fn dry_runs_change_nothing_and_generated_names_are_free() {
    let c = Cluster::start().await;
    let dry = c.post(&format!("{MAPS}?dryRun=All"), &config_map("a", "1")).await;
    assert_eq!(dry.code, 201);
    assert_eq!(c.get(&format!("{MAPS}/a")).await.code, 404);
    let mut named = config_map("", "1");
    named["metadata"] = json!({"generateName": "gen-"});
    let made = c.post(MAPS, &named).await;
    assert_eq!(made.text("/metadata/name").len(), "gen-".len() + 5, "{}", made.json);
}

#[tokio::test]
async fn pods_get_defaults_go_gracefully_and_are_bound_once() {
    let c = Cluster::start().await;
    c.post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}})).await;
    let made = c.post("/api/v1/namespaces/default/pods", &pod("p")).await;
    assert_eq!(made.code, 201, "{}", made.json);
    assert_eq!(made.text("/status/phase"), "Pending");
    assert_eq!(made.text("/spec/serviceAccountName"), "default");
    assert!(made.text("/spec/volumes/0/name").starts_with("kube-api-access-"), "{}", made.json);
    assert_eq!(made.at("/spec/tolerations").as_array().unwrap().len(), 2);
    assert_eq!(made.at("/metadata/generation"), &json!(1));

    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let bound = c.post("/api/v1/namespaces/default/pods/p/binding", &binding).await;
    assert_eq!(bound.code, 201, "{}", bound.json);
    let twice = c.post("/api/v1/namespaces/default/pods/p/binding", &binding).await;
    assert_eq!(twice.line(), "409 Conflict Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");

    let going = c.delete("/api/v1/namespaces/default/pods/p").await;
    assert_eq!(going.code, 200);
    assert_eq!(going.at("/metadata/deletionGracePeriodSeconds"), &json!(30), "{}", going.json);
    let now = c.ask("DELETE", "/api/v1/namespaces/default/pods/p", &[], json!({"gracePeriodSeconds": 0}).to_string()).await;
    assert_eq!(now.code, 200, "{}", now.json);
    assert_eq!(c.get("/api/v1/namespaces/default/pods/p").await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let c = Cluster::start().await;
    let mut held = config_map("a", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    c.post(MAPS, &held).await;
    let going = c.delete(&format!("{MAPS}/a")).await;
    assert!(!going.text("/metadata/deletionTimestamp").is_empty(), "{}", going.json);
    let last = c.merge(&format!("{MAPS}/a"), &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(last.code, 200, "{}", last.json);
    assert_eq!(c.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn services_have_addresses_of_their_own() {
    let c = Cluster::start().await;
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": [{"port": 80}]}});
    let path = "/api/v1/namespaces/default/services";
    let kubernetes = c.get(&format!("{path}/kubernetes")).await;
    assert_eq!(kubernetes.text("/spec/clusterIP"), "10.43.0.1", "{}", kubernetes.json);
    let a = c.post(path, &service("a", "ClusterIP")).await;
    let b = c.post(path, &service("b", "NodePort")).await;
    assert_eq!((a.code, b.code), (201, 201), "{} {}", a.json, b.json);
    assert_ne!(a.text("/spec/clusterIP"), b.text("/spec/clusterIP"));
    let port = b.at("/spec/ports/0/nodePort").as_u64().unwrap();
    assert!((30000..=32767).contains(&port));
    let mut same = service("c", "NodePort");
    same["spec"]["ports"][0]["nodePort"] = json!(port);
    assert!(c.post(path, &same).await.line().ends_with("provided port is already allocated"));
    c.delete(&format!("{path}/b")).await;
    assert_eq!(c.post(path, &same).await.code, 201);
    let kept = c.merge(&format!("{path}/a"), &json!({"spec": {"ports": [{"port": 81}]}})).await;
    assert_eq!(kept.text("/spec/clusterIP"), a.text("/spec/clusterIP"), "{}", kept.json);
}

#[tokio::test]
async fn scale_and_status_change_only_their_part() {
    let c = Cluster::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let made = c.post(path, &deployment).await;
    assert_eq!(made.code, 201, "{}", made.json);
    let scale = c.get(&format!("{path}/d/scale")).await;
    assert_eq!((scale.at("/spec/replicas"), scale.text("/status/selector")), (&json!(2), "a=b"));
    let scaled = c.merge(&format!("{path}/d/scale"), &json!({"spec": {"replicas": 5}})).await;
    assert_eq!(scaled.at("/spec/replicas"), &json!(5), "{}", scaled.json);
    let mut status = c.get(&format!("{path}/d")).await.json;
    assert_eq!(status["metadata"]["generation"], json!(2));
    status["status"] = json!({"replicas": 3, "observedGeneration": 1});
    status["spec"]["replicas"] = json!(9);
    let written = c.put(&format!("{path}/d/status"), &status).await;
    assert_eq!((written.at("/spec/replicas"), written.at("/status/replicas")), (&json!(5), &json!(3)), "{}", written.json);
    assert_eq!(written.at("/metadata/generation"), &json!(2));
}

#[tokio::test]
async fn appliers_own_fields_and_meet_conflicts() {
    let c = Cluster::start().await;
    let apply = async |manager: &str, body: serde_json::Value| {
        let path = format!("{MAPS}/a?fieldManager={manager}");
        c.ask("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], body.to_string()).await
    };
    let config = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
    let made = apply("one", config(json!({"k": "1", "x": "1"}))).await;
    assert_eq!(made.code, 201, "{}", made.json);
    assert_eq!(made.text("/metadata/managedFields/0/manager"), "one");
    let same = apply("one", config(json!({"k": "1", "x": "1"}))).await;
    assert_eq!(same.text("/metadata/resourceVersion"), made.text("/metadata/resourceVersion"));
    let fought = apply("two", config(json!({"k": "2"}))).await;
    assert_eq!((fought.code, fought.text("/details/causes/0/field")), (409, ".data.k"), "{}", fought.json);
    let dropped = apply("one", config(json!({"k": "1"}))).await;
    assert_eq!(dropped.at("/data"), &json!({"k": "1"}), "{}", dropped.json);
    let edited = c.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "3"}})).await;
    assert_eq!(edited.at("/metadata/managedFields").as_array().unwrap().len(), 1, "{}", edited.json);
    let nameless = c.ask("PATCH", &format!("{MAPS}/a"), &[("content-type", "application/apply-patch+yaml")], "{}").await;
    assert!(nameless.line().contains("fieldManager: Required value: is required for apply patch"), "{}", nameless.line());
}
