use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::resources::{builtin_resources, by_plural};

/// 2024-05-06T07:08:09Z.
const NOW: u64 = 1_714_979_289;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn cells(group: &str, version: &str, plural: &str, object: &Value) -> Vec<String> {
    let resource = by_plural(group, version, plural).expect("resource");
    let show = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    Printer::of(resource).cells(object, now()).into_iter().map(show).collect()
}

#[test]
fn every_resource_has_as_many_cells_as_columns() {
    for resource in builtin_resources() {
        let printer = Printer::of(resource);
        let columns = printer.columns().as_array().map_or(0, Vec::len);
        assert_eq!(printer.cells(&json!({}), now()).len(), columns, "{}", resource.kind);
        let generic = resource.columns.is_empty() || resource.columns.iter().any(|c| c.name == "Created At");
        assert_eq!(printer.columns.is_empty(), generic, "{} has no printer", resource.kind);
        for s in resource.subresources.iter().filter(|s| !s.columns.is_empty()) {
            let printer = Printer::of_kind(&s.group, &s.kind, &s.columns);
            assert_eq!(printer.cells(&json!({}), now()).len(), s.columns.len(), "{}/{}", resource.kind, s.name);
        }
    }
}

fn status(reason: &str, containers: Value, init: Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2024-05-06T07:00:09Z"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        "status": {"phase": reason, "containerStatuses": containers, "initContainerStatuses": init}})
}

#[test]
fn pods_say_how_they_are() {
    let run = json!({"ready": true, "restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2024-05-06T07:03:09Z"}}});
    let waits = |reason: &str| json!({"restartCount": 1, "state": {"waiting": {"reason": reason}}});
    let ended = |reason: &str, code: i64| json!({"restartCount": 0, "state": {"terminated": {"reason": reason, "exitCode": code}}});
    let mut ready = status("Running", json!([run, ended("Completed", 0)]), json!([]));
    ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    let mut side = status(
        "Pending",
        json!([]),
        json!([{"name": "s", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}},
        {"name": "i", "restartCount": 5, "state": {"running": {}}}]),
    );
    side["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]);
    let mut deleted = status("Running", json!([run, run]), json!([]));
    deleted["metadata"]["deletionTimestamp"] = json!("2024-05-06T07:08:00Z");
    let mut lost = deleted.clone();
    lost["status"]["reason"] = json!("NodeLost");
    let mut gated = status("Pending", json!([]), json!([]));
    gated["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    for (pod, want) in [
        (status("Running", json!([run, run]), json!([])), ["2/2", "Running", "6 (5m ago)"]),
        (status("Running", json!([run, waits("CrashLoopBackOff")]), json!([])), ["1/2", "CrashLoopBackOff", "4 (5m ago)"]),
        (status("Succeeded", json!([ended("Completed", 0), ended("Completed", 0)]), json!([])), ["0/2", "Completed", "0"]),
        (status("Running", json!([run, ended("Completed", 0)]), json!([])), ["1/2", "NotReady", "3 (5m ago)"]),
        (ready, ["1/2", "Running", "3 (5m ago)"]),
        (status("Running", json!([ended("Completed", 0), ended("Error", 2)]), json!([])), ["0/2", "Error", "0"]),
        (status("Failed", json!([ended("", 7), ended("Completed", 0)]), json!([])), ["0/2", "ExitCode:7", "0"]),
        (status("Pending", json!([]), json!([ended("", 0), waits("PodInitializing")])), ["0/2", "Init:1/0", "1"]),
        (status("Pending", json!([]), json!([ended("Error", 1)])), ["0/2", "Init:Error", "0"]),
        (status("Pending", json!([]), json!([waits("ImagePullBackOff")])), ["0/2", "Init:ImagePullBackOff", "1"]),
        (side, ["1/3", "Init:1/2", "7"]),
        (deleted, ["2/2", "Terminating", "6 (5m ago)"]),
        (lost, ["2/2", "Unknown", "6 (5m ago)"]),
        (gated, ["0/2", "SchedulingGated", "0"]),
    ] {
        let got = cells("", "v1", "pods", &pod);
        assert_eq!((&got[0][..], &got[1..4], &got[4][..]), ("p", &want.map(str::to_owned)[..], "8m"), "{pod}");
    }
}

#[test]
fn wide_cells_of_pods() {
    let pod = json!({"spec": {"nodeName": "n", "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]},
        "status": {"podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "y", "status": "True"}]}});
    assert_eq!(cells("", "v1", "pods", &pod)[4..], ["<unknown>", "10.0.0.1", "n", "<none>", "1/2"]);
}

#[test]
fn cells_of_other_kinds() {
    let age = "2024-05-06T07:08:04Z";
    let meta = json!({"name": "o", "creationTimestamp": age});
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
    let selector = json!({"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["b", "a"]}, {"key": "e", "operator": "Exists"}]});
    for (at, mut object, want) in [
        (
            ("apps", "v1", "deployments"),
            json!({"spec": {"replicas": 3, "template": template, "selector": selector}, "status": {"readyReplicas": 1, "updatedReplicas": 2}}),
            vec!["o", "1/3", "2", "0", "5s", "a,b", "x,y", "e,k in (a,b),z=1"],
        ),
        (("apps", "v1", "replicasets"), json!({"spec": {"replicas": 3}}), vec!["o", "3", "0", "0", "5s", "", "", "<none>"]),
        (
            ("", "v1", "services"),
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.43.0.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
            vec!["o", "LoadBalancer", "10.43.0.1", "<pending>", "80:30080/TCP,53/UDP", "5s", "<none>"],
        ),
        (
            ("", "v1", "services"),
            json!({"spec": {"type": "ExternalName", "externalName": "x.y", "selector": {"b": "c", "a": "b"}}}),
            vec!["o", "ExternalName", "<none>", "x.y", "<none>", "5s", "a=b,b=c"],
        ),
        (
            ("", "v1", "endpoints"),
            json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]}),
            vec!["o", "1.1.1.1:80,[fd00::1]:80,1.1.1.1:81 + 1 more...", "5s"],
        ),
        (
            ("discovery.k8s.io", "v1", "endpointslices"),
            json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "n"}, {}], "endpoints": [{"addresses": ["1"]}]}),
            vec!["o", "IPv4", "80,n,*", "1", "5s"],
        ),
        (
            ("networking.k8s.io", "v1", "ingresses"),
            json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}], "tls": [{}]}}),
            vec!["o", "<none>", "a,b,c + 1 more...", "", "80, 443", "5s"],
        ),
        (
            ("batch", "v1", "jobs"),
            json!({"spec": {"completions": 5}, "status": {"succeeded": 2, "startTime": "2024-05-06T07:07:09Z"}}),
            vec!["o", "Running", "2/5", "60s", "5s", "", "", "<none>"],
        ),
        (
            ("batch", "v1", "cronjobs"),
            json!({"spec": {"schedule": "* * * * *", "suspend": false}, "status": {"active": [{}], "lastScheduleTime": age}}),
            vec!["o", "* * * * *", "<none>", "False", "1", "5s", "5s", "", "", "<none>"],
        ),
        (
            ("", "v1", "persistentvolumeclaims"),
            json!({"spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
            vec!["o", "Bound", "v", "1Gi", "RWO", "s", "<unset>", "5s", "Filesystem"],
        ),
        (
            ("policy", "v1", "poddisruptionbudgets"),
            json!({"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}}),
            vec!["o", "50%", "N/A", "1", "5s"],
        ),
        (
            ("", "v1", "resourcequotas"),
            json!({"status": {"hard": {"pods": "10", "limits.cpu": "2"}, "used": {"pods": "3"}}}),
            vec!["o", "pods: 3/10", "limits.cpu: 0/2", "5s"],
        ),
        (
            ("rbac.authorization.k8s.io", "v1", "rolebindings"),
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
            vec!["o", "Role/r", "5s", "u", "", "n/s"],
        ),
        (
            ("autoscaling", "v2", "horizontalpodautoscalers"),
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 2, "maxReplicas": 4, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}, {"type": "Pods", "pods": {"target": {"averageValue": "5"}}}, {"type": "x"}]},
            "status": {"currentMetrics": [{"type": "Resource", "resource": {"current": {"averageUtilization": 50}}}]}}),
            vec!["o", "Deployment/d", "cpu: 50%/80%, <unknown>/5 + 1 more...", "2", "4", "0", "5s"],
        ),
        (
            ("storage.k8s.io", "v1", "csidrivers"),
            json!({"spec": {"tokenRequests": [{"audience": "a"}], "volumeLifecycleModes": ["Ephemeral"]}}),
            vec!["o", "true", "false", "false", "a", "false", "Ephemeral", "5s"],
        ),
        (
            ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"),
            json!({"spec": {"policyName": "p", "paramRef": {"selector": {"matchLabels": {"a": "b"}}}}}),
            vec!["o", "p", "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}", "5s"],
        ),
    ] {
        object["metadata"] = meta.clone();
        assert_eq!(cells(at.0, at.1, at.2, &object), want);
    }
}

#[test]
fn nodes_and_events() {
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "etcd"}}, "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
        "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.8", "architecture": "amd64", "containerRuntimeVersion": "ferry://1"}}});
    assert_eq!(
        cells("", "v1", "nodes", &node),
        [
            "n",
            "NotReady,SchedulingDisabled",
            "etcd,worker",
            "<unknown>",
            "v1.36.0",
            "10.0.0.2",
            "<none>",
            "<unknown>",
            "6.8 (amd64)",
            "ferry://1"
        ]
    );
    let event = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"}, "message": " hi\n",
        "source": {"component": "kubelet", "host": "n"}, "firstTimestamp": "2024-05-06T07:07:09Z", "lastTimestamp": null, "count": 0});
    assert_eq!(cells("", "v1", "events", &event), ["60s", "Normal", "Pulled", "pod/p", "spec", "kubelet, n", "hi", "60s", "1", "e"]);
    let series = json!({"eventTime": "2024-05-06T07:07:09.000000Z", "regarding": {"kind": "Node"}, "note": "x", "reportingController": "c", "series": {"count": 4, "lastObservedTime": "2024-05-06T07:08:08.5Z"}});
    assert_eq!(cells("events.k8s.io", "v1", "events", &series), ["0s", "", "", "node", "", "c", "x", "60s", "4", ""]);
}

#[test]
fn tables_carry_what_is_asked() {
    let pods = by_plural("", "v1", "pods").expect("pods");
    let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let t = table(pods, std::slice::from_ref(&pod), json!({"resourceVersion": "7"}), IncludeObject::Metadata, now());
    assert_eq!(t["rows"][0]["object"], json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "p"}}));
    assert_eq!(t["rows"][0]["conditions"][0]["reason"], "Failed");
    assert_eq!(t["columnDefinitions"][0], json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}));
    let printer = Printer::of(pods);
    assert_eq!(printer.row(&pod, IncludeObject::None, now())["object"], Value::Null);
    assert_eq!(printer.row(&pod, IncludeObject::Object, now())["object"], pod);
    assert_eq!(printer.table(vec![], json!({}), Headers::LeftOut)["columnDefinitions"], Value::Null);
    let custom = ResourceDescriptor { kind: "Widget".into(), group: "x.y".into(), ..ResourceDescriptor::default() };
    let t = table(
        &custom,
        &[json!({"metadata": {"name": "w", "creationTimestamp": "2024-05-06T07:08:09Z"}})],
        json!({}),
        IncludeObject::None,
        now(),
    );
    assert_eq!(t["rows"][0]["cells"], json!(["w", "2024-05-06T07:08:09Z"]));
}

proptest! {
    #[test]
    fn misshapen_objects_never_panic(n in 0usize..95, list in any::<bool>(), text in "[0-9TZ:.-]{0,25}") {
        let scrap = if list { json!([text]) } else { json!({"0": {"type": text}, "containers": text, "conditions": [text, {"type": 1}], "replicas": "x"}) };
        let object = json!({"metadata": {"name": scrap, "creationTimestamp": text, "labels": scrap}, "spec": scrap, "status": scrap, "subsets": [scrap], "ports": scrap});
        let resource = &builtin_resources()[n];
        prop_assert!(!Printer::of(resource).cells(&object, now()).is_empty());
    }
}
