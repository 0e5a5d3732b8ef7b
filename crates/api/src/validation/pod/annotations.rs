//! Annotations that mean something to pods.

use crate::field::ErrorList;
use crate::validation::at::At;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod or template.
pub(super) fn pod(annotations: &At<'_, '_>, spec: &At<'_, '_>, errs: &mut ErrorList) {
    for (key, value) in annotations.entries() {
        let text = value.str();
        if key == MIRROR && spec.get("nodeName").is_empty() {
            value.invalid_str(errs, "must set spec.nodeName if mirror pod annotation is set");
        } else if key == DELETION_COST && !is_cost(text) {
            value.invalid_str(errs, "must be a 32bit integer");
        } else if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(&value, errs);
        } else if let Some(container) = key.strip_prefix(APPARMOR) {
            let found = super::CONTAINERS.iter().any(|list| spec.get(list).items().any(|c| c.get("name").str() == container));
            if !found {
                value.invalid_shown(errs, container, "container not found");
            }
            if !(matches!(text, "" | "runtime/default" | "unconfined") || text.starts_with("localhost/")) {
                value.invalid_str(errs, &format!("invalid AppArmor profile name: {text:?}"));
            }
        }
    }
}

fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    canonical && text.parse::<i32>().is_ok()
}

fn seccomp(value: &At<'_, '_>, errs: &mut ErrorList) {
    match value.str() {
        "runtime/default" | "docker/default" | "unconfined" => {}
        text if text.starts_with("localhost/") => {}
        _ => value.invalid_str(errs, "must be a valid seccomp profile"),
    }
}

/// An old annotation must not contradict the field that replaced it.
pub(super) fn match_fields(annotations: &At<'_, '_>, spec: &At<'_, '_>, errs: &mut ErrorList) {
    let said = |key: &str| annotations.value().get(key).and_then(serde_json::Value::as_str);
    if let Some(text) = said(SECCOMP_POD) {
        agrees(text, &spec.get("securityContext").get("seccompProfile"), "seccomp", errs);
    }
    for list in super::CONTAINERS {
        for c in spec.get(list).items() {
            let name = c.get("name").str();
            let context = c.get("securityContext");
            if let Some(text) = said(&format!("{SECCOMP_CONTAINER}{name}")) {
                agrees(text, &context.get("seccompProfile"), "seccomp", errs);
            }
            if let Some(text) = said(&format!("{APPARMOR}{name}")) {
                agrees(text, &context.get("appArmorProfile"), "apparmor", errs);
            }
        }
    }
}

fn agrees(text: &str, profile: &At<'_, '_>, what: &str, errs: &mut ErrorList) {
    let kind = profile.get("type");
    let type_differs = match kind.str() {
        "Unconfined" => text != "unconfined",
        "RuntimeDefault" => text != "runtime/default" && !(what == "seccomp" && text == "docker/default"),
        "Localhost" => !text.starts_with("localhost/"),
        _ => return,
    };
    if type_differs {
        kind.forbidden(errs, &format!("{what} type in annotation and field must match"));
    } else if kind.str() == "Localhost" && text.strip_prefix("localhost/") != profile.get("localhostProfile").value().as_str() {
        profile.get("localhostProfile").forbidden(errs, &format!("{what} profile in annotation and field must match"));
    }
}

/// Some annotations may not change after creation.
pub(super) fn updated(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let fixed = |key: &str| key == MIRROR || key.starts_with(APPARMOR);
    for (key, value) in old.entries().filter(|(key, _)| fixed(key)) {
        let now = new.entry(key);
        if now.value() != value.value() {
            let what = if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
            now.forbidden(errs, &format!("may not remove or update {what}"));
        }
    }
    for (key, value) in new.entries().filter(|(key, _)| fixed(key)) {
        if !old.entry(key).is_set() {
            let what = if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
            value.forbidden(errs, &format!("may not add {what}"));
        }
    }
}
