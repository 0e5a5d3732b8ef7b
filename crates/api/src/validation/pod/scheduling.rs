//! Where a pod may run: affinity, tolerations, spreading.

use std::collections::BTreeSet;

use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::{format, labels};

pub(super) fn affinity(at: &At<'_, '_>, errs: &mut ErrorList) {
    let node = at.get("nodeAffinity");
    let required = node.get("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        node_selector(&required, errs);
    }
    for term in node.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        weight(&term.get("weight"), errs);
        node_term(&term.get("preference"), errs);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at.get(kind);
        pods.get("requiredDuringSchedulingIgnoredDuringExecution").items().for_each(|term| pod_term(&term, errs));
        for term in pods.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            weight(&term.get("weight"), errs);
            pod_term(&term.get("podAffinityTerm"), errs);
        }
    }
}

fn weight(at: &At<'_, '_>, errs: &mut ErrorList) {
    let weight = at.int().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        at.invalid_shown(errs, weight, "must be in the range 1-100");
    }
}

/// A selector of nodes, also of a persistent volume's.
pub(in crate::validation) fn node_selector(at: &At<'_, '_>, errs: &mut ErrorList) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        return terms.required(errs, "must have at least one node selector term");
    }
    terms.items().for_each(|term| node_term(&term, errs));
}

fn node_term(term: &At<'_, '_>, errs: &mut ErrorList) {
    for r in term.get("matchExpressions").items() {
        let (operator, values, key) = (r.get("operator"), r.get("values"), r.get("key"));
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => values.required(errs, "must be specified when `operator` is 'In' or 'NotIn'"),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                values.forbidden(errs, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values.len() != 1 => {
                values.required(errs, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => operator.invalid_str(errs, "not a valid selector operator"),
        }
        key.complain(errs, format::qualified_name(key.str()));
        for value in values.items() {
            value.complain(errs, format::label_value(value.str()));
        }
    }
    for r in term.get("matchFields").items() {
        let (operator, values, key) = (r.get("operator"), r.get("values"), r.get("key"));
        match operator.str() {
            "In" | "NotIn" if values.len() == 1 => {}
            "In" | "NotIn" => values.required(errs, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
            _ => operator.invalid_str(errs, "not a valid selector operator"),
        }
        if key.str() == "metadata.name" {
            values.items().for_each(|v| v.complain(errs, format::subdomain(v.str())));
        } else {
            key.invalid_str(errs, "not a valid field selector key");
        }
    }
}

fn pod_term(term: &At<'_, '_>, errs: &mut ErrorList) {
    labels::selector(&term.get("labelSelector"), errs);
    labels::selector(&term.get("namespaceSelector"), errs);
    for namespace in term.get("namespaces").items() {
        for detail in format::label_1123(namespace.str()) {
            errs.push(Error::invalid(&term.path().child("namespace"), namespace.str(), &detail));
        }
    }
    label_keys(term, errs);
    let key = term.get("topologyKey");
    if key.is_empty() {
        key.required(errs, "can not be empty");
    }
    key.complain(errs, format::qualified_name(key.str()));
}

fn label_keys(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (matching, differing, selector) = (at.get("matchLabelKeys"), at.get("mismatchLabelKeys"), at.get("labelSelector"));
    for keys in [&matching, &differing] {
        if keys.is_empty() {
            continue;
        }
        if !selector.is_set() {
            keys.forbidden(errs, "must not be specified when labelSelector is not set");
            continue;
        }
        keys.items().for_each(|key| key.complain(errs, format::qualified_name(key.str())));
    }
    let mut seen: BTreeSet<&str> = selector.get("matchLabels").entries().map(|(key, _)| key).collect();
    for expression in selector.get("matchExpressions").items() {
        let key = expression.get("key").str();
        if let Some(i) = matching.items().position(|k| k.str() == key)
            && seen.contains(key)
        {
            errs.push(Error::invalid(&at.path().index(i), key, "exists in both matchLabelKeys and labelSelector"));
        }
        seen.insert(key);
    }
    for key in matching.items() {
        if differing.items().any(|d| d.str() == key.str()) {
            key.invalid(errs, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

/// Tolerations of a pod or a runtime class.
pub(in crate::validation) fn tolerations(list: &At<'_, '_>, errs: &mut ErrorList) {
    for t in list.items() {
        let (key, operator, effect, value) = (t.get("key"), t.get("operator"), t.get("effect"), t.get("value").str());
        if !key.is_empty() {
            key.complain(errs, format::qualified_name(key.str()));
        } else if operator.str() != "Exists" {
            operator.invalid_str(errs, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        }
        if t.get("tolerationSeconds").is_set() && effect.str() != "NoExecute" {
            effect.invalid_str(errs, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.str() {
            "Equal" | "" => {
                let complaints = format::label_value(value);
                if !complaints.is_empty() {
                    operator.invalid_shown(errs, value, &complaints.join(";"));
                }
            }
            "Exists" if !value.is_empty() => operator.invalid_shown(errs, value, "value must be empty when `operator` is 'Exists'"),
            "Exists" => {}
            other if matches!(other, "Lt" | "Gt") => {
                errs.push(Error::not_supported(&operator.path(), other, &["Equal", "Exists", "Gt", "Lt"]));
            }
            other => errs.push(Error::not_supported(&operator.path(), other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            effect.one_of(errs, &["NoExecute", "NoSchedule", "PreferNoSchedule"]);
        }
    }
}

pub(super) fn topology_spread(list: &At<'_, '_>, errs: &mut ErrorList) {
    let all: Vec<(&str, &str)> = list.items().map(|c| (c.get("topologyKey").str(), c.get("whenUnsatisfiable").str())).collect();
    for (i, c) in list.items().enumerate() {
        let skew = c.get("maxSkew");
        let (key, when) = (c.get("topologyKey"), c.get("whenUnsatisfiable"));
        if skew.int().unwrap_or(0) <= 0 {
            skew.invalid_shown(errs, skew.int().unwrap_or(0), "must be greater than zero");
        }
        if key.is_empty() {
            key.required(errs, "can not be empty");
        }
        when.one_of(errs, &["DoNotSchedule", "ScheduleAnyway"]);
        if all.iter().skip(i + 1).any(|other| *other == (key.str(), when.str())) {
            let path = c.path().child("{topologyKey, whenUnsatisfiable}");
            errs.push(Error::duplicate(&path, format!("{{{}, {}}}", key.str(), when.str())));
        }
        let domains = c.get("minDomains");
        if let Some(n) = domains.int() {
            if n <= 0 {
                domains.invalid(errs, "must be greater than zero");
            }
            if when.str() != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", when.str());
                domains.invalid(errs, &why);
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if c.get(field).is_set() {
                c.get(field).one_of(errs, &["Honor", "Ignore"]);
            }
        }
        label_keys(&c, errs);
        labels::selector(&c.get("labelSelector"), errs);
    }
}
