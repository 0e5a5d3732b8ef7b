//! Rules that all kinds share. The rules of one kind are tested beside them.

use serde_json::{Value, json};

use super::{create, update};

/// The errors as Kubernetes prints them.
pub(super) fn shown(errs: &[crate::field::Error]) -> Vec<String> {
    errs.iter().map(ToString::to_string).collect()
}

fn with_meta(meta: Value) -> Value {
    json!({"metadata": meta})
}

#[test]
fn metadata_of_a_new_object() {
    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
        and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let bad_name = format!("metadata.name: Invalid value: \"Foo_bar\": {SUBDOMAIN}");
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({"name": "a", "namespace": "b"}), vec![]),
        (json!({"name": "a"}), vec!["metadata.namespace: Required value"]),
        (json!({"namespace": "b"}), vec!["metadata.name: Required value: name or generateName is required"]),
        (json!({"name": "Foo_bar", "namespace": "b"}), vec![&bad_name]),
        (json!({"name": "a", "generateName": "a-", "namespace": "b"}), vec![]),
        (
            json!({"name": "a", "namespace": "b", "labels": {"a/b/c": "x"}}),
            vec![
                "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and \
                 must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation \
                 is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ],
        ),
        (
            json!({"name": "a", "namespace": "b", "labels": {"a": "-"}}),
            vec![
                "metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' \
                 or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
                 validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (
            json!({"name": "a", "namespace": "b", "finalizers": ["mine"]}),
            vec!["metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"],
        ),
        (
            json!({"name": "a", "namespace": "b", "annotations": {"a": "x".repeat(256 * 1024)}}),
            vec!["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
            vec!["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"],
        ),
    ];
    for (meta, want) in cases {
        assert_eq!(shown(&create("", "v1", "ServiceAccount", &with_meta(meta.clone()))), want, "{meta}");
    }
}

#[test]
fn cluster_kinds_have_no_namespace() {
    let errs = create("", "v1", "Namespace", &with_meta(json!({"name": "a.b", "namespace": "c"})));
    assert_eq!(
        shown(&errs),
        ["metadata.name: Invalid value: \"a.b\": must not contain dots", "metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn metadata_of_a_changed_object() {
    let old = json!({"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let mut new = old.clone();
    new["uid"] = json!("v");
    new["resourceVersion"] = json!("");
    new["finalizers"] = json!(["a/b"]);
    let errs = update("", "v1", "ServiceAccount", &with_meta(new), &with_meta(old));
    assert_eq!(
        shown(&errs),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}",
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.uid: Invalid value: \"v\": field is immutable",
        ]
    );
}

/// One bad object per rule that is easily lost, with the sentence that it earns.
#[test]
fn the_other_kinds() {
    let meta = |namespaced: bool| if namespaced { json!({"name": "o", "namespace": "default"}) } else { json!({"name": "o"}) };
    type Case = ((&'static str, &'static str), bool, Value, Vec<&'static str>);
    let cases: Vec<Case> = vec![
        (
            ("", "ConfigMap"),
            true,
            json!({"data": {"a": "b", "c/d": ""}, "binaryData": {"a": ""}}),
            vec![
                "data[c/d]: Invalid value: \"c/d\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ],
        ),
        (("", "Secret"), true, json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}), vec!["data[tls.key]: Required value"]),
        (
            ("", "Secret"),
            true,
            json!({"type": "kubernetes.io/service-account-token"}),
            vec!["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        (
            ("", "LimitRange"),
            true,
            json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}}),
            vec!["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
        ),
        (
            ("", "ResourceQuota"),
            true,
            json!({"spec": {"hard": {"pods": "1.5", "apples": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}}),
            vec![
                "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource type or fully qualified",
                "spec.hard[apples]: Invalid value: \"apples\": must be a standard resource for quota",
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        ),
        (
            ("", "PersistentVolumeClaim"),
            true,
            json!({"spec": {"accessModes": ["Sometimes"], "resources": {"requests": {"storage": "0"}}}}),
            vec![
                "spec.accessModes: Unsupported value: \"Sometimes\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ],
        ),
        (
            ("", "Endpoints"),
            true,
            json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0, "protocol": "TCP"}]}]}),
            vec![
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            ("", "Event"),
            true,
            json!({"involvedObject": {"namespace": "other"}}),
            vec!["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
        ),
        (
            ("discovery.k8s.io", "EndpointSlice"),
            true,
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]}),
            vec![
                "endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 address",
                "endpoints[0].addresses[0]: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (
            ("rbac.authorization.k8s.io", "Role"),
            true,
            json!({"rules": [{"verbs": [], "resources": ["pods"], "apiGroups": [""]}]}),
            vec!["rules[0].verbs: Required value: verbs must contain at least one value"],
        ),
        (
            ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
            false,
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
            vec!["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"", "subjects[0].namespace: Required value"],
        ),
        (
            ("networking.k8s.io", "Ingress"),
            true,
            json!({"spec": {"rules": [{"http": {"paths": [{"path": "a", "pathType": "Prefix", "backend": {}}]}}]}}),
            vec![
                "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            ],
        ),
        (
            ("networking.k8s.io", "NetworkPolicy"),
            true,
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}}),
            vec![
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                "spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ],
        ),
        (
            ("storage.k8s.io", "StorageClass"),
            false,
            json!({"volumeBindingMode": "Later"}),
            vec![
                "provisioner: Required value",
                "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
            ],
        ),
        (
            ("policy", "PodDisruptionBudget"),
            true,
            json!({"spec": {"minAvailable": "150%"}}),
            vec!["spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%"],
        ),
        (
            ("autoscaling", "HorizontalPodAutoscaler"),
            true,
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": ""}}}),
            vec![
                "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.name: Required value",
            ],
        ),
        (
            ("scheduling.k8s.io", "PriorityClass"),
            false,
            json!({"value": 1_000_000_001}),
            vec!["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            ("coordination.k8s.io", "Lease"),
            true,
            json!({"spec": {"leaseDurationSeconds": 0}}),
            vec!["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            ("", "Node"),
            false,
            json!({"spec": {"taints": [{"key": "a", "effect": "Never"}], "podCIDRs": ["10.0.0.1/24"]}}),
            vec![
                "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
                "spec.podCIDRs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the prefix length",
            ],
        ),
        (
            ("certificates.k8s.io", "CertificateSigningRequest"),
            false,
            json!({"spec": {"request": "", "signerName": "a", "usages": ["fun"], "expirationSeconds": 5}}),
            vec![],
        ),
    ];
    for ((group, kind), namespaced, mut object, want) in cases {
        object["metadata"] = meta(namespaced);
        let errs = shown(&create(group, "v1", kind, &object));
        if want.is_empty() {
            assert_eq!(errs.len(), 4, "{kind}: {errs:?}");
        } else {
            assert_eq!(errs, want, "{kind}");
        }
    }
}

#[test]
fn frozen_config_maps_stay() {
    let map =
        |data: &str| json!({"metadata": {"name": "c", "namespace": "n", "resourceVersion": "1"}, "immutable": true, "data": {"a": data}});
    assert_eq!(shown(&update("", "v1", "ConfigMap", &map("x"), &map("x"))), [""; 0]);
    assert_eq!(
        shown(&update("", "v1", "ConfigMap", &map("y"), &map("x"))),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}
