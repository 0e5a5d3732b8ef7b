//! The labels and annotations by which a kubelet finds its pods in a runtime again, the same as upstream's.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::spec;

/// The pod's name.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// The pod's namespace.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The pod's UID.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// The container's name.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

const HASH: &str = "io.kubernetes.container.hash";
const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
const PORTS: &str = "io.kubernetes.container.ports";
const DELETION_GRACE: &str = "io.kubernetes.pod.deletionGracePeriod";
const TERMINATION_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";

/// What the annotations of a container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The hash of the specification that the container was made from.
    pub hash: String,
    /// How many containers of this name ran in the pod before.
    pub restart_count: i32,
    /// Where in the container the termination message is.
    pub termination_path: String,
    /// `File` or `FallbackToLogsOnError`.
    pub termination_policy: String,
    /// Seconds that the pod's containers get to end.
    pub termination_grace: Option<i64>,
}

/// The labels of a sandbox: the pod's own and the kubelet's.
pub fn sandbox(pod: &Pod) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(identity(pod));
    labels
}

/// The labels of a container.
pub fn container(pod: &Pod, name: &str) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = identity(pod).into_iter().collect();
    labels.insert(CONTAINER_NAME.into(), name.into());
    labels
}

/// The filter that finds all of a pod.
pub fn of_pod(uid: &str) -> HashMap<String, String> {
    HashMap::from([(POD_UID.to_owned(), uid.to_owned())])
}

fn identity(pod: &Pod) -> [(String, String); 3] {
    [
        (POD_NAME.into(), spec::name(pod).into()),
        (POD_NAMESPACE.into(), spec::namespace(pod).into()),
        (POD_UID.into(), spec::uid(pod).into()),
    ]
}

/// The annotations of a container.
pub fn annotations(pod: &Pod, container: &Container, restart_count: i32) -> HashMap<String, String> {
    let mut notes = HashMap::from([
        (HASH.to_owned(), hash(container)),
        (RESTART_COUNT.to_owned(), restart_count.to_string()),
        (TERMINATION_PATH.to_owned(), container.termination_message_path.clone().unwrap_or_default()),
        (TERMINATION_POLICY.to_owned(), container.termination_message_policy.clone().unwrap_or_default()),
    ]);
    if let Some(grace) = pod.metadata.deletion_grace_period_seconds {
        notes.insert(DELETION_GRACE.into(), grace.to_string());
    }
    if let Some(grace) = spec::of(pod).termination_grace_period_seconds {
        notes.insert(TERMINATION_GRACE.into(), grace.to_string());
    }
    let pre_stop = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    let ports = container.ports.as_ref().filter(|p| !p.is_empty());
    notes.extend(pre_stop.and_then(|h| Some((PRE_STOP.to_owned(), serde_json::to_string(h).ok()?))));
    notes.extend(ports.and_then(|p| Some((PORTS.to_owned(), serde_json::to_string(p).ok()?))));
    notes
}

/// Reads what [`annotations`] wrote; what is missing or broken reads as nothing.
pub fn read(annotations: &HashMap<String, String>) -> Noted {
    let text = |key: &str| annotations.get(key).cloned().unwrap_or_default();
    Noted {
        hash: text(HASH),
        restart_count: text(RESTART_COUNT).parse().unwrap_or(0),
        termination_path: text(TERMINATION_PATH),
        termination_policy: text(TERMINATION_POLICY),
        termination_grace: text(TERMINATION_GRACE).parse().ok(),
    }
}

/// A hash of what makes a running container obsolete when it changes: name and image.
pub fn hash(container: &Container) -> String {
    let text = serde_json::json!({ "image": container.image.as_deref().unwrap_or_default(), "name": container.name }).to_string();
    // FNV-1a, 32 bits: stable over versions of this program, which the standard library's hasher is not.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_reads_back() {
        let pod: Pod = serde_json::from_value(
            serde_json::json!({"metadata": {"uid": "u"}, "spec": {"containers": [], "terminationGracePeriodSeconds": 7}}),
        )
        .unwrap();
        let c = Container {
            name: "c".into(),
            image: Some("i".into()),
            termination_message_path: Some("/dev/termination-log".into()),
            ..Container::default()
        };
        let noted = read(&annotations(&pod, &c, 3));
        assert_eq!((noted.restart_count, noted.termination_grace, noted.termination_path.as_str()), (3, Some(7), "/dev/termination-log"));
        assert_eq!(noted.hash, hash(&c));
        assert_ne!(noted.hash, hash(&Container { image: Some("j".into()), ..c }));
        assert_eq!(read(&HashMap::new()), Noted::default());
    }
}
