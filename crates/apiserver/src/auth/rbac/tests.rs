use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::auth::objects::fake::Fake;
use crate::auth::{Authorization, bootstrap};

fn key(object: &Value) -> String {
    let resource = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/registry/{resource}/{namespace}/{name}"),
        None => format!("/registry/{resource}/{name}"),
    }
}

fn cluster() -> (Arc<Fake>, Authorization) {
    let objects = Arc::new(Fake::default());
    for object in bootstrap::objects() {
        objects.put(&key(&object), &object);
    }
    let authorization = Authorization::new(objects.clone());
    (objects, authorization)
}

fn ask(user: &UserInfo, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        user: user.clone(),
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

fn bind(objects: &Fake, namespace: Option<&str>, role: (&str, &str), subject: Value) {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let mut binding = json!({"kind": kind, "metadata": {"name": "b"}, "roleRef": {"kind": role.0, "name": role.1}, "subjects": [subject]});
    if let Some(namespace) = namespace {
        binding["metadata"]["namespace"] = json!(namespace);
    }
    objects.put(&key(&binding), &binding);
}

#[test]
fn the_default_roles_decide() {
    let (objects, authorization) = cluster();
    let bob = UserInfo::new("bob", &["system:authenticated"]);
    let scheduler = UserInfo::new("system:kube-scheduler", &["system:authenticated"]);
    let deployer = UserInfo::new("system:serviceaccount:kube-system:deployment-controller", &["system:serviceaccounts"]);
    let master = UserInfo::new("root", &["system:masters"]);
    bind(&objects, Some("dev"), ("ClusterRole", "edit"), json!({"kind": "User", "name": "bob"}));
    for (question, allowed) in [
        (ask(&bob, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", ""), true),
        (ask(&bob, "list", "", "pods", "default", ""), false),
        (ask(&bob, "create", "apps", "deployments", "dev", ""), true),
        (ask(&bob, "get", "", "pods/log", "dev", "p"), true),
        (ask(&bob, "create", "rbac.authorization.k8s.io", "roles", "dev", ""), false),
        (ask(&scheduler, "create", "", "pods/binding", "default", "p"), true),
        (ask(&scheduler, "get", "", "secrets", "default", "s"), false),
        (ask(&scheduler, "update", "coordination.k8s.io", "leases", "kube-system", "kube-scheduler"), true),
        (ask(&deployer, "create", "apps", "replicasets", "dev", ""), true),
        (ask(&deployer, "create", "", "secrets", "dev", ""), false),
        (ask(&master, "delete", "any", "thing", "", "x"), true),
        (Attributes { user: bob.clone(), verb: "get".into(), path: "/healthz".into(), ..Attributes::default() }, true),
        (Attributes { user: bob.clone(), verb: "get".into(), path: "/apis/apps/v1".into(), ..Attributes::default() }, true),
        (Attributes { user: bob.clone(), verb: "get".into(), path: "/metrics".into(), ..Attributes::default() }, false),
        (Attributes { user: crate::auth::anonymous(), verb: "get".into(), path: "/version".into(), ..Attributes::default() }, true),
        (Attributes { user: crate::auth::anonymous(), verb: "get".into(), path: "/api".into(), ..Attributes::default() }, false),
    ] {
        let decision = authorization.decide(&question);
        assert_eq!(matches!(decision, Decision::Allow(_)), allowed, "{question:?}: {decision:?}");
    }
    let reason = authorization.decide(&ask(&bob, "create", "apps", "deployments", "dev", ""));
    assert_eq!(reason, Decision::Allow(r#"RBAC: allowed by RoleBinding "b/dev" of ClusterRole "edit" to User "bob""#.into()));
}

#[test]
fn changes_count_at_once() {
    let (objects, authorization) = cluster();
    let bob = UserInfo::new("bob", &[]);
    let question = ask(&bob, "get", "", "pods", "", "p");
    assert_eq!(authorization.decide(&question), Decision::NoOpinion(String::new()));
    bind(&objects, None, ("ClusterRole", "reader"), json!({"kind": "User", "name": "bob"}));
    assert_eq!(
        authorization.decide(&question),
        Decision::NoOpinion(r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#.into())
    );
    let mut role = json!({"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["p"]}]});
    objects.put(&key(&role), &role);
    assert!(matches!(authorization.decide(&question), Decision::Allow(_)));
    assert!(!matches!(authorization.decide(&Attributes { name: "q".into(), ..question.clone() }), Decision::Allow(_)));
    role["rules"] = Value::Null;
    objects.put(&key(&role), &role);
    assert_eq!(authorization.decide(&question), Decision::NoOpinion(String::new()));
}

#[test]
fn nobody_gives_what_he_does_not_have() {
    let (objects, authorization) = cluster();
    let bob = UserInfo::new("bob", &["dev"]);
    bind(&objects, Some("dev"), ("ClusterRole", "admin"), json!({"kind": "User", "name": "bob"}));
    let check = |kind: &str, namespace: &str, new: &Value| escalation::check(&authorization, &bob, kind, namespace, new, None);
    let role = |rule: Value| json!({"kind": "Role", "metadata": {"name": "r"}, "rules": [rule]});

    check("Role", "dev", &role(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}))).unwrap();
    let refused = check("Role", "dev", &role(json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}))).unwrap_err();
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"bob\" (groups=[\"dev\"]) is attempting to grant RBAC permissions not \
         currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}"
    );
    let binding = |role: &str| json!({"metadata": {"name": "x"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}});
    check("RoleBinding", "dev", &binding("view")).unwrap();
    assert_eq!(check("RoleBinding", "dev", &binding("cluster-admin")).unwrap_err().code, 403);
    assert_eq!(check("ClusterRoleBinding", "", &binding("view")).unwrap_err().code, 403);
    assert_eq!(check("RoleBinding", "dev", &binding("nothing")).unwrap_err().code, 404);
    let gathering = json!({"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
    assert_eq!(
        check("ClusterRole", "", &gathering).unwrap_err().message,
        "clusterroles.rbac.authorization.k8s.io \"g\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
    );
    let master = UserInfo::new("root", &["system:masters"]);
    escalation::check(&authorization, &master, "ClusterRoleBinding", "", &binding("cluster-admin"), None).unwrap();
}
