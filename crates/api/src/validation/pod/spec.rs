//! What stands in a pod spec beside containers and volumes.

use std::collections::BTreeSet;

use super::{Of, container, handler, resources, scheduling, security, volume};
use crate::field::ErrorList;
use crate::validation::at::At;
use crate::validation::{format, ip, labels};

/// Name servers that a pod may name.
const MAX_NAMESERVERS: usize = 3;
/// Search domains that a pod may name.
const MAX_SEARCHES: usize = 32;
/// The whole search list's length, in bytes, with the spaces between.
const MAX_SEARCH_TEXT: usize = 2048;
/// The longest host name that the kernel takes, in bytes.
const MAX_HOSTNAME: usize = 64;

/// The facts about a pod that its containers' rules look at.
pub(super) struct Context<'a> {
    /// The volumes that exist, by name, and whether each can be a block device.
    pub(super) volumes: volume::Volumes<'a>,
    pub(super) claims: BTreeSet<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) restart_policy: &'a str,
    pub(super) os: Option<&'a str>,
    /// Whether users in the pod are the host's users.
    pub(super) host_users: bool,
}

pub(super) fn spec(spec: &At<'_, '_>, metadata: Option<&At<'_, '_>>, of: Of, errs: &mut ErrorList) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if !grace.is_set() {
        grace.required(errs, "");
    }
    let volumes = volume::volumes(&spec.get("volumes"), metadata, errs);
    let claims: BTreeSet<&str> = spec.get("resourceClaims").items().map(|c| c.get("name").str()).filter(|n| !n.is_empty()).collect();
    resource_claims(&spec.get("resourceClaims"), errs);
    let os = spec.get("os");
    let context = Context {
        volumes,
        claims,
        grace: grace.int(),
        restart_policy: spec.get("restartPolicy").str(),
        os: os.is_set().then(|| os.get("name").str()),
        host_users: spec.get("hostUsers").value() != &serde_json::Value::Bool(false),
    };
    container::containers(spec, &context, errs);
    resources::pod_level(spec, errs);
    host_network_ports(spec, of, errs);
    spec.get("restartPolicy").required_one_of(errs, &["Always", "OnFailure", "Never"], "");
    spec.get("dnsPolicy").required_one_of(errs, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], "");
    labels::labels(&spec.get("nodeSelector"), errs);
    security::pod(spec, errs);
    scheduling::affinity(&spec.get("affinity"), errs);
    dns_config(&spec.get("dnsConfig"), spec.get("dnsPolicy").str(), errs);
    gates(spec, errs);
    scheduling::topology_spread(&spec.get("topologySpreadConstraints"), errs);
    host_users(spec, errs);
    names(spec, errs);
    scheduling::tolerations(&spec.get("tolerations"), errs);
    for alias in spec.get("hostAliases").items() {
        ip::legacy(&alias.get("ip"), &[], errs);
        for host in alias.get("hostnames").items() {
            host.complain(errs, format::subdomain(host.str()));
        }
    }
    for (name, quantity) in spec.get("overhead").entries() {
        crate::validation::amount::resource_name(name, &quantity, errs);
        crate::validation::amount::value(name, &quantity, errs);
    }
    if os.is_set() {
        os.get("name").required_one_of(errs, &["linux", "windows"], "");
        security::for_os(spec, os.get("name").str(), errs);
    }
    handler::file_keys(spec, errs);
}

fn names(spec: &At<'_, '_>, errs: &mut ErrorList) {
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let at = spec.get(name);
        if !at.is_empty() {
            at.complain(errs, format::subdomain(at.str()));
        }
    }
    for name in ["hostname", "subdomain"] {
        let at = spec.get(name);
        if !at.is_empty() {
            at.complain(errs, format::label_1123(at.str()));
        }
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if let Some(seconds) = deadline.int()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        deadline.invalid(errs, &format::range(1, i64::from(i32::MAX)));
    }
    let preemption = spec.get("preemptionPolicy");
    if preemption.is_set() {
        preemption.required_one_of(errs, &["PreemptLowerPriority", "Never"], "");
    }
    let fixed = spec.get("hostnameOverride");
    if fixed.is_set() {
        if spec.get("setHostnameAsFQDN").is_true() {
            fixed.forbidden(errs, "may not be specified when setHostnameAsFQDN is true");
        }
        if spec.get("hostNetwork").is_true() {
            fixed.forbidden(errs, "may not be specified when hostNetwork is true");
        }
        if fixed.str().len() > MAX_HOSTNAME {
            fixed.too_long(errs, MAX_HOSTNAME);
        }
        fixed.complain(errs, format::subdomain(fixed.str()));
    }
}

fn resource_claims(claims: &At<'_, '_>, errs: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for claim in claims.items() {
        let name = claim.get("name");
        if name.is_empty() {
            name.required(errs, "");
        } else if !seen.insert(name.str()) {
            name.duplicate(errs);
        } else {
            name.complain(errs, format::label_1123(name.str()));
        }
        let (by_name, by_template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        match (by_name.is_set(), by_template.is_set()) {
            (true, true) => claim.invalid(errs, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"),
            (false, false) => claim.invalid(errs, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
            _ => {}
        }
        for at in [by_name, by_template] {
            if at.is_set() {
                at.complain(errs, format::subdomain(at.str()));
            }
        }
    }
}

/// On the host's network a container's port is the host's port.
fn host_network_ports(spec: &At<'_, '_>, of: Of, errs: &mut ErrorList) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for c in spec.get("containers").items() {
        for port in c.get("ports").items() {
            let host = port.get("hostPort");
            let (h, c) = (host.int().unwrap_or(0), port.get("containerPort").int().unwrap_or(0));
            if (of == Of::Pod || h != 0) && h != c {
                host.invalid_shown(errs, h, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns_config(config: &At<'_, '_>, policy: &str, errs: &mut ErrorList) {
    let servers = config.get("nameservers");
    if policy == "None" {
        if !config.is_set() {
            return config.required(errs, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            return servers.required(errs, "must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        servers.invalid(errs, &format!("must not have more than {MAX_NAMESERVERS} nameservers"));
    }
    for server in servers.items() {
        ip::legacy(&server, &[], errs);
    }
    let searches = config.get("searches");
    if searches.len() > MAX_SEARCHES {
        searches.invalid(errs, &format!("must not have more than {MAX_SEARCHES} search paths"));
    }
    let length: usize = searches.items().map(|s| s.str().len() + 1).sum();
    if length.saturating_sub(1) > MAX_SEARCH_TEXT {
        searches.invalid(errs, &format!("must not have more than {MAX_SEARCH_TEXT} characters (including spaces) in the search list"));
    }
    for search in searches.items() {
        let text = search.str();
        if text != "." {
            let text = text.strip_suffix('.').unwrap_or(text);
            for detail in format::subdomain_with_underscore(text) {
                search.invalid_shown(errs, text, &detail);
            }
        }
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            option.required(errs, "must not be empty");
        }
    }
}

fn gates(spec: &At<'_, '_>, errs: &mut ErrorList) {
    for gate in spec.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        kind.complain(errs, format::qualified_name(kind.str()));
    }
    let mut seen = BTreeSet::new();
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name").str();
        for detail in format::qualified_name(name) {
            gate.invalid_shown(errs, name, &detail);
        }
        if !seen.insert(name) {
            errs.push(crate::field::Error::duplicate(&gate.path(), name));
        }
    }
}

fn host_users(spec: &At<'_, '_>, errs: &mut ErrorList) {
    const WHY: &str = "when `hostUsers` is false";
    if spec.get("hostUsers").value() != &serde_json::Value::Bool(false) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(field).is_true() {
            errs.push(crate::field::Error::forbidden(&spec.path().child(shown), WHY));
        }
    }
    for list in super::CONTAINERS {
        for c in spec.get(list).items() {
            if !c.get("volumeDevices").is_empty() {
                c.get("volumeDevices").forbidden(errs, WHY);
            }
        }
    }
}
