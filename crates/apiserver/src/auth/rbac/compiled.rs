//! Roles and bindings in the form that questions need: bindings by subject, roles by name.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::rule::{Rule, list};
use super::{Granted, aggregation};
use crate::auth::objects::{Objects, Stored, keys};
use crate::identity::UserInfo;

/// A binding and whom it binds.
#[derive(Debug)]
pub(super) struct Binding {
    name: String,
    namespace: String,
    role_kind: String,
    role_name: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    namespace: Option<String>,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawRole {
    metadata: Meta,
    #[serde(deserialize_with = "list")]
    rules: Vec<Rule>,
    aggregation_rule: Option<aggregation::Aggregation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawBinding {
    metadata: Meta,
    #[serde(deserialize_with = "list")]
    subjects: Vec<Subject>,
    role_ref: RawRoleRef,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawRoleRef {
    kind: String,
    name: String,
}

/// Where a subject stands in a binding.
type Place = (Arc<Binding>, usize);

/// Everything that decides, at one moment.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) revisions: [u64; 4],
    roles: HashMap<(String, String), Arc<[Rule]>>,
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    /// By namespace (empty for the cluster) and subject.
    bindings: HashMap<String, BySubject>,
}

#[derive(Debug, Default)]
struct BySubject {
    users: HashMap<String, Vec<Place>>,
    groups: HashMap<String, Vec<Place>>,
}

/// Keeps what was parsed, so that a change costs what changed.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    roles: HashMap<Arc<str>, (u64, Arc<aggregation::Role>)>,
    bindings: HashMap<Arc<str>, (u64, Arc<Binding>)>,
}

impl Binding {
    fn from_json(stored: &Stored) -> Option<Self> {
        let raw: RawBinding = serde_json::from_slice(&stored.json).ok()?;
        Some(Self {
            name: raw.metadata.name,
            namespace: raw.metadata.namespace.unwrap_or_default(),
            role_kind: raw.role_ref.kind,
            role_name: raw.role_ref.name,
            subjects: raw.subjects,
        })
    }

    /// `ClusterRoleBinding "a" of ClusterRole "b" to Group "c"`.
    pub(super) fn describe(&self, subject: usize) -> String {
        let whom = self.subjects.get(subject).map(|s| match s.kind.as_str() {
            "ServiceAccount" => {
                let namespace = s.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(&self.namespace);
                format!("ServiceAccount {:?}", format!("{}/{namespace}", s.name))
            }
            kind => format!("{kind} {:?}", s.name),
        });
        let (kind, name) = match self.namespace.as_str() {
            "" => ("ClusterRoleBinding", self.name.clone()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        format!("{kind} {name:?} of {} {:?} to {}", self.role_kind, self.role_name, whom.unwrap_or_default())
    }
}

impl BySubject {
    fn add(&mut self, binding: &Arc<Binding>) {
        for (i, subject) in binding.subjects.iter().enumerate() {
            let place = (binding.clone(), i);
            match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()).or_default().push(place),
                "Group" => self.groups.entry(subject.name.clone()).or_default().push(place),
                "ServiceAccount" => {
                    let namespace = subject.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(&binding.namespace);
                    if !namespace.is_empty() {
                        let user = format!("system:serviceaccount:{namespace}:{}", subject.name);
                        self.users.entry(user).or_default().push(place);
                    }
                }
                _ => {}
            }
        }
    }

    fn of<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Place> {
        let by_name = self.users.get(&user.name).into_iter().flatten();
        by_name.chain(user.groups.iter().filter_map(|g| self.groups.get(g)).flatten())
    }
}

impl Compiled {
    /// Shows the user's rules one by one until `visit` answers false. Returns complaints about roles that do not exist.
    pub(super) fn visit(&self, user: &UserInfo, namespace: &str, mut visit: impl FnMut(&Granted<'_>) -> bool) -> Vec<String> {
        let mut missing = Vec::new();
        let local = (!namespace.is_empty()).then(|| self.bindings.get(namespace)).flatten();
        for (binding, subject) in self.bindings.get("").into_iter().chain(local).flat_map(|b| b.of(user)) {
            let Some(rules) = self.role(&binding.role_kind, &binding.role_name, &binding.namespace) else {
                missing.push(missing_role(binding));
                continue;
            };
            for rule in rules.iter() {
                if !visit(&Granted { rule, binding, subject: *subject }) {
                    return missing;
                }
            }
        }
        missing
    }

    pub(super) fn role(&self, kind: &str, name: &str, namespace: &str) -> Option<&Arc<[Rule]>> {
        match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            "Role" => self.roles.get(&(namespace.to_owned(), name.to_owned())),
            _ => None,
        }
    }
}

fn missing_role(binding: &Binding) -> String {
    match binding.role_kind.as_str() {
        "ClusterRole" => format!("clusterrole.rbac.authorization.k8s.io {:?} not found", binding.role_name),
        "Role" => format!("role.rbac.authorization.k8s.io {:?} not found", binding.role_name),
        other => format!("unsupported role reference kind: {other:?}"),
    }
}

impl Compiler {
    pub(super) fn compile(&mut self, objects: &dyn Objects, revisions: [u64; 4]) -> Compiled {
        let mut out = Compiled { revisions, ..Compiled::default() };
        let cluster_roles = self.roles_at(objects, keys::CLUSTER_ROLES);
        let local_roles = self.roles_at(objects, keys::ROLES);
        let bindings = self.bindings_at(objects);
        for role in &cluster_roles {
            out.cluster_roles.insert(role.name.clone(), aggregation::rules(role, &cluster_roles));
        }
        for role in local_roles {
            out.roles.insert((role.namespace.clone(), role.name.clone()), role.rules.clone());
        }
        for binding in bindings {
            out.bindings.entry(binding.namespace.clone()).or_default().add(&binding);
        }
        out
    }

    fn roles_at(&mut self, objects: &dyn Objects, prefix: &str) -> Vec<Arc<aggregation::Role>> {
        let stored = objects.list(prefix);
        let out: Vec<_> = stored.iter().filter_map(|s| self.role(s)).collect();
        if self.roles.len() > 2 * stored.len() + 64 {
            // Deleted roles pile up; parsing again is cheap and rare.
            self.roles.clear();
        }
        out
    }

    fn role(&mut self, stored: &Stored) -> Option<Arc<aggregation::Role>> {
        if let Some((revision, known)) = self.roles.get(&stored.key)
            && *revision == stored.revision
        {
            return Some(known.clone());
        }
        let raw: RawRole = serde_json::from_slice(&stored.json).ok()?;
        let role = Arc::new(aggregation::Role {
            name: raw.metadata.name,
            namespace: raw.metadata.namespace.unwrap_or_default(),
            labels: raw.metadata.labels.unwrap_or_default(),
            rules: raw.rules.into(),
            aggregation: raw.aggregation_rule,
        });
        self.roles.insert(stored.key.clone(), (stored.revision, role.clone()));
        Some(role)
    }

    fn bindings_at(&mut self, objects: &dyn Objects) -> Vec<Arc<Binding>> {
        let mut stored = objects.list(keys::CLUSTER_ROLE_BINDINGS);
        stored.extend(objects.list(keys::ROLE_BINDINGS));
        let mut kept = HashMap::with_capacity(stored.len());
        for s in &stored {
            let known = self.bindings.remove(&s.key).filter(|(revision, _)| *revision == s.revision).map(|(_, binding)| binding);
            if let Some(binding) = known.or_else(|| Binding::from_json(s).map(Arc::new)) {
                kept.insert(s.key.clone(), (s.revision, binding));
            }
        }
        self.bindings = kept;
        stored.iter().filter_map(|s| self.bindings.get(&s.key).map(|(_, b)| b.clone())).collect()
    }
}
