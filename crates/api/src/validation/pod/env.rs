//! Environment variables.

use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::{amount, format};

/// Fields of the pod that an environment variable may show.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that a file may show.
pub(super) const FILE_FIELDS: &[&str] = &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that can be named at all.
const KNOWN_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"];
const RESOURCES: &[&str] =
    &["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const SIZES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

/// Where a resource field stands: a file must say of which container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Env,
    File,
}

pub(super) fn env(list: &At<'_, '_>, errs: &mut ErrorList) {
    for var in list.items() {
        let name = var.get("name");
        if name.is_empty() {
            name.required(errs, "");
        } else {
            name.complain(errs, format::env_name(name.str()));
        }
        let from = var.get("valueFrom");
        if from.is_set() {
            value_from(&from, var.get("value").str(), errs);
        }
    }
}

fn value_from(from: &At<'_, '_>, value: &str, errs: &mut ErrorList) {
    let mut sources = 0_u32;
    let mut source = |name: &'static str, errs: &mut ErrorList, check: fn(&At<'_, '_>, &mut ErrorList)| {
        if from.get(name).is_set() {
            sources += 1;
            check(&from.get(name), errs);
        }
    };
    source("fieldRef", errs, |at, errs| field_ref(at, ENV_FIELDS, errs));
    source("resourceFieldRef", errs, |at, errs| resource_field_ref(at, Place::Env, errs));
    source("configMapKeyRef", errs, key_ref);
    source("secretKeyRef", errs, key_ref);
    source("fileKeyRef", errs, file_key_ref);
    let why = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    from.invalid_shown(errs, "", why);
}

/// A reference to a field of the pod.
pub(super) fn field_ref(at: &At<'_, '_>, allowed: &[&str], errs: &mut ErrorList) {
    let (version, path) = (at.get("apiVersion"), at.get("fieldPath"));
    if version.is_empty() {
        return version.required(errs, "");
    }
    if path.is_empty() {
        return path.required(errs, "");
    }
    if version.str() != "v1" {
        return path.invalid(errs, &format!("error converting fieldPath: unsupported pod version: {}", version.str()));
    }
    let text = path.str();
    if let Some((base, key)) = text.strip_suffix("']").and_then(|t| t.split_once("['")) {
        match base {
            "metadata.annotations" => complain_at(at, &key.to_lowercase(), errs),
            "metadata.labels" => complain_at(at, key, errs),
            _ => path.invalid(errs, &format!("error converting fieldPath: field label does not support subscript: {text}")),
        }
    } else if !ENV_FIELDS.contains(&text) && !KNOWN_FIELDS.contains(&text) {
        path.invalid(errs, &format!("error converting fieldPath: field label not supported: {text}"));
    } else {
        let text = if text == "spec.host" { "spec.nodeName" } else { text };
        if !allowed.contains(&text) {
            errs.push(Error::not_supported(&path.path(), text, allowed));
        }
    }
}

fn complain_at(at: &At<'_, '_>, key: &str, errs: &mut ErrorList) {
    for detail in format::qualified_name(key) {
        at.invalid_shown(errs, key, &detail);
    }
}

/// A reference to a container's resource.
pub(super) fn resource_field_ref(at: &At<'_, '_>, place: Place, errs: &mut ErrorList) {
    let resource = at.get("resource");
    let name = resource.str();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if place == Place::File && at.get("containerName").is_empty() {
        at.get("containerName").required(errs, "");
    } else if name.is_empty() {
        resource.required(errs, "");
    } else if !RESOURCES.contains(&name) && !huge {
        errs.push(Error::not_supported(&resource.path(), name, RESOURCES));
    }
    let divisor = at.get("divisor");
    let quantity = amount::quantity(&divisor);
    if quantity.is_zero() {
        return;
    }
    let shown = quantity.to_string();
    let size_fits = SIZES.split(", ").any(|s| s == shown);
    let what = match name.split_once('.').map_or("", |(_, r)| r) {
        "cpu" if !matches!(shown.as_str(), "1m" | "1") => {
            return divisor.invalid_shown(errs, name, "only divisor's values 1m and 1 are supported with the cpu resource");
        }
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if huge => "hugepages",
        _ => return,
    };
    if !size_fits {
        divisor.invalid_shown(errs, name, &format!("only divisor's values {SIZES} are supported with the {what} resource"));
    }
}

fn key_ref(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (name, key) = (at.get("name"), at.get("key"));
    name.complain(errs, format::subdomain(name.str()));
    if key.is_empty() {
        key.required(errs, "");
    } else {
        key.complain(errs, format::config_key(key.str()));
    }
}

fn file_key_ref(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (key, volume, path) = (at.get("key"), at.get("volumeName"), at.get("path"));
    if key.is_empty() {
        key.required(errs, "");
    } else {
        key.complain(errs, format::env_name(key.str()));
    }
    if volume.is_empty() {
        volume.required(errs, "");
    } else {
        volume.complain(errs, format::label_1123(volume.str()));
    }
    if path.is_empty() {
        path.required(errs, "");
    } else if path.str().split('/').any(|part| part == "..") {
        path.invalid(errs, "must not contain '..'");
    }
}

pub(super) fn env_from(list: &At<'_, '_>, errs: &mut ErrorList) {
    for source in list.items() {
        let prefix = source.get("prefix");
        if !prefix.is_empty() {
            prefix.complain(errs, format::env_name(prefix.str()));
        }
        let mut sources = 0_u32;
        for kind in ["configMapRef", "secretRef"] {
            let reference = source.get(kind);
            if !reference.is_set() {
                continue;
            }
            sources += 1;
            let name = reference.get("name");
            if name.is_empty() {
                name.required(errs, "");
            } else {
                name.complain(errs, format::subdomain(name.str()));
            }
        }
        match sources {
            0 => list.invalid_shown(errs, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => list.invalid_shown(errs, "", "may not have more than one field specified at a time"),
        }
    }
}
