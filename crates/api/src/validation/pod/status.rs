//! A pod's status, as the kubelet reports it.

use super::annotations;
use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::{format, ip};

/// A pod whose status has changed.
pub(in crate::validation) fn status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (new_meta, old_meta) = (new.get("metadata"), old.get("metadata"));
    annotations::updated(&new_meta.get("annotations"), &old_meta.get("annotations"), errs);
    let (status, before) = (new.get("status"), old.get("status"));
    let (spec, old_spec) = (new.get("spec"), old.get("spec"));
    for (i, condition) in status.get("conditions").items().enumerate() {
        let kind = condition.get("type").str();
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            let path = status.path().child("conditions").index(i).child("Type");
            errs.extend(format::qualified_name(kind).iter().map(|detail| Error::invalid(&path, kind, detail)));
        }
        if condition.get("observedGeneration").int().is_some_and(|n| n < 0) {
            condition.get("observedGeneration").invalid(errs, "must be a non-negative integer");
        }
    }
    if spec.get("nodeName").str() != old_spec.get("nodeName").str() {
        status.get("nodeName").forbidden(errs, "may not be changed directly");
    }
    let nominated = status.get("nominatedNodeName");
    if !nominated.is_empty() && nominated.str() != before.get("nominatedNodeName").str() {
        nominated.complain(errs, format::subdomain(nominated.str()));
    }
    if status.get("observedGeneration").int().is_some_and(|n| n < 0) {
        status.get("observedGeneration").invalid(errs, "must be a non-negative integer");
    }
    let (class, was) = (status.get("qosClass"), before.get("qosClass"));
    if class.str() != was.str() {
        class.invalid_str(errs, "field is immutable");
    }
    for (list, containers) in
        [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers"), ("ephemeralContainerStatuses", "")]
    {
        transitions(&status.get(list), &before.get(list), &old_spec, containers, errs);
    }
    ips(&status.get("podIPs"), &before.get("podIPs"), errs);
    let hosts = status.get("hostIPs");
    if let Some(first) = hosts.items().next() {
        let first = first.get("ip");
        if first.str() != status.get("hostIP").str() {
            first.invalid_str(errs, "must be equal to `hostIP`");
        }
    }
    ips(&hosts, &before.get("hostIPs"), errs);
}

/// A container that has ended for good must not come back.
fn transitions(new: &At<'_, '_>, old: &At<'_, '_>, spec: &At<'_, '_>, containers: &'static str, errs: &mut ErrorList) {
    for (i, was) in old.items().enumerate() {
        let state = was.get("state");
        let ended = state.get("terminated");
        if !ended.is_set() {
            continue;
        }
        let name = was.get("name").str();
        let back = new.items().any(|n| n.get("name").str() == name && !n.get("state").get("terminated").is_set());
        if back && !may_restart(spec, containers, name, ended.get("exitCode").int().unwrap_or(0)) {
            errs.push(Error::forbidden(&new.path().index(i).child("state"), "may not be transitioned to non-terminated state"));
        }
    }
}

fn may_restart(spec: &At<'_, '_>, containers: &'static str, name: &str, exit_code: i64) -> bool {
    if containers.is_empty() {
        return false;
    }
    let list = spec.get(containers);
    let Some(c) = list.items().find(|c| c.get("name").str() == name) else { return false };
    for rule in c.get("restartPolicyRules").items() {
        let codes = rule.get("exitCodes");
        let listed = codes.get("values").items().any(|v| v.int() == Some(exit_code));
        if (codes.get("operator").str() == "In") == listed {
            return true;
        }
    }
    let own = c.get("restartPolicy");
    let policy = if own.is_set() { own.str() } else { spec.get("restartPolicy").str() };
    match policy {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

fn ips(list: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let kept: Vec<&str> = old.items().map(|i| i.get("ip").str()).collect();
    for item in list.items() {
        let text = item.get("ip").str();
        if !kept.contains(&text) && ip::parse(text).is_none() {
            item.invalid_shown(errs, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
    }
    let dual = ip::is_dual_stack(list.items().map(|i| i.get("ip").str()));
    if list.len() > 1 && (!dual || list.len() > 2) {
        list.invalid(errs, "may specify no more than one IP for each IP family");
    }
}
