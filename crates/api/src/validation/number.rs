//! Numbers, percentages and counters.

use serde_json::Value;

use super::at::At;
use super::format;
use crate::field::ErrorList;

/// A whole number that is not negative, or a percentage such as `25%`.
pub(super) fn int_or_percent(at: &At<'_, '_>, errs: &mut ErrorList) {
    match at.value() {
        Value::String(text) => at.complain(errs, format::percent(text)),
        _ => at.not_negative(errs),
    }
}

/// A percentage over 100 makes no sense here.
pub(super) fn at_most_100_percent(at: &At<'_, '_>, errs: &mut ErrorList) {
    if percent(at).is_some_and(|p| p > 100) {
        at.invalid(errs, "must not be greater than 100%");
    }
}

fn percent(at: &At<'_, '_>) -> Option<i64> {
    at.str().strip_suffix('%')?.parse().ok()
}

/// Whether the number or percentage is nothing.
pub(super) fn is_nothing(at: &At<'_, '_>) -> bool {
    percent(at).or(at.int()).unwrap_or(0) == 0
}

/// Counters of a status must not be negative.
pub(super) fn counters(status: &At<'_, '_>, fields: &[&'static str], errs: &mut ErrorList) {
    for field in fields {
        status.get(field).not_negative(errs);
    }
}

/// The number at `field` must not exceed the number at `bound`.
pub(super) fn not_more(status: &At<'_, '_>, field: &'static str, bound: &'static str, why: &str, errs: &mut ErrorList) {
    let (n, most) = (status.get(field).int().unwrap_or(0), status.get(bound).int().unwrap_or(0));
    if n > most {
        status.get(field).invalid_shown(errs, n, why);
    }
}

/// The number at `field` must not become smaller.
pub(super) fn not_decremented(new: &At<'_, '_>, old: &At<'_, '_>, field: &'static str, errs: &mut ErrorList) {
    if let Some(before) = old.get(field).int() {
        let now = new.get(field).int().unwrap_or(0);
        if now < before {
            new.get(field).invalid_shown(errs, now, "cannot be decremented");
        }
    }
}
