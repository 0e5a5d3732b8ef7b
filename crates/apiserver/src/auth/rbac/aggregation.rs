//! Cluster roles that gather the rules of other cluster roles by label.
//!
//! The authorizer gathers by itself, so a role works before the controller has written the gathered rules down.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::rule::{Rule, list};

/// A role, parsed.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) rules: Arc<[Rule]>,
    pub(crate) aggregation: Option<Aggregation>,
}

/// Which roles a role gathers: those that any of the selectors selects.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Aggregation {
    #[serde(deserialize_with = "list")]
    cluster_role_selectors: Vec<Selector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: Option<HashMap<String, String>>,
    #[serde(deserialize_with = "list")]
    match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    #[serde(deserialize_with = "list")]
    values: Vec<String>,
}

impl Selector {
    fn selects(&self, labels: &HashMap<String, String>) -> bool {
        let equal = self.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
        equal
            && self.match_expressions.iter().all(|e| {
                let value = labels.get(&e.key);
                match e.operator.as_str() {
                    "In" => value.is_some_and(|v| e.values.contains(v)),
                    "NotIn" => !value.is_some_and(|v| e.values.contains(v)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

/// A role's rules with everything that it gathers, each rule once.
pub(crate) fn rules(role: &Role, all: &[Arc<Role>]) -> Arc<[Rule]> {
    if role.aggregation.is_none() {
        return role.rules.clone();
    }
    let mut gathered = Vec::new();
    let mut seen = BTreeSet::new();
    gather(role, all, &mut seen, &mut gathered);
    let mut once: Vec<Rule> = Vec::with_capacity(gathered.len());
    for rule in gathered {
        if !once.contains(&rule) {
            once.push(rule);
        }
    }
    once.into()
}

fn gather<'a>(role: &'a Role, all: &'a [Arc<Role>], seen: &mut BTreeSet<&'a str>, out: &mut Vec<Rule>) {
    if !seen.insert(&role.name) {
        return;
    }
    let Some(aggregation) = &role.aggregation else {
        out.extend(role.rules.iter().cloned());
        return;
    };
    for other in all {
        if aggregation.cluster_role_selectors.iter().any(|s| s.selects(&other.labels)) {
            gather(other, all, seen, out);
        }
    }
}
