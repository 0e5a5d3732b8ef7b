//! Horizontal pod autoscalers, of both versions.

use super::at::At;
use super::{amount, format, number};
use crate::field::{Error, ErrorList};

/// The longest period of a scaling policy, in seconds.
const MAX_PERIOD: i64 = 1800;
/// The longest window for a decision to settle, in seconds.
const MAX_WINDOW: i64 = 3600;
/// Type and field of each source of a metric.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

pub(super) fn autoscaler(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let (least, most, target) = (spec.get("minReplicas"), spec.get("maxReplicas"), spec.get("scaleTargetRef"));
    if least.int().is_some_and(|n| n < 1) {
        least.invalid(errs, "must be greater than or equal to 1");
    }
    match most.int().unwrap_or(0) {
        0 => most.required(errs, "must be set and greater than 0"),
        n if n < 0 => most.invalid(errs, "must be greater than or equal to 1"),
        _ => {}
    }
    if least.int().is_some_and(|n| most.int().unwrap_or(0) < n) {
        most.invalid_shown(errs, most.int().unwrap_or(0), "must be greater than or equal to `minReplicas`");
    }
    reference(&target, errs);
    spec.get("metrics").items().for_each(|m| metric(&m, errs));
    let behavior = spec.get("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        scaling_rules(&behavior.get(direction), errs);
    }
    let percent = spec.get("targetCPUUtilizationPercentage");
    if percent.int().is_some_and(|p| p < 1) {
        percent.invalid(errs, "must be greater than 0");
    }
}

pub(super) fn status(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    number::counters(&new.get("status"), &["currentReplicas", "desiredReplicas"], errs);
}

fn reference(at: &At<'_, '_>, errs: &mut ErrorList) {
    for field in ["kind", "name"] {
        segment(&at.get(field), "", errs);
    }
    let version = at.get("apiVersion");
    if version.str().matches('/').count() > 1 {
        version.invalid_str(errs, &format!("unexpected GroupVersion string: {}", version.str()));
    }
}

fn segment(at: &At<'_, '_>, missing: &str, errs: &mut ErrorList) {
    if at.is_empty() {
        at.required(errs, missing);
    } else {
        at.complain(errs, format::path_segment(at.str()));
    }
}

fn metric(at: &At<'_, '_>, errs: &mut ErrorList) {
    const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
    let kind = at.get("type");
    if kind.is_empty() {
        kind.required(errs, "must specify a metric source type");
    }
    kind.one_of(errs, TYPES);
    let present: Vec<&'static str> = SOURCES.iter().map(|(_, field)| *field).filter(|f| at.get(f).is_set()).collect();
    if let Some(first) = present.first() {
        source(first, &at.get(first), errs);
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind.str()).map(|(_, field)| *field);
    if let Some(expected) = expected
        && !present.contains(&expected)
    {
        at.get(expected).required(errs, "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for other in present.iter().filter(|f| Some(**f) != expected) {
            at.get(other).forbidden(errs, "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    let target = at.get("target");
    match kind {
        "resource" | "containerResource" => {
            let (name, container) = (at.get("name"), at.get("container"));
            if name.is_empty() {
                name.required(errs, "must specify a resource name");
            }
            if kind == "containerResource" {
                if container.is_empty() {
                    container.required(errs, "must specify a container");
                } else {
                    container.complain(errs, format::label_1123(container.str()));
                }
            }
        }
        _ => {
            if kind == "object" {
                reference(&at.get("describedObject"), errs);
            }
            let metric = at.get("metric");
            segment(&metric.get("name"), "must specify a metric name", errs);
        }
    }
    self::target(&target, errs);
    let (value, average, percent) = (target.get("value"), target.get("averageValue"), target.get("averageUtilization"));
    match kind {
        "object" if !value.is_set() && !average.is_set() => average.required(errs, "must set either a target value or averageValue"),
        "external" if !value.is_set() && !average.is_set() => {
            average.required(errs, "must set either a target value for metric or a per-pod target");
        }
        "external" if value.is_set() && average.is_set() => {
            value.forbidden(errs, "may not set both a target value for metric and a per-pod target");
        }
        "pods" if !average.is_set() => average.required(errs, "must specify a positive target averageValue"),
        "resource" | "containerResource" => match (percent.is_set(), average.is_set()) {
            (false, false) => percent.required(errs, "must set either a target raw value or a target utilization"),
            (true, true) => average.forbidden(errs, "may not set both a target raw value and a target utilization"),
            _ => {}
        },
        _ => {}
    }
}

fn target(at: &At<'_, '_>, errs: &mut ErrorList) {
    let kind = at.get("type");
    if kind.is_empty() {
        kind.required(errs, "must specify a metric target type");
    }
    if !matches!(kind.str(), "Utilization" | "Value" | "AverageValue") {
        kind.invalid_str(errs, "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"] {
        let value = at.get(field);
        if value.is_set() && amount::quantity(&value).signum() <= 0 {
            value.invalid(errs, "must be positive");
        }
    }
    let percent = at.get("averageUtilization");
    if percent.int().is_some_and(|p| p < 1) {
        percent.invalid(errs, "must be greater than 0");
    }
}

fn scaling_rules(at: &At<'_, '_>, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let (window, select, policies, tolerance) =
        (at.get("stabilizationWindowSeconds"), at.get("selectPolicy"), at.get("policies"), at.get("tolerance"));
    match window.int() {
        Some(s) if s < 0 => window.invalid(errs, "must be greater than or equal to zero"),
        Some(s) if s > MAX_WINDOW => window.invalid(errs, &format!("must be less than or equal to {MAX_WINDOW}")),
        _ => {}
    }
    if select.is_set() {
        select.one_of(errs, &["Disabled", "Max", "Min"]);
    }
    if policies.is_empty() {
        policies.required(errs, "must specify at least one Policy");
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !matches!(kind.str(), "Pods" | "Percent") {
            errs.push(Error::not_supported(&kind.path(), kind.str(), &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let at = policy.get(field);
            if at.int().unwrap_or(0) <= 0 {
                at.invalid_shown(errs, at.int().unwrap_or(0), "must be greater than zero");
            }
        }
        if policy.get("periodSeconds").int().is_some_and(|s| s > MAX_PERIOD) {
            policy.get("periodSeconds").invalid(errs, &format!("must be less than or equal to {MAX_PERIOD}"));
        }
    }
    if tolerance.is_set() && amount::quantity(&tolerance).signum() < 0 {
        tolerance.invalid_shown(errs, amount::quantity(&tolerance).to_string(), "must be greater than or equal to 0");
    }
}
