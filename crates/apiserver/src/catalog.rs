//! Every resource this server serves, by group, version and plural.

use std::collections::HashMap;
use std::sync::Arc;

use api::meta::Gvk;
use api::resources::{ResourceDescriptor, Stability, builtin_resources, by_plural};
use serde_json::Value;

use crate::storage::ROOT;
use crate::strategy::{self, Strategy};

/// One resource, ready to be served.
pub struct Resource {
    /// Names, verbs, columns.
    pub descriptor: ResourceDescriptor,
    /// Where its objects are in the store; ends with a slash.
    pub prefix: String,
    /// The kind that is stored, where it differs from the one served.
    pub stored: Option<Gvk>,
    /// What selectors may look at, in the stored version.
    pub selectable: Vec<String>,
    /// What is special about the kind.
    pub strategy: &'static dyn Strategy,
}

impl Resource {
    fn new(descriptor: &ResourceDescriptor) -> Self {
        let (group, version) = descriptor.storage_version();
        let stored_as = by_plural(group, version, &descriptor.plural).filter(|d| d.enabled_by_default);
        let differs = stored_as.filter(|d| d.gvk() != descriptor.gvk());
        let mut selectable = differs.unwrap_or(descriptor).field_selectors.clone();
        for plain in ["metadata.name", "metadata.namespace"] {
            if !selectable.iter().any(|f| f == plain) {
                selectable.push(plain.to_owned());
            }
        }
        Self {
            prefix: format!("{ROOT}{}/", folder(descriptor)),
            stored: differs.map(ResourceDescriptor::gvk),
            selectable,
            strategy: strategy::of(&descriptor.group, &descriptor.plural),
            descriptor: descriptor.clone(),
        }
    }

    /// Group of the resource.
    pub fn group(&self) -> &str {
        &self.descriptor.group
    }

    /// Plural of the resource.
    pub fn plural(&self) -> &str {
        &self.descriptor.plural
    }

    /// The key of one object; the namespace is ignored for cluster-wide resources.
    pub fn key(&self, namespace: &str, name: &str) -> Arc<str> {
        if self.descriptor.namespaced {
            format!("{}{namespace}/{name}", self.prefix).into()
        } else {
            format!("{}{name}", self.prefix).into()
        }
    }

    /// The start of the keys of all objects (of a namespace, unless it is empty).
    pub fn key_prefix(&self, namespace: &str) -> String {
        if self.descriptor.namespaced && !namespace.is_empty() { format!("{}{namespace}/", self.prefix) } else { self.prefix.clone() }
    }

    /// The kind of objects on the wire.
    pub fn gvk(&self) -> Gvk {
        self.descriptor.gvk()
    }

    /// Whether objects are kept (reviews and bindings are not).
    pub fn is_stored(&self) -> bool {
        self.descriptor.has_verb("get") && self.descriptor.plural != "componentstatuses"
    }

    /// The tree in the version that is stored.
    pub fn to_stored(&self, tree: Value) -> Value {
        match &self.stored {
            Some(gvk) => self.strategy.convert(tree, gvk),
            None => tree,
        }
    }

    /// The tree in the version that is served.
    pub fn to_served(&self, tree: Value) -> Value {
        if self.stored.is_some() { self.strategy.convert(tree, &self.gvk()) } else { tree }
    }
}

/// Kubernetes' own places in the store.
fn folder(descriptor: &ResourceDescriptor) -> String {
    match (descriptor.group.as_str(), descriptor.plural.as_str()) {
        ("", "replicationcontrollers") => "controllers".to_owned(),
        ("", "endpoints") => "services/endpoints".to_owned(),
        ("", "services") => "services/specs".to_owned(),
        ("", "nodes") => "minions".to_owned(),
        ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
        (group @ ("apiextensions.k8s.io" | "apiregistration.k8s.io"), plural) => format!("{group}/{plural}"),
        (_, plural) => plural.to_owned(),
    }
}

/// All resources.
pub struct Catalog {
    resources: HashMap<(String, String, String), Arc<Resource>>,
}

impl Catalog {
    /// Every GA resource of Kubernetes that is on by default.
    pub fn builtin() -> Self {
        let served = builtin_resources().iter().filter(|d| d.enabled_by_default && d.stability == Stability::Ga);
        let resources = served.map(|d| ((d.group.clone(), d.version.clone(), d.plural.clone()), Arc::new(Resource::new(d))));
        Self { resources: resources.collect() }
    }

    /// The resource of a path.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// The resource by group and plural, in whichever version.
    pub fn any_version(&self, group: &str, plural: &str) -> Option<Arc<Resource>> {
        self.resources.values().find(|r| r.group() == group && r.plural() == plural).cloned()
    }

    /// The resource whose objects are of a kind.
    pub fn by_gvk(&self, gvk: &Gvk) -> Option<Arc<Resource>> {
        self.resources.values().find(|r| r.gvk() == *gvk).cloned()
    }

    /// The descriptors of all resources, sorted.
    pub fn descriptors(&self) -> Vec<&ResourceDescriptor> {
        let mut all: Vec<_> = self.resources.values().map(|r| &r.descriptor).collect();
        all.sort_by(|a, b| (&a.group, &a.version, &a.plural).cmp(&(&b.group, &b.version, &b.plural)));
        all
    }
}
