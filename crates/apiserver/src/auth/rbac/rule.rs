//! One rule of a role: what it allows, and whether it covers another rule.

use serde::{Deserialize, Serialize};

use crate::identity::Attributes;

/// A policy rule. An empty list of names means all names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// API groups; `*` is all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub api_groups: Vec<String>,
    /// Paths that are no resources; `*` at the end is any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub non_resource_urls: Vec<String>,
    /// The objects' names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub resource_names: Vec<String>,
    /// Resources such as `pods`, `pods/log`, `*/scale` or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub resources: Vec<String>,
    /// Verbs; `*` is all.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
}

/// `null` is an empty list, as in every Kubernetes object.
pub(super) fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

fn has(set: &[String], word: &str) -> bool {
    set.iter().any(|s| s == word)
}

fn has_or_all(set: &[String], word: &str) -> bool {
    set.iter().any(|s| s == "*" || s == word)
}

impl Rule {
    /// Whether the rule allows what is asked for.
    pub fn allows(&self, a: &Attributes) -> bool {
        if !has_or_all(&self.verbs, &a.verb) {
            return false;
        }
        if a.resource.is_empty() {
            return self.non_resource_urls.iter().any(|url| covers_path(url, &a.path));
        }
        has_or_all(&self.api_groups, &a.group)
            && self.names_resource(&a.resource, &a.subresource)
            && (self.resource_names.is_empty() || has(&self.resource_names, &a.name))
    }

    fn names_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|named| {
            if named == "*" {
                return true;
            }
            match named.split_once('/') {
                None => subresource.is_empty() && named == resource,
                Some((main, sub)) => !subresource.is_empty() && sub == subresource && (main == "*" || main == resource),
            }
        })
    }

    /// The rule as one-verb, one-resource, one-name rules.
    pub(crate) fn broken_down(&self) -> Vec<Self> {
        let mut out = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let one = Self {
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        verbs: vec![verb.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        out.push(one);
                    } else {
                        out.extend(self.resource_names.iter().map(|n| Self { resource_names: vec![n.clone()], ..one.clone() }));
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            let one = |verb: &String| Self { non_resource_urls: vec![url.clone()], verbs: vec![verb.clone()], ..Self::default() };
            out.extend(self.verbs.iter().map(one));
        }
        out
    }

    /// Whether everything that the broken-down rule allows is allowed by this one.
    pub(crate) fn covers(&self, one: &Self) -> bool {
        let all = |owned: &[String], wanted: &[String]| has(owned, "*") || wanted.iter().all(|w| has(owned, w));
        let resources = has(&self.resources, "*")
            || one.resources.iter().all(|wanted| {
                has(&self.resources, wanted) || wanted.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")))
            });
        let urls = one.non_resource_urls.iter().all(|wanted| self.non_resource_urls.iter().any(|owned| covers_path(owned, wanted)));
        let names = self.resource_names.is_empty()
            || (!one.resource_names.is_empty() && one.resource_names.iter().all(|n| has(&self.resource_names, n)));
        all(&self.verbs, &one.verbs) && all(&self.api_groups, &one.api_groups) && resources && names && urls
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`, as refusals print it.
    pub(super) fn compact(&self) -> String {
        let quoted = |list: &[String]| list.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" ");
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> =
            parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| format!("{name}:[{}]", quoted(list))).collect();
        format!("{{{}}}", shown.join(", "))
    }
}

fn covers_path(owned: &str, path: &str) -> bool {
    owned == path || (owned.ends_with('*') && path.starts_with(owned.trim_end_matches('*')))
}
