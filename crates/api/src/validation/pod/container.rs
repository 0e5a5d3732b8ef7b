//! Containers of every sort.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::Context;
use super::{env, handler, resources, security, volume};
use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::format;

/// Rules for restarts that a container may have.
const MAX_RESTART_RULES: usize = 20;
/// Exit codes that one such rule may name.
const MAX_EXIT_CODES: usize = 255;
/// What an ephemeral container may say; it joins a running pod and so may claim nothing.
const EPHEMERAL_FIELDS: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

pub(super) fn containers(spec: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    regular(&spec.get("containers"), context, errs);
    init(spec, context, errs);
    ephemeral(spec, context, errs);
}

fn regular(list: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    if list.is_empty() {
        return list.required(errs, "");
    }
    let mut names = BTreeSet::new();
    for c in list.items() {
        common(&c, context, errs);
        if !names.insert(c.get("name").str()) {
            c.get("name").duplicate(errs);
        }
        handler::lifecycle(&c.get("lifecycle"), context, errs);
        handler::probes(&c, errs);
        restart_policy(&c, errs);
    }
    host_ports(list.items(), errs);
}

fn init(spec: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    let list = spec.get("initContainers");
    let mut names: BTreeSet<&str> = spec.get("containers").items().map(|c| c.get("name").str()).collect();
    for c in list.items() {
        common(&c, context, errs);
        restart_policy(&c, errs);
        let name = c.get("name");
        if !names.insert(name.str()) && !name.is_empty() {
            name.duplicate(errs);
        }
        host_ports(std::iter::once(c), errs);
        let sidecar = c.get("restartPolicy").str() == "Always";
        if sidecar {
            handler::lifecycle(&c.get("lifecycle"), context, errs);
            handler::probes(&c, errs);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if c.get(field).is_set() {
                    c.get(field).forbidden(errs, "may not be set for init containers without restartPolicy=Always");
                }
            }
            for policy in c.get("resizePolicy").items() {
                if policy.get("restartPolicy").str() == "RestartContainer" {
                    let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    policy.get("restartPolicy").invalid(errs, why);
                }
            }
        }
    }
}

fn ephemeral(spec: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    let lists = [spec.get("containers"), spec.get("initContainers")];
    let others: BTreeSet<&str> = lists.iter().flat_map(|l| l.items().map(|c| c.get("name").str()).collect::<Vec<_>>()).collect();
    let mut names = others.clone();
    for c in spec.get("ephemeralContainers").items() {
        common(&c, context, errs);
        let image = c.get("image");
        if image.str() != image.str().trim() {
            image.invalid(errs, "must not have leading or trailing whitespace");
        }
        if !names.insert(c.get("name").str()) {
            c.get("name").duplicate(errs);
        }
        let target = c.get("targetContainerName");
        if !target.is_empty() && !others.contains(target.str()) {
            target.not_found(errs);
        }
        for (key, value) in c.entries() {
            if !EPHEMERAL_FIELDS.contains(&key) && !value.is_empty() {
                errs.push(Error::forbidden(&c.path().child(key), "cannot be set for an Ephemeral Container"));
            }
        }
        for mount in c.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).is_empty() {
                    mount.get(field).forbidden(errs, "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

fn common(c: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    let name = c.get("name");
    if name.is_empty() {
        name.required(errs, "");
    } else {
        name.complain(errs, format::label_1123(name.str()));
    }
    if c.get("image").is_empty() {
        c.get("image").required(errs, "");
    }
    c.get("terminationMessagePolicy").required_one_of(errs, &["File", "FallbackToLogsOnError"], "");
    ports(&c.get("ports"), errs);
    env::env(&c.get("env"), errs);
    env::env_from(&c.get("envFrom"), errs);
    volume::mounts(c, &context.volumes, errs);
    volume::devices(c, &context.volumes, errs);
    c.get("imagePullPolicy").required_one_of(errs, &["Always", "IfNotPresent", "Never"], "");
    resources::container(&c.get("resources"), &context.claims, errs);
    resize_policy(&c.get("resizePolicy"), context.restart_policy, errs);
    security::container(&c.get("securityContext"), context.host_users, errs);
}

fn ports(list: &At<'_, '_>, errs: &mut ErrorList) {
    let mut names = BTreeSet::new();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let complaints = format::port_name(name.str());
            if !complaints.is_empty() {
                name.complain(errs, complaints);
            } else if !names.insert(name.str()) {
                name.duplicate(errs);
            }
        }
        for (field, needed) in [("containerPort", true), ("hostPort", false)] {
            let at = port.get(field);
            match at.int().unwrap_or(0) {
                0 if needed => at.required(errs, ""),
                0 => {}
                number => format::port_number(number).iter().for_each(|detail| at.invalid(errs, detail)),
            }
        }
        port.get("protocol").required_one_of(errs, &["TCP", "UDP", "SCTP"], "");
    }
}

/// No two containers may want the same port of the host.
fn host_ports<'p, 'v: 'p>(containers: impl Iterator<Item = At<'p, 'v>>, errs: &mut ErrorList) {
    let mut taken = BTreeSet::new();
    for c in containers {
        for port in c.get("ports").items() {
            let number = port.get("hostPort").int().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.get("protocol").str(), port.get("hostIP").str());
            if !taken.insert(key.clone()) {
                errs.push(Error::duplicate(&port.get("hostPort").path(), key));
            }
        }
    }
}

fn resize_policy(list: &At<'_, '_>, pod_restart_policy: &str, errs: &mut ErrorList) {
    let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
    for policy in list.items() {
        let (resource, restart) = (policy.get("resourceName").str(), policy.get("restartPolicy").str());
        if seen.insert(resource, ()).is_some() {
            errs.push(Error::duplicate(&policy.path(), resource));
        }
        for (value, supported) in [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            if value.is_empty() {
                list.required(errs, "");
            } else if !supported.contains(&value) {
                errs.push(Error::not_supported(&list.path(), value, &supported));
            }
        }
        if pod_restart_policy == "Never" && restart != "NotRequired" {
            list.invalid_shown(errs, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

fn restart_policy(c: &At<'_, '_>, errs: &mut ErrorList) {
    let (policy, rules) = (c.get("restartPolicy"), c.get("restartPolicyRules"));
    if policy.is_set() {
        policy.one_of(errs, &["Always", "Never", "OnFailure"]);
    } else if !rules.is_empty() {
        policy.required(errs, "must specify restartPolicy when restart rules are used");
    }
    if rules.len() > MAX_RESTART_RULES {
        errs.push(Error::too_many(&rules.path(), rules.len(), MAX_RESTART_RULES));
    }
    for rule in rules.items() {
        rule.get("action").one_of(errs, &["Restart", "RestartAllContainers"]);
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            codes.required(errs, "must be specified");
            continue;
        }
        codes.get("operator").one_of(errs, &["In", "NotIn"]);
        let values = codes.get("values");
        if values.len() > MAX_EXIT_CODES {
            errs.push(Error::too_many(&values.path(), values.len(), MAX_EXIT_CODES));
        }
    }
}
