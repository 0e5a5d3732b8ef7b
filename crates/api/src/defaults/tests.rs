//! Each case is one manifest and what the server adds to it.

use serde_json::{Value, json};

use super::apply;

fn check(gvk: (&str, &str, &str), mut given: Value, want: Value) {
    apply(gvk, &mut given);
    assert_eq!(given, want, "{gvk:?}");
    apply(gvk, &mut given);
    assert_eq!(given, want, "{gvk:?}: defaults are not idempotent");
}

#[test]
fn pod_gets_everything_a_bare_manifest_leaves_out() {
    check(
        ("", "v1", "Pod"),
        json!({"spec": {
            "hostNetwork": true, "serviceAccount": "old",
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "livenessProbe": {"httpGet": {"port": 80}, "timeoutSeconds": 0},
                "readinessProbe": {"grpc": {"port": 9}},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}}],
            "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}, {"name": "h", "hostPath": {"path": "/"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}},
                    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
        }}),
        json!({"spec": {
            "hostNetwork": true, "serviceAccount": "old", "serviceAccountName": "old",
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler", "enableServiceLinks": true,
            "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3},
                "readinessProbe": {"grpc": {"port": 9, "service": ""}, "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3},
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}}}],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
                {"name": "h", "hostPath": {"path": "/", "type": ""}},
                {"name": "p", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
                    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}}]}}],
        }}),
    );
}

fn defaulted_template() -> Value {
    json!({"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler"})
}

#[test]
fn workloads() {
    let t = defaulted_template();
    check(
        ("apps", "v1", "Deployment"),
        json!({"spec": {"template": {"spec": {}}}}),
        json!({"spec": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "template": {"spec": t},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}}}),
    );
    check(
        ("apps", "v1", "Deployment"),
        json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}, "template": {"spec": {}}}}),
        json!({"spec": {"replicas": 0, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "template": {"spec": t},
            "strategy": {"type": "Recreate"}}}),
    );
    check(
        ("apps", "v1", "StatefulSet"),
        json!({"spec": {"template": {"spec": {}}, "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}}),
        json!({"spec": {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady", "template": {"spec": t},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"},
                "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}]}}),
    );
    check(
        ("apps", "v1", "DaemonSet"),
        json!({"spec": {"template": {}}}),
        json!({"spec": {"revisionHistoryLimit": 10, "template": {"spec": t},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}}),
    );
    check(
        ("batch", "v1", "Job"),
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}}),
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"completions": 1, "parallelism": 1, "backoffLimit": 6,
            "completionMode": "NonIndexed", "suspend": false, "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": t}}}),
    );
    check(
        ("", "v1", "ReplicationController"),
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}}),
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1, "selector": {"a": "b"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": t}}}),
    );
}

#[test]
fn services() {
    check(
        ("", "v1", "Service"),
        json!({"spec": {"ports": [{"port": 80}], "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}}),
        json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}}),
    );
    check(
        ("", "v1", "Service"),
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}),
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}}),
    );
    check(
        ("", "v1", "Service"),
        json!({"spec": {"type": "ExternalName", "externalName": "x"}}),
        json!({"spec": {"type": "ExternalName", "externalName": "x", "sessionAffinity": "None"}}),
    );
}

#[test]
fn the_rest() {
    check(
        ("", "v1", "Secret"),
        json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eA=="}}),
        json!({"type": "Opaque", "data": {"a": "Yg==", "c": "eA=="}}),
    );
    check(
        ("", "v1", "Namespace"),
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "lie"}}}),
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}, "status": {"phase": "Active"}}),
    );
    check(
        ("", "v1", "LimitRange"),
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}}]}}),
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}, "default": {"cpu": "1"},
            "defaultRequest": {"cpu": "1", "memory": "1Mi"}}]}}),
    );
    check(
        ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
    );
    check(
        ("networking.k8s.io", "v1", "NetworkPolicy"),
        json!({"spec": {"egress": [{"ports": [{"port": 53}]}]}}),
        json!({"spec": {"egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}], "policyTypes": ["Ingress", "Egress"]}}),
    );
    check(("storage.k8s.io", "v1", "StorageClass"), json!({}), json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}));
}

#[test]
fn malformed_trees_are_left_alone() {
    for kind in ["Pod", "Service", "Namespace", "Secret", "LimitRange", "Node"] {
        for given in [json!(null), json!([]), json!({"spec": 5, "metadata": [], "status": "x", "data": 1})] {
            apply(("", "v1", kind), &mut given.clone());
        }
    }
}

#[test]
fn a_job_selects_its_own_pods() {
    let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {}}});
    super::select_own_pods(&mut job);
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"],
        json!({"controller-uid": "u", "job-name": "j", "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "j"})
    );
    let mut manual = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"manualSelector": true, "template": {}}});
    let before = manual.clone();
    super::select_own_pods(&mut manual);
    assert_eq!(manual, before);
}
