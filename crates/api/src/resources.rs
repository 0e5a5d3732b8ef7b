//! What the server serves: every built-in resource with its names, verbs, subresources, columns and selectors.
//!
//! Custom resources and aggregated ones bring descriptors of the same form.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::meta::{Gvk, Gvr};
use crate::schema::{Type, builtin};

static TABLE: &str = include_str!("resources/kubernetes-resources.json");
static BUILTIN: LazyLock<Vec<ResourceDescriptor>> = LazyLock::new(|| {
    let mut list: Vec<ResourceDescriptor> = serde_json::from_str(TABLE).unwrap_or_default();
    list.sort_by(|a, b| a.key().cmp(&b.key()));
    list
});

/// One resource of one group and version.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDescriptor {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind of its objects.
    pub kind: String,
    /// Plural name, as in paths.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Short names for people.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Objects live in namespaces.
    pub namespaced: bool,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// What hangs below an object.
    pub subresources: Vec<Subresource>,
    /// Columns of its table.
    pub columns: Vec<Column>,
    /// Field labels that selectors may use.
    pub field_selectors: Vec<String>,
    /// Old field labels and what they mean.
    pub field_selector_aliases: BTreeMap<String, String>,
    /// The version objects are stored in (`VERSION` or `GROUP/VERSION`), where it is not their own.
    pub stored_as: Option<String>,
    /// Served without being asked for.
    pub enabled_by_default: bool,
    /// The gate that must be open for it to be served.
    pub feature_gate: Option<String>,
    /// How settled the API is.
    pub stability: Stability,
}

/// A subresource, for example `status` or `scale`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Subresource {
    /// The name in the path.
    pub name: String,
    /// Group of its body's kind.
    pub group: String,
    /// Version of its body's kind.
    pub version: String,
    /// Kind of its body.
    pub kind: String,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// Columns of its table, where it has one of its own.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Column {
    /// The head.
    pub name: String,
    /// OpenAPI type of the cells.
    #[serde(rename = "type")]
    pub cell_type: String,
    /// OpenAPI format of the cells; `name` marks the object's name.
    pub format: String,
    /// 0 is always shown, more only in wide output.
    pub priority: i32,
}

/// How settled an API is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// May change or go.
    Alpha,
    /// Well tested, may still change.
    Beta,
    /// Here to stay.
    #[default]
    #[serde(alias = "stable")]
    Ga,
}

impl ResourceDescriptor {
    fn key(&self) -> (&str, &str, &str) {
        (&self.group, &self.version, &self.plural)
    }

    /// The kind of its objects.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(&self.group, &self.version, &self.kind)
    }

    /// The resource's full name.
    pub fn gvr(&self) -> Gvr {
        Gvr::new(&self.group, &self.version, &self.plural)
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        self.gvk().api_version()
    }

    /// Group and version that objects are stored in.
    pub fn storage_version(&self) -> (&str, &str) {
        match self.stored_as.as_deref() {
            None => (&self.group, &self.version),
            Some(text) => text.split_once('/').unwrap_or(("", text)),
        }
    }

    /// The subresource `name`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether the resource has the verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The schema of its objects; `None` for resources that are not built in.
    pub fn schema(&self) -> Option<&'static Type> {
        builtin().by_gvk(&self.group, &self.version, &self.kind)
    }
}

/// All resources of Kubernetes 1.36, sorted by group, version and plural; also those not served by default.
pub fn builtin_resources() -> &'static [ResourceDescriptor] {
    &BUILTIN
}

/// The built-in resource of a path.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static ResourceDescriptor> {
    let found = BUILTIN.binary_search_by(|r| r.key().cmp(&(group, version, plural))).ok()?;
    BUILTIN.get(found)
}

/// The built-in resource whose objects are of a kind.
pub fn by_gvk(gvk: &Gvk) -> Option<&'static ResourceDescriptor> {
    BUILTIN.iter().find(|r| r.kind == gvk.kind && r.group == gvk.group && r.version == gvk.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_every_kind_has_a_schema() {
        assert_eq!(builtin_resources().len(), 95);
        for r in builtin_resources() {
            assert!(r.schema().is_some(), "{r:?}");
            for s in &r.subresources {
                assert!(builtin().by_gvk(&s.group, &s.version, &s.kind).is_some(), "{s:?}");
            }
        }
        assert_eq!(builtin_resources().iter().filter(|r| r.enabled_by_default && r.stability == Stability::Ga).count(), 68);
    }

    #[test]
    fn resources_are_found_by_path_and_kind() {
        let d = by_plural("apps", "v1", "deployments").expect("deployments");
        assert_eq!(d.short_names, ["deploy"]);
        assert_eq!(d.subresource("scale").map(|s| s.kind.as_str()), Some("Scale"));
        assert_eq!(by_gvk(&d.gvk()), Some(d));
        let ev = by_plural("events.k8s.io", "v1", "events").expect("events");
        assert_eq!(ev.storage_version(), ("", "v1"));
        assert_eq!(ev.field_selector_aliases.get("reportingController").map(String::as_str), Some("reportingComponent"));
    }
}
