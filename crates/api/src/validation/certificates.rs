//! Certificate signing requests.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::at::{At, same};
use super::format;
use crate::field::{Error, ErrorList};

/// The shortest life that may be asked for, in seconds.
const MIN_SECONDS: i64 = 600;
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) fn request(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let (body, usages, signer, life) = (spec.get("request"), spec.get("usages"), spec.get("signerName"), spec.get("expirationSeconds"));
    if !is_request_pem(body.str()) {
        body.invalid_str(errs, "PEM block type must be CERTIFICATE REQUEST");
    }
    if usages.is_empty() {
        usages.required(errs, "");
    }
    let mut seen = BTreeSet::new();
    for usage in usages.items() {
        usage.one_of(errs, USAGES);
        if !seen.insert(usage.str()) {
            usage.duplicate(errs);
        }
    }
    if signer.str() == "kubernetes.io/legacy-unknown" {
        signer.invalid(errs, "the legacy signerName is not allowed via this API version");
    } else {
        signer_name(&signer, errs);
    }
    if life.int().is_some_and(|s| s < MIN_SECONDS) {
        life.invalid(errs, "may not specify a duration less than 600 seconds (10 minutes)");
    }
    conditions(o, errs);
}

/// Whether base64 text holds a PEM block of a request. Its signature, the signer checks.
fn is_request_pem(encoded: &str) -> bool {
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.contains("-----BEGIN CERTIFICATE REQUEST-----") && text.contains("-----END CERTIFICATE REQUEST-----")
}

/// `domain/path`, the domain with at least two labels.
fn signer_name(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errs, "");
    }
    let Some((domain, path)) = at.str().split_once('/') else {
        return at.invalid(errs, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if format::subdomain(domain).is_empty() && !domain.contains('.') {
        at.invalid_shown(errs, domain, "should be a domain with at least two segments separated by dots");
    }
    for detail in format::subdomain(domain) {
        at.invalid_shown(errs, domain, &detail);
    }
    for segment in path.split('/') {
        for detail in format::subdomain(segment) {
            at.invalid(errs, &format!("validating path segment {segment:?}: {detail}"));
        }
    }
}

fn conditions(o: &At<'_, '_>, errs: &mut ErrorList) {
    let status = o.get("status");
    let list = status.get("conditions");
    let mut seen = BTreeSet::new();
    for condition in list.items() {
        let (kind, state) = (condition.get("type"), condition.get("status"));
        if kind.is_empty() {
            kind.required(errs, "");
        }
        let only_true = matches!(kind.str(), "Approved" | "Denied" | "Failed");
        state.required_one_of(errs, if only_true { &["True"] } else { &["False", "True", "Unknown"] }, "");
        let other = match kind.str() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !other.is_empty() && seen.contains(other) {
            list.invalid_shown(errs, kind.str(), "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind.str()) {
            kind.duplicate(errs);
        }
    }
}

pub(super) fn update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    request(new, errs);
    kept_conditions(new, old, errs);
    let (status, before) = (new.get("status"), old.get("status"));
    if !same(status.get("certificate").value(), before.get("certificate").value()) {
        status.get("certificate").forbidden(errs, "updates may not set certificate content");
    }
}

/// By the status and the approval subresource.
pub(super) fn status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    conditions(new, errs);
    kept_conditions(new, old, errs);
    let (status, before) = (new.get("status"), old.get("status"));
    let issued = before.get("certificate");
    if !issued.is_empty() && !same(status.get("certificate").value(), issued.value()) {
        status.get("certificate").forbidden(errs, "updates may not modify existing certificate content");
    }
}

fn kept_conditions(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let count = |o: &At<'_, '_>, kind: &str| o.get("status").get("conditions").items().filter(|c| c.get("type").str() == kind).count();
    for kind in ["Approved", "Denied", "Failed"] {
        if count(new, kind) < count(old, kind) {
            let path = new.get("status").get("conditions").path();
            errs.push(Error::forbidden(&path, &format!("updates may not remove a condition of type {kind:?}")));
        }
    }
}
