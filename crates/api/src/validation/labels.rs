//! Labels and label selectors.

use serde_json::Value;

use super::at::At;
use super::format;
use crate::field::ErrorList;

/// The keys and values of labels.
pub(super) fn labels(at: &At<'_, '_>, errs: &mut ErrorList) {
    for (key, value) in at.entries() {
        for detail in format::qualified_name(key) {
            at.invalid_shown(errs, key, &detail);
        }
        for detail in format::label_value(value.str()) {
            at.invalid_shown(errs, value.str(), &detail);
        }
    }
}

/// A label selector with `matchLabels` and `matchExpressions`.
pub(super) fn selector(at: &At<'_, '_>, errs: &mut ErrorList) {
    labels(&at.get("matchLabels"), errs);
    for expression in at.get("matchExpressions").items() {
        requirement(&expression, errs);
    }
}

fn requirement(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (operator, values, key) = (at.get("operator"), at.get("values"), at.get("key"));
    match operator.str() {
        "In" | "NotIn" if values.is_empty() => values.required(errs, "must be specified when `operator` is 'In' or 'NotIn'"),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden(errs, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => operator.invalid_str(errs, "not a valid selector operator"),
    }
    key.complain(errs, format::qualified_name(key.str()));
    for value in values.items() {
        value.complain(errs, format::label_value(value.str()));
    }
}

/// Whether a selector says nothing at all, and so would select everything.
pub(super) fn is_blank(selector: &At<'_, '_>) -> bool {
    selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty()
}

/// Whether `selector` selects an object with these labels. A blank selector selects everything.
pub(super) fn matches(selector: &At<'_, '_>, labels: &Value) -> bool {
    let value_of = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = selector.get("matchLabels").entries().all(|(key, value)| value_of(key) == Some(value.str()));
    equal
        && selector.get("matchExpressions").items().all(|e| {
            let actual = value_of(e.get("key").str());
            let listed = |v: &str| e.get("values").items().any(|x| x.str() == v);
            match e.get("operator").str() {
                "In" => actual.is_some_and(listed),
                "NotIn" => !actual.is_some_and(listed),
                "Exists" => actual.is_some(),
                "DoesNotExist" => actual.is_none(),
                _ => false,
            }
        })
}
