//! What containers and pods ask for.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::field::{Error, ErrorList};
use crate::quantity::Quantity;
use crate::validation::at::At;
use crate::validation::{amount, format};

/// The resources of one container.
pub(super) fn container(at: &At<'_, '_>, claims: &BTreeSet<&str>, errs: &mut ErrorList) {
    requirements(at, amount::container_resource_name, errs);
    claim_names(&at.get("claims"), claims, errs);
}

/// The resources of a whole pod, which bound those of its containers.
pub(super) fn pod_level(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let at = spec.get("resources");
    if !at.is_set() {
        return;
    }
    let os = spec.get("os");
    if os.get("name").str() == "windows" {
        return at.forbidden(errs, "may not be set for a windows pod");
    }
    if at.get("claims").is_set() {
        at.get("claims").forbidden(errs, "claims may not be set for Resources at pod-level");
    }
    requirements(
        &at,
        |name, at, errs| {
            if amount::resource_name(name, at, errs) && !matches!(name, "cpu" | "memory") && !amount::is_huge_pages(name) {
                errs.push(Error::not_supported(&at.path(), name, &["cpu", "hugepages-", "memory"]));
            }
        },
        errs,
    );
    let (requests, limits) = (at.get("requests"), at.get("limits"));
    for (name, own) in requests.entries() {
        let sum = sum(spec, "requests", name);
        if sum > amount::quantity(&own) {
            let why = format!("must be greater than or equal to aggregate container requests of {sum}");
            own.invalid_shown(errs, amount::quantity(&own).to_string(), &why);
        }
    }
    for (i, c) in spec.get("containers").items().enumerate() {
        let resources = c.get("resources");
        for (name, limit) in resources.get("limits").entries() {
            let whole = limits.entry(name);
            if whole.is_set() && amount::compare(&limit, &whole) == Ordering::Greater {
                let path = at.path().child("containers").index(i).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {}", amount::quantity(&whole));
                errs.push(Error::invalid(&path, amount::quantity(&limit).to_string(), &why));
            }
        }
    }
}

/// What the containers need together at their worst moment: init containers run one by one, sidecars stay.
fn sum(spec: &At<'_, '_>, what: &'static str, name: &str) -> Quantity {
    let of = |c: &At<'_, '_>| -> Quantity {
        let resources = c.get("resources");
        let list = resources.get(what);
        list.value().get(name).map(|v| amount::quantity(&At::root(v))).unwrap_or_default()
    };
    let mut running = Quantity::default();
    spec.get("containers").items().for_each(|c| running.add(&of(&c)));
    let (mut sidecars, mut worst) = (Quantity::default(), Quantity::default());
    for c in spec.get("initContainers").items() {
        let mut moment = of(&c);
        if c.get("restartPolicy").str() == "Always" {
            running.add(&moment);
            sidecars.add(&moment);
            moment = sidecars.clone();
        } else {
            moment.add(&sidecars);
        }
        worst = worst.max(moment);
    }
    running.max(worst)
}

type NameCheck = fn(&str, &At<'_, '_>, &mut ErrorList);

fn requirements(at: &At<'_, '_>, check_name: NameCheck, errs: &mut ErrorList) {
    let (limits, requests) = (at.get("limits"), at.get("requests"));
    for (name, limit) in limits.entries() {
        check_name(name, &limit, errs);
        amount::value(name, &limit, errs);
        huge_pages(name, &limit, errs);
    }
    for (name, request) in requests.entries() {
        check_name(name, &request, errs);
        amount::value(name, &request, errs);
        let limit = limits.entry(name);
        let shown = amount::quantity(&request).to_string();
        if limit.is_set() {
            let most = amount::quantity(&limit);
            match amount::compare(&request, &limit) {
                Ordering::Equal => {}
                _ if !amount::may_overcommit(name) => {
                    requests.invalid_shown(errs, shown, &format!("must be equal to {name} limit of {most}"))
                }
                Ordering::Greater => requests.invalid_shown(errs, shown, &format!("must be less than or equal to {name} limit of {most}")),
                Ordering::Less => {}
            }
        } else if !amount::may_overcommit(name) {
            limits.required(errs, "Limit must be set for non overcommitable resources");
        }
        huge_pages(name, &request, errs);
    }
    let any = |test: fn(&str) -> bool| limits.entries().chain(requests.entries()).any(|(name, _)| test(name));
    if any(amount::is_huge_pages) && !any(|name| matches!(name, "cpu" | "memory")) {
        at.forbidden(errs, "HugePages require cpu or memory");
    }
}

fn huge_pages(name: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    if amount::is_huge_pages(name) && !amount::fits_page(name, at) {
        let shown = amount::quantity(at).to_string();
        at.invalid_shown(errs, shown.clone(), &format!("{shown} is not positive integer multiple of {name}"));
    }
}

fn claim_names(list: &At<'_, '_>, known: &BTreeSet<&str>, errs: &mut ErrorList) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for claim in list.items() {
        let (name, request) = (claim.get("name").str(), claim.get("request"));
        if name.is_empty() {
            claim.required(errs, "");
            continue;
        }
        let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{}", request.str()) };
        if !request.is_empty() {
            request.complain(errs, format::label_1123(request.str()));
        }
        let part = request.is_empty() && seen.iter().any(|s| s.split_once('/').is_some_and(|(n, _)| n == name));
        if seen.contains(name) || part {
            errs.push(Error::duplicate(&claim.path(), name));
        } else if !seen.insert(key.clone()) {
            errs.push(Error::duplicate(&claim.path(), key));
        }
        if !known.contains(name) {
            let mut error = Error::not_found(&claim.path(), name);
            let names: Vec<&str> = known.iter().copied().collect();
            let rest = if names.is_empty() { " which is empty".to_owned() } else { format!(": {}", names.join(", ")) };
            error.message.push_str(&format!(": must be one of the names in pod.spec.resourceClaims{rest}"));
            errs.push(error);
        }
    }
}
