//! Events, of the core group (lenient, for old clients) and of `events.k8s.io` (strict).

use super::at::At;
use super::format;
use crate::field::{Error, ErrorList, Path};

/// The longest `reportingInstance`, `action` and `reason`, in bytes.
const MAX_WORD: usize = 128;
/// The longest message, in bytes.
const MAX_NOTE: usize = 1024;

/// Which of the two groups; their field names differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Core,
    Events,
}

struct Names {
    object: &'static str,
    controller: &'static str,
    message: &'static str,
}

impl Group {
    fn names(self) -> Names {
        match self {
            Self::Core => Names { object: "involvedObject", controller: "reportingComponent", message: "message" },
            Self::Events => Names { object: "regarding", controller: "reportingController", message: "note" },
        }
    }
}

pub(super) fn core(o: &At<'_, '_>, errs: &mut ErrorList) {
    lenient(o, Group::Core, errs);
}

pub(super) fn events(o: &At<'_, '_>, errs: &mut ErrorList) {
    lenient(o, Group::Events, errs);
    let (series, kind) = (o.get("series"), o.get("type"));
    if series.is_set() {
        if series.get("count").int().unwrap_or(0) < 2 {
            errs.push(Error::invalid(&Path::new("series.count"), "", "should be at least 2"));
        }
        if !series.get("lastObservedTime").is_set() {
            errs.push(Error::required(&Path::new("series.lastObservedTime"), ""));
        }
    }
    if o.get("eventTime").is_empty() {
        o.get("eventTime").required(errs, "");
    }
    if !matches!(kind.str(), "Normal" | "Warning") {
        kind.invalid_shown(errs, "", &format!("has invalid value: {}", kind.str()));
    }
    for (field, shown) in
        [("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp"), ("deprecatedCount", "count")]
    {
        if !o.get(field).is_empty() {
            errs.push(Error::invalid(&Path::new(shown), "", "needs to be unset"));
        }
    }
    let source = o.get("deprecatedSource");
    if !source.get("component").is_empty() || !source.get("host").is_empty() {
        errs.push(Error::invalid(&Path::new("source"), "", "needs to be unset"));
    }
}

pub(super) fn core_update(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    lenient(new, Group::Core, errs);
}

pub(super) fn events_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    lenient(new, Group::Events, errs);
    for (field, shown) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let mut own = ErrorList::new();
        new.get(field).immutable(&old.get(field), &mut own);
        errs.extend(own.into_iter().map(|e| Error { field: Path::new(shown), ..e }));
    }
}

fn lenient(o: &At<'_, '_>, group: Group, errs: &mut ErrorList) {
    let names = group.names();
    let (metadata, object) = (o.get("metadata"), o.get(names.object));
    let (namespace, about) = (metadata.get("namespace").str(), object.get("namespace").str());
    let path = Path::new("involvedObject").child("namespace");
    let mismatch = || Error::invalid(&path, about, "does not match event.namespace");
    if o.get("eventTime").is_empty() {
        let fits = if about.is_empty() { matches!(namespace, "" | "default") } else { namespace == about };
        if !fits {
            errs.push(mismatch());
        }
    } else {
        if about.is_empty() && !matches!(namespace, "default" | "kube-system") {
            errs.push(mismatch());
        }
        let controller = o.get(names.controller);
        if controller.is_empty() {
            controller.required(errs, "");
        }
        controller.complain(errs, format::qualified_name(controller.str()));
        for (field, most) in [("reportingInstance", MAX_WORD), ("action", MAX_WORD), ("reason", MAX_WORD)] {
            let at = o.get(field);
            if at.is_empty() {
                at.required(errs, "");
            }
            if at.str().len() > most {
                at.invalid_shown(errs, "", &format!("can have at most {most} characters"));
            }
        }
        if o.get(names.message).str().len() > MAX_NOTE {
            errs.push(Error::invalid(&Path::new("message"), "", &format!("can have at most {MAX_NOTE} characters")));
        }
    }
    for detail in format::subdomain(namespace) {
        errs.push(Error::invalid(&Path::new("namespace"), namespace, &detail));
    }
}
