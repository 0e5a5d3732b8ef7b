//! Which resources the server has that can be watched and deleted.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DynamicObject};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};

use super::graph::Identity;

/// A resource and whether its objects live in namespaces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) resource: ApiResource,
    pub(super) is_namespaced: bool,
}

/// Resources by group and kind.
pub(super) type Resources = BTreeMap<(String, String), Known>;

/// Objects that nobody owns or is owned by, and that come in masses.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

pub(super) async fn discover(client: &Client) -> Result<Resources, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let all = discovery.groups().flat_map(|group| group.recommended_resources());
    let usable = all.filter(|(resource, can)| {
        let ignored = IGNORED.contains(&(resource.group.as_str(), resource.plural.as_str()));
        !ignored && [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| can.supports_operation(verb))
    });
    let known = usable.map(|(resource, can)| {
        let key = (resource.group.clone(), resource.kind.clone());
        (key, Known { resource, is_namespaced: can.scope == Scope::Namespaced })
    });
    Ok(known.collect())
}

/// The group in `apps/v1`; the core group's is empty.
pub(super) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// How to reach an object; `None` while its kind is not known.
pub(super) fn api_of(client: &Client, resources: &Resources, identity: &Identity) -> Option<Api<DynamicObject>> {
    let key = (group_of(&identity.api_version).to_owned(), identity.kind.clone());
    let known = resources.get(&key)?;
    Some(if known.is_namespaced {
        Api::namespaced_with(client.clone(), &identity.namespace, &known.resource)
    } else {
        Api::all_with(client.clone(), &known.resource)
    })
}
