//! Defaults of containers, probes and lifecycle hooks.

use super::image;
use super::tree::{self, Object};

/// The defaults that containers have in pods and in templates alike.
pub(super) fn container(c: &mut Object) {
    let policy = image::pull_policy(tree::text(c, "image"));
    tree::set_empty(c, "imagePullPolicy", policy);
    tree::set_empty(c, "terminationMessagePath", "/dev/termination-log");
    tree::set_empty(c, "terminationMessagePolicy", "File");
    for port in tree::each(c, "ports") {
        tree::set_empty(port, "protocol", "TCP");
    }
    for env in tree::each(c, "env") {
        if let Some(field) = tree::descend(env, &["valueFrom", "fieldRef"]) {
            tree::set_empty(field, "apiVersion", "v1");
        }
        if let Some(file) = tree::descend(env, &["valueFrom", "fileKeyRef"]) {
            tree::set_absent(file, "optional", false);
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = tree::child(c, key) {
            probe(p);
        }
    }
    for key in ["postStart", "preStop"] {
        if let Some(get) = tree::descend(c, &["lifecycle", key, "httpGet"]) {
            http_get(get);
        }
    }
}

/// Requests that are not given equal the limits; only real pods have this, not templates.
pub(super) fn requests_from_limits(c: &mut Object) {
    if let Some(resources) = tree::child(c, "resources") {
        tree::fill_map(resources, "limits", "requests");
    }
}

/// On the host's network the host port is the container port; only real pods have this, not templates.
pub(super) fn host_ports(c: &mut Object) {
    for port in tree::each(c, "ports") {
        if let Some(number) = port.get("containerPort").cloned() {
            tree::set_empty(port, "hostPort", number);
        }
    }
}

fn probe(p: &mut Object) {
    for (key, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)] {
        tree::set_empty(p, key, value);
    }
    if let Some(get) = tree::child(p, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = tree::child(p, "grpc") {
        tree::set_absent(grpc, "service", "");
    }
}

fn http_get(get: &mut Object) {
    tree::set_empty(get, "path", "/");
    tree::set_empty(get, "scheme", "HTTP");
}
