//! Probes and lifecycle hooks.

use super::spec::Context;
use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::format;

/// Signals that can stop a container on Linux.
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// The three probes of a container.
pub(super) fn probes(c: &At<'_, '_>, errs: &mut ErrorList) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = c.get(name);
        if !probe.is_set() {
            continue;
        }
        handlers(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, errs);
        for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            probe.get(field).not_negative(errs);
        }
        let grace = probe.get("terminationGracePeriodSeconds");
        if grace.int().is_some_and(|s| s <= 0) {
            grace.invalid(errs, "must be greater than 0");
        }
        if name == "readinessProbe" {
            if grace.is_set() {
                grace.invalid(errs, "must not be set for readinessProbes");
            }
        } else if probe.get("successThreshold").int() != Some(1) {
            probe.get("successThreshold").invalid_shown(errs, probe.get("successThreshold").int().unwrap_or(0), "must be 1");
        }
    }
}

pub(super) fn lifecycle(at: &At<'_, '_>, context: &Context<'_>, errs: &mut ErrorList) {
    for name in ["postStart", "preStop"] {
        if at.get(name).is_set() {
            handlers(&at.get(name), &["exec", "httpGet", "tcpSocket", "sleep"], context.grace, errs);
        }
    }
    let signal = at.get("stopSignal");
    if signal.is_set() {
        match context.os {
            None => signal.forbidden(errs, "may not be set for containers with empty `spec.os.name`"),
            Some("windows") => signal.one_of(errs, &["SIGKILL", "SIGTERM"]),
            Some("linux") => signal.one_of(errs, SIGNALS),
            Some(_) => {}
        }
    }
}

fn handlers(at: &At<'_, '_>, kinds: &[&'static str], grace: Option<i64>, errs: &mut ErrorList) {
    let mut found = false;
    for kind in kinds {
        let handler = at.get(kind);
        if !handler.is_set() {
            continue;
        }
        if found {
            handler.forbidden(errs, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if handler.get("command").is_empty() => handler.get("command").required(errs, ""),
            "httpGet" => http_get(&handler, errs),
            "tcpSocket" | "grpc" => port(&handler.get("port"), errs),
            "sleep" => sleep(&handler, grace, errs),
            _ => {}
        }
    }
    if !found {
        at.required(errs, "must specify a handler type");
    }
}

fn http_get(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.get("path").is_empty() {
        at.get("path").required(errs, "");
    }
    port(&at.get("port"), errs);
    at.get("scheme").one_of(errs, &["HTTP", "HTTPS"]);
    let headers = at.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").str();
        for detail in format::header_name(name) {
            headers.invalid_shown(errs, name, &detail);
        }
    }
}

/// A port by number or name.
pub(in crate::validation) fn port(at: &At<'_, '_>, errs: &mut ErrorList) {
    match at.value() {
        serde_json::Value::String(name) => at.complain(errs, format::port_name(name)),
        _ => {
            let number = at.int().unwrap_or(0);
            for detail in format::port_number(number) {
                at.invalid_shown(errs, number, &detail);
            }
        }
    }
}

fn sleep(at: &At<'_, '_>, grace: Option<i64>, errs: &mut ErrorList) {
    let seconds = at.get("seconds").int().unwrap_or(0);
    if let Some(grace) = grace
        && !(0..=grace).contains(&seconds)
    {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        at.invalid_shown(errs, seconds, &why);
    }
}

/// A variable read from a file needs the empty directory that the file is in.
pub(super) fn file_keys(spec: &At<'_, '_>, errs: &mut ErrorList) {
    for list in super::CONTAINERS {
        for c in spec.get(list).items() {
            for var in c.get("env").items() {
                let from = var.get("valueFrom");
                let reference = from.get("fileKeyRef");
                if !reference.is_set() {
                    continue;
                }
                let volume = reference.get("volumeName");
                match spec.get("volumes").items().find(|v| v.get("name").str() == volume.str()) {
                    None => errs.push(Error::not_found(&volume.path(), volume.str())),
                    Some(v) if !v.get("emptyDir").is_set() => volume.invalid_str(errs, "referenced volume must be of type emptyDir"),
                    Some(_) => {}
                }
            }
        }
    }
}
