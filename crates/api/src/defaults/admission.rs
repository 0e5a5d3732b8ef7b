//! Defaults of the kinds that extend the API server.

use serde_json::{Value, json};

use super::tree::{self, Object};

/// The port of a service that is called back.
const SERVICE_PORT: u32 = 443;
/// How long a webhook may take, in seconds.
const WEBHOOK_SECONDS: u32 = 10;

/// Which of the two webhook kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Webhooks {
    Validating,
    Mutating,
}

pub(super) fn webhooks(o: &mut Object, kind: Webhooks) {
    for hook in tree::each(o, "webhooks") {
        tree::set_absent(hook, "failurePolicy", "Fail");
        tree::set_absent(hook, "timeoutSeconds", WEBHOOK_SECONDS);
        if kind == Webhooks::Mutating {
            tree::set_absent(hook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = tree::descend(hook, &["clientConfig", "service"]) {
            tree::set_absent(service, "port", SERVICE_PORT);
        }
        matching(hook);
        for rule in tree::each(hook, "rules") {
            tree::set_absent(rule, "scope", "*");
        }
    }
}

fn matching(o: &mut Object) {
    tree::set_absent(o, "matchPolicy", "Equivalent");
    tree::set_absent(o, "namespaceSelector", json!({}));
    tree::set_absent(o, "objectSelector", json!({}));
}

fn match_resources(o: &mut Object) {
    matching(o);
    for key in ["resourceRules", "excludeResourceRules"] {
        for rule in tree::each(o, key) {
            tree::set_absent(rule, "scope", "*");
        }
    }
}

pub(super) fn policy(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    tree::set_absent(spec, "failurePolicy", "Fail");
    if let Some(constraints) = tree::child(spec, "matchConstraints") {
        match_resources(constraints);
    }
}

pub(super) fn policy_binding(o: &mut Object) {
    if let Some(resources) = tree::descend(o, &["spec", "matchResources"]) {
        match_resources(resources);
    }
}

pub(super) fn custom_resource_definition(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    if let Some(names) = tree::grow(spec, "names") {
        let kind = tree::text(names, "kind").to_owned();
        tree::set_empty(names, "singular", kind.to_lowercase());
        if !kind.is_empty() {
            tree::set_empty(names, "listKind", format!("{kind}List"));
        }
    }
    tree::set_absent(spec, "conversion", json!({"strategy": "None"}));
    if let Some(service) = tree::descend(spec, &["conversion", "webhook", "clientConfig", "service"]) {
        tree::set_absent(service, "port", SERVICE_PORT);
    }
    let stored =
        tree::each(spec, "versions").find(|v| v.get("storage") == Some(&Value::Bool(true))).map(|v| tree::text(v, "name").to_owned());
    if let (Some(name), Some(status)) = (stored, tree::grow(o, "status")) {
        tree::set_empty(status, "storedVersions", json!([name]));
    }
}

pub(super) fn api_service(o: &mut Object) {
    if let Some(service) = tree::descend(o, &["spec", "service"]) {
        tree::set_absent(service, "port", SERVICE_PORT);
    }
}
