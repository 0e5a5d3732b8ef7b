use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::auth::objects::fake::Fake;

fn kubelet(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        user: UserInfo::new("system:node:n1", &["system:nodes"]),
        verb: verb.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

#[test]
fn a_kubelet_reads_what_its_pods_refer_to_and_nothing_else() {
    let objects = Arc::new(Fake::default());
    let pod = |node: &str, secret: &str| {
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": node, "serviceAccountName": "sa",
            "volumes": [{"name": "s", "secret": {"secretName": secret}}, {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "root"}}]}}],
            "containers": [{"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]}]}})
    };
    objects.put("/registry/pods/default/p", &pod("n1", "mine"));
    objects.put("/registry/pods/default/other", &pod("n2", "theirs"));
    objects.put(
        "/registry/persistentvolumes/pv",
        &json!({"spec": {"claimRef": {"namespace": "default", "name": "claim"},
        "csi": {"nodeStageSecretRef": {"namespace": "kube-system", "name": "stage"}}}}),
    );
    let authorizer = NodeAuthorizer::new(objects);
    for (verb, resource, namespace, name, allowed) in [
        ("get", "secrets", "default", "mine", true),
        ("watch", "secrets", "default", "mine", true),
        ("get", "secrets", "default", "env", true),
        ("get", "secrets", "kube-system", "stage", true),
        ("get", "secrets", "default", "theirs", false),
        ("get", "secrets", "elsewhere", "mine", false),
        ("list", "secrets", "default", "", false),
        ("update", "secrets", "default", "mine", false),
        ("get", "configmaps", "default", "root", true),
        ("get", "persistentvolumeclaims", "default", "claim", true),
        ("get", "persistentvolumes", "", "pv", true),
        ("create", "serviceaccounts/token", "default", "sa", true),
        ("create", "serviceaccounts/token", "default", "admin", false),
        ("get", "pods", "default", "p", true),
        ("get", "pods", "default", "other", false),
        ("list", "pods", "", "", false),
        ("patch", "pods/status", "default", "p", true),
        ("get", "nodes", "", "n1", true),
        ("get", "nodes", "", "n2", false),
        ("patch", "nodes/status", "", "n1", true),
        ("delete", "nodes", "", "n1", false),
        ("list", "services", "", "", true),
        ("create", "services", "default", "", false),
        ("create", "events", "default", "", true),
    ] {
        let decision = authorizer.decide(&kubelet(verb, resource, namespace, name));
        assert_eq!(matches!(decision, Decision::Allow(_)), allowed, "{verb} {resource} {namespace}/{name}: {decision:?}");
    }
    let mut selected = kubelet("list", "pods", "", "");
    selected.field_equals.insert("spec.nodeName".into(), "n1".into());
    assert_eq!(authorizer.decide(&selected), Decision::Allow(String::new()));
    let someone = Attributes { user: UserInfo::new("system:node:n1", &[]), ..kubelet("get", "nodes", "", "n1") };
    assert_eq!(authorizer.decide(&someone), Decision::NoOpinion(String::new()));
}
