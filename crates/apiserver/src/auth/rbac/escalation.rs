//! Nobody may hand out rights that they do not hold (upstream `pkg/registry/rbac`).

use std::collections::{BTreeMap, BTreeSet};

use api::ApiError;
use serde_json::Value;

use super::Rbac;
use super::rule::Rule;
use crate::auth::{Authorization, MASTERS};
use crate::identity::{Attributes, Decision, UserInfo};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses (403) a write of a `Role`, `ClusterRole`, `RoleBinding` or `ClusterRoleBinding` that would give away rights which the
/// user lacks, unless the user may `escalate` the role or `bind` the referenced role. Other kinds pass.
///
/// `old` is the stored object of an update. `namespace` is the request's, since the object may not carry it yet.
pub fn check(
    authorization: &Authorization,
    user: &UserInfo,
    kind: &str,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    if user.groups.iter().any(|g| g == MASTERS) || old.is_some_and(|old| only_for_the_collector(new, old)) {
        return Ok(());
    }
    match kind {
        "Role" => check_role(authorization, user, "roles", namespace, new, old),
        "ClusterRole" => check_role(authorization, user, "clusterroles", "", new, old),
        "RoleBinding" => check_binding(authorization, user, "rolebindings", namespace, new),
        "ClusterRoleBinding" => check_binding(authorization, user, "clusterrolebindings", "", new),
        _ => Ok(()),
    }
}

fn check_role(
    authorization: &Authorization,
    user: &UserInfo,
    resource: &str,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let name = text(new, "/metadata/name");
    let question = Attributes {
        user: user.clone(),
        verb: "escalate".into(),
        group: GROUP.into(),
        version: "*".into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: if old.is_some() { name.into() } else { String::new() },
        ..Attributes::default()
    };
    if matches!(authorization.decide(&question), Decision::Allow(_)) {
        return Ok(());
    }
    let refuse = |why: &str| ApiError::forbidden(GROUP, resource, name, why);
    let rules: Vec<Rule> = new.get("rules").and_then(|r| serde_json::from_value(r.clone()).ok()).unwrap_or_default();
    confirm(authorization.rbac(), user, namespace, &rules).map_err(|why| refuse(&why))?;
    if gathers(new) || old.is_some_and(gathers) {
        confirm(authorization.rbac(), user, namespace, &everything())
            .map_err(|_| refuse("must have cluster-admin privileges to use the aggregationRule"))?;
    }
    Ok(())
}

fn check_binding(authorization: &Authorization, user: &UserInfo, resource: &str, namespace: &str, new: &Value) -> Result<(), ApiError> {
    let (kind, role) = (text(new, "/roleRef/kind"), text(new, "/roleRef/name"));
    let role_resource = match kind {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        // Validation refuses other kinds.
        _ => return Ok(()),
    };
    let question = Attributes {
        user: user.clone(),
        verb: "bind".into(),
        group: text(new, "/roleRef/apiGroup").into(),
        version: "*".into(),
        resource: role_resource.into(),
        namespace: namespace.into(),
        name: role.into(),
        ..Attributes::default()
    };
    if matches!(authorization.decide(&question), Decision::Allow(_)) {
        return Ok(());
    }
    let Some(rules) = authorization.rbac().role_rules(kind, role, namespace) else {
        return Err(ApiError::not_found(GROUP, role_resource, role));
    };
    confirm(authorization.rbac(), user, namespace, &rules)
        .map_err(|why| ApiError::forbidden(GROUP, resource, text(new, "/metadata/name"), &why))
}

/// `Err` with the refusal's sentence unless the user's own rules cover all of `rules`.
fn confirm(rbac: &Rbac, user: &UserInfo, namespace: &str, rules: &[Rule]) -> Result<(), String> {
    let owned = rbac.rules_for(user, namespace);
    let missing: Vec<Rule> =
        rules.iter().flat_map(Rule::broken_down).filter(|wanted| !owned.iter().any(|rule| rule.covers(wanted))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = compacted(missing).iter().map(Rule::compact).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
    Err(format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        lines.join("\n")
    ))
}

/// Rules that differ only in their verbs become one.
fn compacted(rules: Vec<Rule>) -> Vec<Rule> {
    let mut out = Vec::new();
    let mut simple: BTreeMap<Rule, Rule> = BTreeMap::new();
    for rule in rules {
        if rule.non_resource_urls.is_empty() {
            let key = Rule { verbs: Vec::new(), ..rule.clone() };
            simple.entry(key).and_modify(|known| known.verbs.extend(rule.verbs.clone())).or_insert(rule);
        } else {
            out.push(rule);
        }
    }
    out.extend(simple.into_values());
    out
}

fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { api_groups: all(), resources: all(), verbs: all(), ..Rule::default() },
        Rule { non_resource_urls: all(), verbs: all(), ..Rule::default() },
    ]
}

fn gathers(role: &Value) -> bool {
    role.pointer("/aggregationRule/clusterRoleSelectors").and_then(Value::as_array).is_some_and(|s| !s.is_empty())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an update only touches what the garbage collector must be able to touch: owners and finalizers.
fn only_for_the_collector(new: &Value, old: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                meta.remove(key);
            }
        }
        object
    };
    bare(new) == bare(old)
}
