//! Questions that many controllers ask about pods, and pods made from templates.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The longest name prefix that still leaves room for a generated suffix is checked by the API server; this is its rule
/// for a whole name (a DNS subdomain).
const MAX_NAME: usize = 253;

/// The pod's phase, or an empty word.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether all its containers have ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it has been told to go.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts as one of its owner's replicas.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

/// A condition by its type.
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_deref()?.iter().find(|c| c.type_ == type_)
}

/// Whether its Ready condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when it is ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

/// How long until a ready pod counts as available: zero if it does now, `None` if it is not ready.
pub fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<SignedDuration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(SignedDuration::ZERO);
    }
    let due = ready_since(pod)?.checked_add(SignedDuration::from_secs(min_ready_seconds.into())).ok()?;
    Some(due.duration_since(now).max(SignedDuration::ZERO))
}

/// Whether it has been ready for `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready_seconds, now).is_some_and(|wait| wait.is_zero())
}

/// The node it is bound to, or an empty word.
pub fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// The sum over its containers of their restarts is not asked for: the highest single count is.
pub fn max_restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
    statuses.iter().map(|s| s.restart_count).max().unwrap_or(0)
}

/// A pod as the template describes it, named after its owner by the API server.
pub fn from_template(template: &PodTemplateSpec, namespace: &str, owner: &OwnerReference) -> Pod {
    let of = template.metadata.as_ref();
    let with_dash = format!("{}-", owner.name);
    let metadata = ObjectMeta {
        generate_name: Some(if with_dash.len() <= MAX_NAME { with_dash } else { owner.name.clone() }),
        namespace: Some(namespace.to_owned()),
        labels: of.and_then(|m| m.labels.clone()),
        annotations: of.and_then(|m| m.annotations.clone()),
        finalizers: of.and_then(|m| m.finalizers.clone()),
        owner_references: Some(vec![owner.clone()]),
        ..Default::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// A pod in few words, for tests: see [`tests::pod`].
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Words after the name: `node=N`, `ready=T` (running and ready since second T), `phase=P`, `deleting`, `ip=A`,
    /// `created=T`, `label=K:V`, `owner=UID`, `cost=N`.
    pub(crate) fn pod(text: &str) -> Pod {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let metadata = ObjectMeta {
            uid: Some(format!("uid-{name}")),
            name: Some(name),
            namespace: Some("ns".into()),
            creation_timestamp: Some(Time(at(0))),
            ..Default::default()
        };
        let mut pod = Pod { metadata, spec: Some(PodSpec::default()), status: Some(PodStatus::default()) };
        for word in words {
            apply(&mut pod, word);
        }
        pod
    }

    fn apply(pod: &mut Pod, word: &str) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let status = pod.status.get_or_insert_default();
        match key {
            "node" => pod.spec.get_or_insert_default().node_name = Some(value.into()),
            "phase" => status.phase = Some(value.into()),
            "ip" => {
                status.pod_ip = Some(value.into());
                let ip = k8s_openapi::api::core::v1::PodIP { ip: value.into() };
                status.pod_ips.get_or_insert_default().push(ip);
            }
            "ready" => {
                status.phase = Some("Running".into());
                let ready = PodCondition {
                    type_: "Ready".into(),
                    status: "True".into(),
                    last_transition_time: Some(Time(at(value.parse().unwrap()))),
                    ..Default::default()
                };
                status.conditions.get_or_insert_default().push(ready);
            }
            "deleting" => pod.metadata.deletion_timestamp = Some(Time(at(1))),
            "created" => pod.metadata.creation_timestamp = Some(Time(at(value.parse().unwrap()))),
            "label" => {
                let (k, v) = value.split_once(':').unwrap();
                pod.metadata.labels.get_or_insert_default().insert(k.into(), v.into());
            }
            "owner" => {
                let owner = OwnerReference { uid: value.into(), controller: Some(true), ..Default::default() };
                pod.metadata.owner_references = Some(vec![owner]);
            }
            "cost" => {
                let key = "controller.kubernetes.io/pod-deletion-cost".to_owned();
                pod.metadata.annotations.get_or_insert_default().insert(key, value.into());
            }
            other => panic!("unknown word {other}"),
        }
    }

    #[test]
    fn a_pod_is_available_only_after_being_ready_long_enough() {
        let p = pod("a ready=100");
        assert!(is_available(&p, 0, at(100)));
        assert!(!is_available(&p, 10, at(105)));
        assert_eq!(available_in(&p, 10, at(105)), Some(SignedDuration::from_secs(5)));
        assert!(is_available(&p, 10, at(110)));
        assert_eq!(available_in(&pod("b phase=Running"), 10, at(110)), None);
    }
}
