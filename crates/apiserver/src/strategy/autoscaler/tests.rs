use super::*;

fn v1() -> Gvk {
    Gvk::new("autoscaling", "v1", "HorizontalPodAutoscaler")
}

fn v2() -> Gvk {
    Gvk::new("autoscaling", "v2", "HorizontalPodAutoscaler")
}

fn full() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a", "annotations": {"x": "y"}},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 3,
            "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                    "target": {"type": "Utilization", "averageUtilization": 5}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "hits"},
                    "target": {"type": "AverageValue", "averageValue": "7"}}},
                {"type": "Pods", "pods": {"metric": {"name": "p", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "2"}}},
                {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "3"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 9, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}]}},
        },
        "status": {
            "currentReplicas": 1, "desiredReplicas": 2,
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 33, "averageValue": "5m"}}}],
            "conditions": [{"type": "AbleToScale", "status": "True"}],
        },
    })
}

#[test]
fn all_fields_survive_the_way_through_v1() {
    let old = Autoscalers.convert(full(), &v1());
    assert_eq!(old["apiVersion"], "autoscaling/v1");
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 60);
    assert_eq!(old["status"], json!({"currentReplicas": 1, "desiredReplicas": 2, "currentCPUUtilizationPercentage": 33}));
    assert!(old["spec"].get("metrics").is_none() && old["spec"].get("behavior").is_none());
    let text = |key: &str| old["metadata"]["annotations"][key].as_str().unwrap().to_owned();
    assert!(text(METRICS).contains(r#""targetAverageValue":"1Gi""#), "{}", text(METRICS));
    assert!(text(BEHAVIOR).contains(r#""StabilizationWindowSeconds":9"#), "{}", text(BEHAVIOR));
    assert_eq!(Autoscalers.convert(old, &v2()), full());
}

#[test]
fn a_plain_old_autoscaler_has_one_cpu_target() {
    let old = |spec: Value| json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec, "status": {}});
    for (spec, percent) in [(json!({"maxReplicas": 1}), 80), (json!({"maxReplicas": 1, "targetCPUUtilizationPercentage": 50}), 50)] {
        let new = Autoscalers.convert(old(spec), &v2());
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        assert_eq!(new["spec"]["metrics"], json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        assert!(new["spec"].get("targetCPUUtilizationPercentage").is_none());
    }
}

#[test]
fn carriers_with_nonsense_are_passed_over() {
    for text in ["nonsense", "{}", r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":{"a":1}}}]"#] {
        let old = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 1},
            "metadata": {"name": "a", "annotations": {METRICS: text}}});
        let new = Autoscalers.convert(old, &v2());
        assert_eq!(new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80, "{text}");
        assert!(new["metadata"].get("annotations").is_none());
    }
}
