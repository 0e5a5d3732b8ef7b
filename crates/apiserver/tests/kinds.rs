//! Kinds whose answers are made of more than what was sent.

#[path = "support/cluster.rs"]
mod cluster;

use apiserver::UserInfo;
use cluster::Cluster;
use serde_json::{Value, json};

#[tokio::test]
async fn the_default_service_range_is_ready() {
    let c = Cluster::start().await;
    let range = c.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    assert_eq!(range.text("/status/conditions/0/type"), "Ready", "{}", range.json);
    assert_eq!(range.text("/status/conditions/0/status"), "True");
    assert_eq!(range.at("/spec/cidrs"), &json!(["10.43.0.0/16"]));
}

#[tokio::test]
async fn components_are_healthy_while_they_live() {
    let c = Cluster::start().await;
    let scheduler = c.server.in_process(UserInfo::new("system:kube-scheduler", &[]));
    let list = c.get("/api/v1/componentstatuses").await;
    let words = |v: &Value| format!("{} {}", v["metadata"]["name"], v["conditions"][0]["status"]);
    let lines: Vec<String> = list.at("/items").as_array().unwrap().iter().map(words).collect();
    assert_eq!(lines, [r#""controller-manager" "False""#, r#""etcd-0" "True""#, r#""scheduler" "True""#]);
    assert_eq!(list.headers["warning"], "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    drop(scheduler);
    let one = c.get("/api/v1/componentstatuses/scheduler").await;
    assert_eq!(one.text("/conditions/0/status"), "False");
    assert_eq!(c.get("/api/v1/componentstatuses/x").await.code, 404);
    let chosen = c.get("/api/v1/componentstatuses?fieldSelector=metadata.name%3Detcd-0").await;
    assert_eq!(chosen.at("/items").as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn autoscalers_are_the_same_in_both_versions() {
    let c = Cluster::start().await;
    let old = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
    });
    let made = c.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", &old).await;
    assert_eq!((made.code, made.at("/spec/targetCPUUtilizationPercentage")), (201, &json!(50)), "{}", made.json);
    let new = c.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/a").await;
    assert_eq!(new.at("/spec/metrics/0/resource/target/averageUtilization"), &json!(50), "{}", new.json);
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/a";
    let metric = json!({"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "2"}}});
    let changed = c.merge(path, &json!({"spec": {"metrics": [metric]}})).await;
    assert_eq!(changed.code, 200, "{}", changed.json);
    let read = c.get("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/a").await;
    assert!(read.text("/metadata/annotations/autoscaling.alpha.kubernetes.io~1metrics").contains("metricName"), "{}", read.json);
    let put = c.put("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/a", &read.json).await;
    assert_eq!(put.code, 200, "{}", put.json);
    assert_eq!(c.get(path).await.at("/spec/metrics"), &json!([metric]));
}

#[tokio::test]
async fn kubectl_reads_the_old_document_as_protobuf() {
    let c = Cluster::start().await;
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let answer = c.send("GET", "/openapi/v2", &accept, "").await;
    assert_eq!(answer.headers()["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let json = c
        .send("GET", "/openapi/v2", &[("accept", "application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf")], "")
        .await;
    assert_eq!(json.headers()["content-type"], "application/json");
}
