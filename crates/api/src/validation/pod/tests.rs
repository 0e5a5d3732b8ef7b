//! A good pod is changed in one place; the table says which sentence that earns.

use serde_json::{Value, json};

use crate::validation::tests::shown;
use crate::validation::{create, update, update_status};

fn pod() -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "resourceVersion": "1"},
        "spec": {
            "serviceAccountName": "default",
            "containers": [{"name": "a", "image": "nginx", "ports": [{"containerPort": 80, "name": "http"}],
                "livenessProbe": {"httpGet": {"port": "http"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "env": [{"name": "A", "value": "b"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}],
            "initContainers": [{"name": "i", "image": "busybox"}],
            "volumes": [{"name": "v"}, {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
        },
    });
    crate::defaults::apply(("", "v1", "Pod"), &mut pod);
    pod
}

/// Sets (or with null removes) the value at a pointer, making the last key.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => other[key] = value,
    }
    object
}

#[test]
fn create_refuses_in_kubernetes_words() {
    assert_eq!(shown(&create("", "v1", "Pod", &pod())), [""; 0]);
    for (pointer, value, want) in [
        ("/spec/containers", json!([]), vec!["spec.containers: Required value"]),
        ("/spec/containers/0/image", json!(""), vec!["spec.containers[0].image: Required value"]),
        (
            "/spec/containers/0/image",
            json!(" x"),
            vec!["spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace"],
        ),
        ("/spec/initContainers/0/name", json!("a"), vec!["spec.initContainers[0].name: Duplicate value: \"a\""]),
        (
            "/spec/containers/0/name",
            json!("A b"),
            vec![
                "spec.containers[0].name: Invalid value: \"A b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                 or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            "/spec/containers/0/ports/0/containerPort",
            json!(70000),
            vec!["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            "/spec/containers/0/ports/0/protocol",
            json!("ICMP"),
            vec!["spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
        ),
        (
            "/spec/containers/0/imagePullPolicy",
            json!("Sometimes"),
            vec![
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        ("/spec/containers/0/volumeMounts/0/name", json!("w"), vec!["spec.containers[0].volumeMounts[0].name: Not found: \"w\""]),
        (
            "/spec/containers/0/volumeMounts/-",
            json!({"name": "v", "mountPath": "/v"}),
            vec!["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"],
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}),
            vec!["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
        ),
        (
            "/spec/containers/0/env/1/valueFrom/fieldRef/fieldPath",
            json!("status.x"),
            vec![
                "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: \"status.x\": error converting fieldPath: field label not supported: status.x",
            ],
        ),
        (
            "/spec/containers/0/env/0/name",
            json!("a=b"),
            vec![
                "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (
            "/spec/containers/0/resources/requests/cpu",
            json!("2"),
            vec!["spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"],
        ),
        (
            "/spec/containers/0/resources/limits/foo",
            json!("2"),
            vec![
                "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "spec.containers[0].resources.limits[foo]: Invalid value: \"foo\": must be a standard resource for containers",
            ],
        ),
        (
            "/spec/containers/0/resources/requests/cpu",
            json!("-1"),
            vec!["spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            "/spec/containers/0/livenessProbe/successThreshold",
            json!(2),
            vec!["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            "/spec/containers/0/livenessProbe/httpGet",
            Value::Null,
            vec!["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            "/spec/containers/0/livenessProbe/exec",
            json!({"command": ["x"]}),
            vec!["spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "/spec/containers/0/securityContext",
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
            vec![
                "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            "/spec/securityContext",
            json!({"runAsUser": -1}),
            vec!["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
        (
            "/spec/restartPolicy",
            json!("Maybe"),
            vec!["spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\""],
        ),
        ("/spec/dnsPolicy", json!("None"), vec!["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        (
            "/spec/volumes/0/emptyDir",
            Value::Null,
            vec![
                "spec.volumes[0]: Required value: must specify a volume type",
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ],
        ),
        (
            "/spec/volumes/0/hostPath",
            json!({"path": "/a/../b"}),
            vec![
                "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ],
        ),
        ("/spec/volumes/-", json!({"name": "v", "emptyDir": {}}), vec!["spec.volumes[2].name: Duplicate value: \"v\""]),
        (
            "/spec/volumes/-",
            json!({"name": "s", "secret": {"secretName": "s", "defaultMode": 512}}),
            vec!["spec.volumes[2].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"],
        ),
        (
            "/spec/serviceAccountName",
            json!(""),
            vec![
                "spec.volumes[1].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
            ],
        ),
        (
            "/spec/nodeSelector",
            json!({"a b": "c"}),
            vec![
                "spec.nodeSelector: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            "/spec/tolerations/0/effect",
            json!("NoSchedule"),
            vec!["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
        ),
        (
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
            vec![
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
            ],
        ),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]),
            vec!["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"],
        ),
        (
            "/spec/ephemeralContainers",
            json!([{"name": "e", "image": "x", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}]),
            vec!["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            "/spec/activeDeadlineSeconds",
            json!(0),
            vec!["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        ("/spec/terminationGracePeriodSeconds", Value::Null, vec!["spec.terminationGracePeriodSeconds: Required value"]),
        (
            "/spec/priorityClassName",
            json!("a_b"),
            vec![
                "spec.priorityClassName: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
    ] {
        assert_eq!(shown(&create("", "v1", "Pod", &with(pod(), pointer, value.clone()))), want, "{pointer} = {value}");
    }
}

#[test]
fn only_a_few_fields_of_a_pod_change() {
    let refused = |pointer: &str, value: Value| shown(&update("", "v1", "Pod", &with(pod(), pointer, value), &pod()));
    assert_eq!(refused("/spec/containers/0/image", json!("nginx:2")), [""; 0]);
    assert_eq!(refused("/spec/activeDeadlineSeconds", json!(5)), [""; 0]);
    assert_eq!(refused("/spec/tolerations/-", json!({"key": "x", "operator": "Exists"})), [""; 0]);
    assert_eq!(refused("/metadata/labels", json!({"a": "b"})), [""; 0]);
    assert_eq!(
        refused("/spec/containers/0/command", json!(["x"])),
        ["spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
          `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
          (allow it to be set to 1 if it was previously negative)\n- spec.containers[0].command: null\n+ spec.containers[0].command: [\"x\"]"]
    );
    assert_eq!(
        refused("/spec/initContainers", json!([])),
        ["spec.initContainers: Forbidden: pod updates may not add or remove containers"]
    );
    assert_eq!(
        refused("/spec/tolerations", json!([])),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
}

#[test]
fn an_ended_container_stays_ended() {
    let mut old = with(pod(), "/spec/restartPolicy", json!("Never"));
    old["status"] = json!({"qosClass": "Burstable", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 0}}}]});
    let mut new = old.clone();
    assert_eq!(shown(&update_status("", "v1", "Pod", &new, &old)), [""; 0]);
    new["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
    new["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]);
    assert_eq!(
        shown(&update_status("", "v1", "Pod", &new, &old)),
        [
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
            "status.podIPs: Invalid value: [{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
        ]
    );
}

proptest::proptest! {
    /// Whatever a decoder might let through, validation must not panic.
    #[test]
    fn odd_trees_are_no_reason_to_panic(at in 0_usize..40, value in "\\PC{0,12}") {
        let pointers = ["/spec", "/metadata", "/spec/containers", "/spec/containers/0", "/spec/volumes/0", "/spec/tolerations", "/spec/containers/0/ports",
            "/spec/containers/0/env/0", "/spec/containers/0/resources", "/spec/initContainers"];
        let values = [Value::Null, json!(value), json!([value]), json!({value: 1})];
        let object = with(pod(), pointers[at % pointers.len()], values[at / pointers.len()].clone());
        let _ = create("", "v1", "Pod", &object);
        let _ = update("", "v1", "Pod", &object, &pod());
        let _ = update("", "v1", "Pod", &pod(), &object);
        let _ = update_status("", "v1", "Pod", &object, &pod());
    }
}
