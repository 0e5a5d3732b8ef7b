//! Discovery documents: which groups, versions and resources are served.
//!
//! Both forms are made from the list of served resources: the old one (`APIVersions`, `APIGroupList`, `APIGroup`,
//! `APIResourceList`) and the aggregated one (`apidiscovery.k8s.io/v2`).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::meta::gvk::api_version;
use crate::resources::{ResourceDescriptor, Subresource};

/// The media type of aggregated discovery, as asked for and as answered.
pub const AGGREGATED_MEDIA_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The groups that come first in lists, in kube-apiserver's order; all others follow by name.
const GROUP_ORDER: [&str; 20] = [
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// Which half of the API an aggregated document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all other groups.
    Groups,
}

/// The served resources, sorted into groups and versions.
#[derive(Clone, Debug)]
pub struct Discovery<'a> {
    /// In the order of lists.
    groups: Vec<(&'a str, Versions<'a>)>,
}

/// The versions of a group by preference, each with its resources by name.
type Versions<'a> = Vec<(&'a str, Vec<&'a ResourceDescriptor>)>;

impl<'a> Discovery<'a> {
    /// Sorts the served resources.
    pub fn new(served: impl IntoIterator<Item = &'a ResourceDescriptor>) -> Self {
        let mut tree: BTreeMap<&str, BTreeMap<&str, Vec<&ResourceDescriptor>>> = BTreeMap::new();
        for r in served {
            tree.entry(&r.group).or_default().entry(&r.version).or_default().push(r);
        }
        let mut groups: Vec<_> = tree
            .into_iter()
            .map(|(group, versions)| {
                let mut versions: Vec<_> = versions.into_iter().collect();
                versions.sort_by(|a, b| compare_versions(a.0, b.0));
                for (_, list) in &mut versions {
                    list.sort_by(|a, b| a.plural.cmp(&b.plural));
                }
                (group, versions)
            })
            .collect();
        let place = |group: &str| GROUP_ORDER.iter().position(|g| *g == group).unwrap_or(GROUP_ORDER.len());
        groups.sort_by(|a, b| (place(a.0), a.0).cmp(&(place(b.0), b.0)));
        Self { groups }
    }

    /// `/api`. `address` is host and port under which clients reach the server.
    pub fn api_versions(&self, address: &str) -> Value {
        json!({
            "kind": "APIVersions",
            "versions": self.versions("").unwrap_or_default(),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })
    }

    /// `/apis`.
    pub fn group_list(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().filter(|g| !g.0.is_empty()).filter_map(|g| self.group_fields(g.0)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// `/apis/GROUP`.
    pub fn group(&self, group: &str) -> Option<Value> {
        let mut out = self.group_fields(group).filter(|_| !group.is_empty())?;
        let mut out = std::mem::take(out.as_object_mut()?);
        out.insert("kind".into(), json!("APIGroup"));
        out.insert("apiVersion".into(), json!("v1"));
        Some(Value::Object(out))
    }

    /// `/api/v1` and `/apis/GROUP/VERSION`.
    pub fn resource_list(&self, group: &str, version: &str) -> Option<Value> {
        let list = self.resources(group, version)?;
        let mut rows: Vec<Value> = Vec::new();
        for r in list {
            rows.push(resource_row(r));
            rows.extend(r.subresources.iter().map(|s| subresource_row(r, s)));
        }
        rows.sort_by(|a, b| row_name(a).cmp(row_name(b)));
        let group_version = api_version(group, version);
        // The core group's list has never said its version.
        Some(match group {
            "" => json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": rows}),
            _ => json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}),
        })
    }

    /// `/api` or `/apis` in the aggregated form, [`AGGREGATED_MEDIA_TYPE`].
    pub fn aggregated(&self, root: Root) -> Value {
        let ours = |g: &str| g.is_empty() == (root == Root::Core);
        let items: Vec<Value> = self
            .groups
            .iter()
            .filter(|g| ours(g.0))
            .map(|(group, versions)| {
                let versions: Vec<Value> = versions
                    .iter()
                    .map(|(version, list)| {
                        let resources: Vec<Value> = list.iter().map(|r| aggregated_resource(r)).collect();
                        json!({"version": version, "resources": resources, "freshness": "Current"})
                    })
                    .collect();
                let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
                json!({"metadata": metadata, "versions": versions})
            })
            .collect();
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
    }

    /// All served group-versions in the order of lists.
    pub fn group_versions(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.groups.iter().flat_map(|(g, versions)| versions.iter().map(|(v, _)| (*g, *v)))
    }

    fn versions(&self, group: &str) -> Option<Vec<&'a str>> {
        let (_, versions) = self.groups.iter().find(|g| g.0 == group)?;
        Some(versions.iter().map(|v| v.0).collect())
    }

    fn resources(&self, group: &str, version: &str) -> Option<&[&'a ResourceDescriptor]> {
        let (_, versions) = self.groups.iter().find(|g| g.0 == group)?;
        versions.iter().find(|v| v.0 == version).map(|v| v.1.as_slice())
    }

    fn group_fields(&self, group: &str) -> Option<Value> {
        let entries: Vec<Value> =
            self.versions(group)?.iter().map(|v| json!({"groupVersion": api_version(group, v), "version": v})).collect();
        Some(json!({"name": group, "versions": entries, "preferredVersion": entries.first()}))
    }
}

/// Kubernetes' order of versions: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then other words by name.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(x), Some(y)) => Reverse(x).cmp(&Reverse(y)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major and minor number of `v1`, `v1beta2`, …
fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(digits);
    let major = major.parse().ok()?;
    let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (0, minor),
        _ if rest.is_empty() => return Some((2, major, 0)),
        _ => return None,
    };
    Some((stability, major, minor.parse().ok()?))
}

/// The hash by which clients see whether two resources share their storage.
fn storage_version_hash(r: &ResourceDescriptor) -> String {
    let (group, version) = r.storage_version();
    let digest = Sha256::digest(format!("{group}/{version}/{}", r.kind));
    BASE64_STANDARD.encode(digest.get(..8).unwrap_or_default())
}

fn row_name(row: &Value) -> &str {
    row.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn resource_row(r: &ResourceDescriptor) -> Value {
    let mut row = Map::new();
    row.insert("name".into(), json!(r.plural));
    row.insert("singularName".into(), json!(r.singular));
    row.insert("namespaced".into(), json!(r.namespaced));
    row.insert("kind".into(), json!(r.kind));
    row.insert("verbs".into(), json!(r.verbs));
    if !r.short_names.is_empty() {
        row.insert("shortNames".into(), json!(r.short_names));
    }
    if !r.categories.is_empty() {
        row.insert("categories".into(), json!(r.categories));
    }
    // Only what is stored has such a hash; reviews and their like are not.
    if r.has_verb("list") {
        row.insert("storageVersionHash".into(), json!(storage_version_hash(r)));
    }
    Value::Object(row)
}

fn subresource_row(r: &ResourceDescriptor, s: &Subresource) -> Value {
    let mut row = Map::new();
    row.insert("name".into(), json!(format!("{}/{}", r.plural, s.name)));
    row.insert("singularName".into(), json!(""));
    row.insert("namespaced".into(), json!(r.namespaced));
    row.insert("kind".into(), json!(s.kind));
    row.insert("verbs".into(), json!(s.verbs));
    if (&s.group, &s.version) != (&r.group, &r.version) {
        row.insert("group".into(), json!(s.group));
        row.insert("version".into(), json!(s.version));
    }
    Value::Object(row)
}

fn aggregated_resource(r: &ResourceDescriptor) -> Value {
    let mut out = Map::new();
    out.insert("resource".into(), json!(r.plural));
    out.insert("responseKind".into(), json!({"group": r.group, "version": r.version, "kind": r.kind}));
    out.insert("scope".into(), json!(if r.namespaced { "Namespaced" } else { "Cluster" }));
    out.insert("singularResource".into(), json!(r.singular));
    out.insert("verbs".into(), json!(r.verbs));
    if !r.short_names.is_empty() {
        out.insert("shortNames".into(), json!(r.short_names));
    }
    if !r.categories.is_empty() {
        out.insert("categories".into(), json!(r.categories));
    }
    if !r.subresources.is_empty() {
        let list: Vec<Value> = r.subresources.iter().map(|s| {
            json!({"subresource": s.name, "responseKind": {"group": s.group, "version": s.version, "kind": s.kind}, "verbs": s.verbs})
        }).collect();
        out.insert("subresources".into(), Value::Array(list));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::builtin_resources;

    fn discovery() -> Discovery<'static> {
        Discovery::new(builtin_resources().iter().filter(|r| r.enabled_by_default))
    }

    #[test]
    fn old_documents_name_groups_and_resources() {
        let d = discovery();
        assert_eq!(d.api_versions("10.0.0.1:6443")["versions"], json!(["v1"]));
        let groups = d.group_list();
        assert_eq!(groups["groups"][1]["name"], "apps");
        assert_eq!(d.group("autoscaling").expect("served")["preferredVersion"], json!({"groupVersion": "autoscaling/v2", "version": "v2"}));
        assert_eq!(d.group("nope"), None);
        let core = d.resource_list("", "v1").expect("served");
        let find = |name: &str| core["resources"].as_array().expect("list").iter().find(|r| r["name"] == name).cloned().expect(name);
        // The hash is the one every Kubernetes cluster gives.
        assert_eq!(
            find("pods"),
            json!({"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
            "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8=", "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]})
        );
        assert_eq!(
            find("pods/eviction"),
            json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]})
        );
        assert_eq!(core.get("apiVersion"), None);
        assert_eq!(d.resource_list("apps", "v1").expect("served")["apiVersion"], "v1");
    }

    #[test]
    fn the_aggregated_document_holds_the_same() {
        let core = discovery().aggregated(Root::Core);
        assert_eq!(core["items"].as_array().map(Vec::len), Some(1));
        let groups = discovery().aggregated(Root::Groups);
        let apps = groups["items"].as_array().expect("items").iter().find(|g| g["metadata"]["name"] == "apps").expect("apps");
        let deployments = apps["versions"][0]["resources"]
            .as_array()
            .expect("list")
            .iter()
            .find(|r| r["resource"] == "deployments")
            .expect("deployments");
        assert_eq!(deployments["scope"], "Namespaced");
        assert_eq!(
            deployments["subresources"][0],
            json!({"subresource": "scale", "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}, "verbs": ["get", "patch", "update"]})
        );
    }

    #[test]
    fn versions_stand_by_preference() {
        let mut v = ["v1alpha1", "foo", "v1", "v1beta2", "v2", "v10", "v1beta1"];
        v.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(v, ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }
}
