//! Deployments, replica sets, stateful sets, daemon sets, replication controllers, controller revisions.

use serde_json::{Value, json};

use super::at::{At, same};
use super::{format, labels, number, pod};
use crate::field::{Error, ErrorList};

const NO_MATCH: &str = "`selector` does not match template `labels`";
const OVER: &str = "cannot be greater than status.replicas";

/// The selector and template that all these kinds have; `kind` as it appears in sentences.
fn selector_and_template(spec: &At<'_, '_>, shown: (&str, &str), check: TemplateCheck, errs: &mut ErrorList) {
    let selector = spec.get("selector");
    if selector.is_set() {
        labels::selector(&selector, errs);
        if labels::is_blank(&selector) {
            selector.invalid(errs, &format!("empty selector is invalid for {}", shown.0));
        }
    } else {
        selector.required(errs, "");
    }
    template(spec, !selector.is_set() || labels::is_blank(&selector), shown.1, check, errs);
}

type TemplateCheck = fn(&At<'_, '_>, &mut ErrorList);

fn template(spec: &At<'_, '_>, blank: bool, kind: &str, check: TemplateCheck, errs: &mut ErrorList) {
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let own = metadata.get("labels");
    if !blank && !labels::matches(&spec.get("selector"), own.value()) {
        own.invalid(errs, NO_MATCH);
    }
    check(&template, errs);
    let pod_spec = template.get("spec");
    pod_spec.get("restartPolicy").one_of(errs, &["Always"]);
    if pod_spec.get("activeDeadlineSeconds").is_set() {
        pod_spec.get("activeDeadlineSeconds").forbidden(errs, &format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

pub(super) fn deployment(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    spec.get("replicas").not_negative(errs);
    selector_and_template(&spec, ("deployment", "ReplicaSet"), pod::template, errs);
    let strategy = spec.get("strategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "Recreate" if rolling.is_set() => rolling.forbidden(errs, "may not be specified when strategy `type` is 'Recreate'"),
        "Recreate" => {}
        "RollingUpdate" if !rolling.is_set() => rolling.required(errs, "this should be defaulted and never be nil"),
        "RollingUpdate" => {
            let (down, up) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            number::int_or_percent(&down, errs);
            number::int_or_percent(&up, errs);
            if number::is_nothing(&down) && number::is_nothing(&up) {
                down.invalid(errs, "may not be 0 when `maxSurge` is 0");
            }
            number::at_most_100_percent(&down, errs);
        }
        _ => errs.push(Error::not_supported(&strategy.path(), strategy.value().clone(), &["Recreate", "RollingUpdate"])),
    }
    number::counters(&spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], errs);
    let deadline = spec.get("progressDeadlineSeconds");
    if deadline.int().is_some_and(|d| d <= spec.get("minReadySeconds").int().unwrap_or(0)) {
        deadline.invalid(errs, "must be greater than minReadySeconds");
    }
}

pub(super) fn deployment_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    deployment(new, errs);
    fixed_selector(new, old, errs);
}

fn fixed_selector(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (new, old) = (new.get("spec"), old.get("spec"));
    new.get("selector").immutable(&old.get("selector"), errs);
}

pub(super) fn deployment_status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let status = new.get("status");
    let fields = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    number::counters(&status, &fields, errs);
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        number::not_more(&status, field, "replicas", OVER, errs);
    }
    number::not_more(&status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas", errs);
    number::not_decremented(&status, &old.get("status"), "collisionCount", errs);
}

pub(super) fn replica_set(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    number::counters(&spec, &["replicas", "minReadySeconds"], errs);
    // Upstream says "deployment" here too.
    selector_and_template(&spec, ("deployment", "ReplicaSet"), pod::template, errs);
}

pub(super) fn replica_set_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    replica_set(new, errs);
    fixed_selector(new, old, errs);
}

/// Also of a replication controller.
pub(super) fn replica_set_status(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    let status = new.get("status");
    let fields = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration", "terminatingReplicas"];
    number::counters(&status, &fields, errs);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        number::not_more(&status, field, "replicas", OVER, errs);
    }
    number::not_more(&status, "availableReplicas", "readyReplicas", "cannot be greater than readyReplicas", errs);
}

/// Its selector is a plain map.
pub(super) fn replication_controller(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    spec.get("minReadySeconds").not_negative(errs);
    let selector = spec.get("selector");
    if selector.is_empty() {
        selector.required(errs, "");
    }
    if !spec.get("replicas").is_set() {
        spec.get("replicas").required(errs, "");
    }
    spec.get("replicas").not_negative(errs);
    let template_at = spec.get("template");
    if !template_at.is_set() {
        return template_at.required(errs, "");
    }
    let metadata = template_at.get("metadata");
    let own = metadata.get("labels");
    if selector.entries().any(|(key, value)| own.value().get(key) != Some(value.value())) {
        own.invalid(errs, NO_MATCH);
    }
    template(&spec, true, "ReplicationController", pod::template, errs);
}

pub(super) fn stateful_set(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    for claim in spec.get("volumeClaimTemplates").items() {
        pod::claim_spec(&claim.get("spec"), errs);
    }
    let service = spec.get("serviceName");
    if !service.is_empty() {
        service.complain(errs, format::label_1123(service.str()));
    }
    stateful_set_spec(&spec, errs);
}

fn stateful_set_spec(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let policy = spec.get("podManagementPolicy");
    match policy.str() {
        "" => policy.required(errs, ""),
        "OrderedReady" | "Parallel" => {}
        _ => policy.invalid(errs, "must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.get("updateStrategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").str() {
        "" => strategy.required(errs, ""),
        "OnDelete" if rolling.is_set() => rolling.invalid(errs, "only allowed for updateStrategy 'RollingUpdate'"),
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.get("partition").not_negative(errs);
            let down = rolling.get("maxUnavailable");
            if down.is_set() {
                number::int_or_percent(&down, errs);
                if number::is_nothing(&down) {
                    down.invalid(errs, "cannot be 0");
                }
                number::at_most_100_percent(&down, errs);
            }
        }
        _ => strategy.invalid(errs, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    if retention.is_set() {
        retention.get("whenDeleted").one_of(errs, &["Delete", "Retain"]);
        retention.get("whenScaled").one_of(errs, &["Delete", "Retain"]);
    }
    number::counters(spec, &["replicas", "minReadySeconds"], errs);
    spec.get("ordinals").get("start").not_negative(errs);
    // The controller adds a volume per claim template, so mounts may name those.
    let whole = with_claim_volumes(spec.value());
    let bare = At::named("spec", &whole);
    selector_and_template(&bare, ("statefulset", "StatefulSet"), pod::template, errs);
}

fn with_claim_volumes(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let claims = spec.get("volumeClaimTemplates").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<Value> = claims.iter().filter_map(|c| c.pointer("/metadata/name").cloned()).collect();
    if let Some(pod) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) {
        // The controller sets these itself, whatever they are.
        pod.remove("hostname");
        pod.remove("subdomain");
        if !names.is_empty() {
            let own = pod.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
            let kept = own.into_iter().filter(|v| v.get("name").is_none_or(|n| !names.contains(n)));
            let added = names.iter().map(|n| json!({"name": n, "persistentVolumeClaim": {"claimName": n}}));
            let volumes: Vec<Value> = kept.chain(added).collect();
            pod.insert("volumes".to_owned(), volumes.into());
        }
    }
    spec
}

pub(super) fn stateful_set_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    const CHANGEABLE: &[&str] = &[
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    ];
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    stateful_set_spec(&new_spec, errs);
    let rest = |v: &Value| {
        let mut v = v.clone();
        if let Some(fields) = v.as_object_mut() {
            fields.retain(|key, _| !CHANGEABLE.contains(&key.as_str()));
        }
        v
    };
    if !same(&rest(new_spec.value()), &rest(old_spec.value())) {
        const WHY: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
            'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        new_spec.forbidden(errs, WHY);
    }
}

pub(super) fn stateful_set_status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let status = new.get("status");
    let fields =
        ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration", "collisionCount"];
    number::counters(&status, &fields, errs);
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        number::not_more(&status, field, "replicas", OVER, errs);
    }
    number::not_more(&status, "availableReplicas", "readyReplicas", "cannot be greater than status.readyReplicas", errs);
    number::not_decremented(&status, &old.get("status"), "collisionCount", errs);
}

pub(super) fn daemon_set(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let selector = spec.get("selector");
    labels::selector(&selector, errs);
    let blank = labels::is_blank(&selector);
    if selector.is_set() && blank {
        selector.invalid(errs, "empty selector is invalid for daemonset");
    }
    template(&spec, selector.is_set() && blank, "DaemonSet", pod::template, errs);
    number::counters(&spec, &["minReadySeconds", "revisionHistoryLimit"], errs);
    let strategy = spec.get("updateStrategy");
    match strategy.get("type").str() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.get("rollingUpdate");
            if !rolling.is_set() {
                return rolling.required(errs, "");
            }
            let (down, up) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            for at in [&down, &up] {
                number::int_or_percent(at, errs);
            }
            for at in [&down, &up] {
                number::at_most_100_percent(at, errs);
            }
            match (number::is_nothing(&down), number::is_nothing(&up)) {
                (false, false) => up.invalid(errs, "may not be set when maxUnavailable is non-zero"),
                (true, true) => down.required(errs, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => errs.push(Error::not_supported(&strategy.path(), strategy.value().clone(), &["OnDelete", "RollingUpdate"])),
    }
}

pub(super) fn daemon_set_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    fixed_selector(new, old, errs);
    daemon_set(new, errs);
}

pub(super) fn daemon_set_status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let status = new.get("status");
    let fields = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    number::counters(&status, &fields, errs);
    number::not_decremented(&status, &old.get("status"), "collisionCount", errs);
}

pub(super) fn controller_revision(o: &At<'_, '_>, errs: &mut ErrorList) {
    o.get("revision").not_negative(errs);
    let data = o.get("data");
    if !data.is_set() {
        data.required(errs, "data is mandatory");
    } else if !data.value().is_object() {
        data.required(errs, "data must be a valid JSON object");
    }
}

pub(super) fn controller_revision_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    new.get("revision").not_negative(errs);
    new.get("data").immutable(&old.get("data"), errs);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validation::tests::shown;
    use crate::validation::{create, update, update_status};

    fn workload(kind: &str) -> Value {
        let mut object = json!({
            "metadata": {"name": "w", "namespace": "default", "resourceVersion": "1"},
            "spec": {"selector": {"matchLabels": {"app": "w"}},
                "template": {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}},
        });
        crate::defaults::apply(("apps", "v1", kind), &mut object);
        object
    }

    fn with(mut object: Value, pointer: &str, value: Value) -> Value {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        object
    }

    #[test]
    fn bad_workloads_are_refused() {
        let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`";
        for (kind, pointer, value, want) in [
            ("Deployment", "/spec/replicas", json!(3), vec![]),
            ("ReplicaSet", "/spec/replicas", json!(3), vec![]),
            ("StatefulSet", "/spec/replicas", json!(3), vec![]),
            ("DaemonSet", "/spec/minReadySeconds", json!(3), vec![]),
            ("Deployment", "/spec/template/metadata/labels", json!({"app": "x"}), vec![mismatch]),
            ("ReplicaSet", "/spec/template/metadata/labels", json!({"app": "x"}), vec![mismatch]),
            ("StatefulSet", "/spec/template/metadata/labels", json!({"app": "x"}), vec![mismatch]),
            ("DaemonSet", "/spec/template/metadata/labels", json!({"app": "x"}), vec![mismatch]),
            ("Deployment", "/spec/selector", Value::Null, vec!["spec.selector: Required value"]),
            ("Deployment", "/spec/selector", json!({}), vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
            ("Deployment", "/spec/replicas", json!(-1), vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
            ("Deployment", "/spec/template/spec/containers", json!([]), vec!["spec.template.spec.containers: Required value"]),
            (
                "Deployment",
                "/spec/template/spec/restartPolicy",
                json!("Never"),
                vec!["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            ),
            (
                "Deployment",
                "/spec/template/metadata/labels",
                json!({"app": "w", "a b": "c"}),
                vec![
                    "spec.template.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                ],
            ),
            (
                "Deployment",
                "/spec/strategy/rollingUpdate",
                json!({"maxUnavailable": "0%", "maxSurge": 0}),
                vec!["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"],
            ),
            (
                "Deployment",
                "/spec/strategy/type",
                json!("Recreate"),
                vec!["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            (
                "Deployment",
                "/spec/progressDeadlineSeconds",
                json!(0),
                vec!["spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds"],
            ),
            (
                "StatefulSet",
                "/spec/volumeClaimTemplates",
                json!([{"metadata": {"name": "d"}, "spec": {"accessModes": []}}]),
                vec![
                    "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
                    "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
                ],
            ),
            (
                "DaemonSet",
                "/spec/updateStrategy/rollingUpdate",
                json!({"maxUnavailable": 0, "maxSurge": 0}),
                vec!["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
            ),
        ] {
            assert_eq!(
                shown(&create("apps", "v1", kind, &with(workload(kind), pointer, value.clone()))),
                want,
                "{kind} {pointer} = {value}"
            );
        }
    }

    #[test]
    fn selectors_stay_and_stateful_sets_hardly_change() {
        for kind in ["Deployment", "ReplicaSet", "DaemonSet"] {
            let mut new = with(workload(kind), "/spec/selector/matchLabels", json!({"app": "x"}));
            new = with(new, "/spec/template/metadata/labels", json!({"app": "x"}));
            assert_eq!(
                shown(&update("apps", "v1", kind, &new, &workload(kind))),
                ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"]
            );
        }
        let set = workload("StatefulSet");
        assert_eq!(shown(&update("apps", "v1", "StatefulSet", &with(set.clone(), "/spec/replicas", json!(5)), &set)), [""; 0]);
        assert_eq!(
            shown(&update("apps", "v1", "StatefulSet", &with(set.clone(), "/spec/serviceName", json!("x")), &set)),
            ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
              'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"]
        );
        let mut new = workload("Deployment");
        new["status"] = json!({"replicas": 1, "readyReplicas": 2});
        assert_eq!(
            shown(&update_status("apps", "v1", "Deployment", &new, &workload("Deployment"))),
            ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]
        );
    }
}
