//! Config maps and secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::at::{At, same};
use super::format;
use crate::field::{Error, ErrorList, Path};

/// All values of one object together, in bytes.
const MAX_SIZE: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

fn keys(map: &At<'_, '_>, errs: &mut ErrorList) {
    for (key, value) in map.entries() {
        for detail in format::config_key(key) {
            value.invalid_shown(errs, key, &detail);
        }
    }
}

/// The number of bytes that base64 text stands for.
fn decoded_size(value: &At<'_, '_>) -> usize {
    let text = value.str();
    let padding = text.bytes().rev().take_while(|c| *c == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

pub(super) fn config_map(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (data, binary) = (o.get("data"), o.get("binaryData"));
    keys(&data, errs);
    for (key, value) in data.entries() {
        if binary.entry(key).is_set() {
            value.invalid_shown(errs, key, "duplicate of key present in binaryData");
        }
    }
    keys(&binary, errs);
    let size: usize = data.entries().map(|(_, v)| v.str().len()).chain(binary.entries().map(|(_, v)| decoded_size(&v))).sum();
    if size > MAX_SIZE {
        // Upstream's path here is the empty one.
        errs.push(Error::too_long(&Path::new("[]"), MAX_SIZE));
    }
}

pub(super) fn config_map_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    frozen(new, old, &["data", "binaryData"], errs);
    config_map(new, errs);
}

fn frozen(new: &At<'_, '_>, old: &At<'_, '_>, fields: &[&'static str], errs: &mut ErrorList) {
    if !old.get("immutable").is_true() {
        return;
    }
    if !new.get("immutable").is_true() {
        new.get("immutable").forbidden(errs, FROZEN);
    }
    for field in fields {
        if !same(new.get(field).value(), old.get(field).value()) {
            new.get(field).forbidden(errs, FROZEN);
        }
    }
}

pub(super) fn secret(o: &At<'_, '_>, errs: &mut ErrorList) {
    let data = o.get("data");
    keys(&data, errs);
    if data.entries().map(|(_, v)| decoded_size(&v)).sum::<usize>() > MAX_SIZE {
        data.too_long(errs, MAX_SIZE);
    }
    let need = |key: &'static str, errs: &mut ErrorList| {
        let missing = data.value().get(key).is_none();
        if missing {
            errs.push(Error::required(&data.path().key(key), ""));
        }
        !missing
    };
    match o.get("type").str() {
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let metadata = o.get("metadata");
            let annotations = metadata.get("annotations");
            if annotations.value().get(NAME).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errs.push(Error::required(&annotations.path().key(NAME), ""));
            }
        }
        "kubernetes.io/dockercfg" if need(".dockercfg", errs) => json_object(&data, ".dockercfg", errs),
        "kubernetes.io/dockerconfigjson" if need(".dockerconfigjson", errs) => json_object(&data, ".dockerconfigjson", errs),
        "kubernetes.io/basic-auth" if data.value().get("username").is_none() && data.value().get("password").is_none() => {
            need("username", errs);
            need("password", errs);
        }
        "kubernetes.io/ssh-auth" if data.entry("ssh-privatekey").is_empty() => {
            errs.push(Error::required(&data.path().key("ssh-privatekey"), ""));
        }
        "kubernetes.io/tls" => {
            need("tls.crt", errs);
            need("tls.key", errs);
        }
        _ => {}
    }
}

fn json_object(data: &At<'_, '_>, key: &'static str, errs: &mut ErrorList) {
    let value = data.entry(key);
    let bytes = STANDARD.decode(value.str()).unwrap_or_default();
    let parsed = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes);
    if let Err(e) = parsed {
        value.invalid_shown(errs, "<secret contents redacted>", &e.to_string());
    }
}

pub(super) fn secret_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (kind, was) = (new.get("type"), old.get("type"));
    if kind.str() != was.str() {
        kind.invalid_str(errs, "field is immutable");
    }
    frozen(new, old, &["data"], errs);
    secret(new, errs);
}
