//! Whether a container is started again, by the pod's policy, the container's own, and its exit code rules (KEP-5307).

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use crate::spec::{self, Policy};
use crate::view::{RunState, View};

/// Whether a container that ended with `exit_code` is started again. The container's rules come first, then its own policy,
/// then the pod's.
pub fn after_exit(container: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    let rules = container.restart_policy_rules.iter().flatten();
    for rule in rules.filter(|_| container.restart_policy.is_some()) {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|v| *v == exit_code);
        let matches = if codes.operator == "NotIn" { !listed } else { listed };
        if matches {
            return rule.action.starts_with("Restart");
        }
    }
    match effective_policy(container, spec) {
        Policy::Always => true,
        Policy::OnFailure => exit_code != 0,
        Policy::Never => false,
    }
}

/// The container's own policy, or else the pod's.
pub fn effective_policy(container: &Container, spec: &PodSpec) -> Policy {
    spec::policy(container.restart_policy.as_deref()).unwrap_or_else(|| spec::restart_policy(spec))
}

/// Whether the container ought to be started now, as far as policy is concerned.
pub fn wanted(container: &Container, pod: &Pod, view: &View) -> bool {
    if spec::is_deleting(pod) {
        return false;
    }
    let Some(last) = view.latest(&container.name) else { return true };
    match last.state {
        RunState::Running => false,
        RunState::Unknown | RunState::Created => true,
        RunState::Exited => after_exit(container, spec::of(pod), last.exit_code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_then_own_policy_then_the_pods() {
        let spec = |policy: &str| serde_json::from_value::<PodSpec>(json!({"containers": [], "restartPolicy": policy})).unwrap();
        let plain = Container::default();
        for (policy, after_success, after_failure) in [("Always", true, true), ("OnFailure", false, true), ("Never", false, false)] {
            assert_eq!(after_exit(&plain, &spec(policy), 0), after_success, "{policy}");
            assert_eq!(after_exit(&plain, &spec(policy), 1), after_failure, "{policy}");
        }
        let ruled: Container = serde_json::from_value(json!({"name": "c", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}))
        .unwrap();
        assert!(after_exit(&ruled, &spec("Always"), 42));
        assert!(!after_exit(&ruled, &spec("Always"), 1));
    }
}
