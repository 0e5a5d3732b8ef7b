//! Cluster roles with an aggregation rule hold the rules of all roles that it selects (`admin`, `edit`, `view`).

use std::sync::Arc;

use client::{Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::PostParams;
use kube::core::{Selector, SelectorExt as _};
use kube::{Api, ResourceExt as _};

use crate::context::{Context, is_not_found};

/// Roles worked on at the same time.
const WORKERS: usize = 2;

#[derive(Debug, thiserror::Error)]
#[error("aggregating cluster role {name}: {source}")]
struct Error {
    name: String,
    source: Box<kube::Error>,
}

/// Serves cluster roles until dropped.
pub async fn run(context: Context) {
    let roles: Informer<ClusterRole> = context.informers.of();
    roles.synced().await;
    let queue: WorkQueue<String> = WorkQueue::default();
    let (work, known) = (queue.clone(), roles.clone());
    // Any role's change can matter to any aggregate, and aggregates are few.
    roles.on_change(move |change| {
        if change.object().aggregation_rule.is_some() {
            work.add(change.object().name_any());
        }
        known.list().iter().filter(|r| r.aggregation_rule.is_some()).for_each(|r| work.add(r.name_any()));
    });
    let shared = Arc::new((context, roles));
    run_workers("clusterroles", queue, WORKERS, move |name| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, &name).await.map_err(|e| Error { name, source: Box::new(e) }) }
    })
    .await;
}

async fn sync(context: &Context, roles: &Informer<ClusterRole>, name: &str) -> Result<(), kube::Error> {
    let Some(role) = roles.get(&ObjectKey::new("", name)) else {
        return Ok(());
    };
    let Some(rules) = plan(&role, &roles.list()) else {
        return Ok(());
    };
    let mut role = role.as_ref().clone();
    role.rules = Some(rules);
    let api: Api<ClusterRole> = Api::all(context.client.clone());
    match api.replace(name, &PostParams::default(), &role).await {
        Err(error) if is_not_found(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The rules to write, or `None` if they are right or the role does not aggregate. In the order of the roles' names, each
/// rule once.
pub fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let rule = role.aggregation_rule.as_ref()?;
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in rule.cluster_role_selectors.iter().flatten() {
        let Ok(selector) = Selector::try_from(selector.clone()) else {
            continue;
        };
        for other in all.iter().filter(|o| o.name_any() != role.name_any() && selector.matches(o.labels())) {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    (role.rules.as_deref().unwrap_or_default() != rules).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_aggregate_holds_the_rules_of_the_selected_roles() {
        let role = |text: serde_json::Value| -> Arc<ClusterRole> { Arc::new(serde_json::from_value(text).unwrap()) };
        let part = |name: &str, label: &str, verb: &str| {
            role(json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": [{"verbs": [verb]}]}))
        };
        let all = [part("a", "edit", "get"), part("b", "edit", "list"), part("c", "edit", "get"), part("d", "view", "watch")];
        let whole = role(json!({"metadata": {"name": "edit"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "edit"}}]}}));
        let rules = plan(&whole, &all).unwrap();
        assert_eq!(rules.iter().map(|r| r.verbs[0].as_str()).collect::<Vec<_>>(), ["get", "list"]);
        let done = Arc::new(ClusterRole { rules: Some(rules), ..whole.as_ref().clone() });
        assert_eq!(plan(&done, &all), None);
        assert_eq!(plan(&all[0], &all), None);
    }
}
