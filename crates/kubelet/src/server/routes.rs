//! Which request is for what.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::auth::Identity;
use super::query::Query;
use super::reply::{self, Body};
use super::{Shared, logs, metrics, stats, stream};

/// Answers one request.
pub(super) async fn answer(shared: &Shared, peer: Option<Identity>, request: Request<Incoming>) -> Response<Body> {
    let who = match peer {
        Some(who) => Some(who),
        None => match bearer(&request) {
            Some(token) => shared.access.of_token(&token).await,
            None => None,
        },
    };
    let Some(who) = who else { return reply::text(StatusCode::UNAUTHORIZED, "Unauthorized") };
    let path = request.uri().path().to_owned();
    if !shared.access.allows(&who, request.method(), &path).await {
        let message = format!("Forbidden (user={}, verb={}, resource=nodes, path={path})", who.user, request.method());
        return reply::text(StatusCode::FORBIDDEN, message);
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let decoded = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
    let parts: Vec<&str> = decoded.trim_matches('/').split('/').collect();
    route(shared, &parts, &query, request).await
}

async fn route(shared: &Shared, parts: &[&str], query: &Query, request: Request<Incoming>) -> Response<Body> {
    let interactive = matches!(*request.method(), Method::GET | Method::POST);
    match parts {
        ["healthz", ..] => reply::text(StatusCode::OK, "ok"),
        ["pods"] => pods(shared),
        ["containerLogs", namespace, pod, container] => logs::answer(shared, namespace, pod, container, query).await,
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] if interactive => {
            stream::exec(shared, namespace, pod, container, query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] if interactive => {
            stream::attach(shared, namespace, pod, container, query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] if interactive => {
            stream::port_forward(shared, namespace, pod, query, request).await
        }
        ["run", namespace, pod, container] | ["run", namespace, pod, _, container] if request.method() == Method::POST => {
            stream::run(shared, namespace, pod, container, query).await
        }
        ["stats", "summary"] => stats::summary(shared).await,
        ["metrics"] => metrics::own(shared),
        ["metrics", "resource"] => metrics::resource(shared).await,
        ["configz"] => configz(shared),
        _ => reply::text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn bearer(request: &Request<Incoming>) -> Option<String> {
    let header = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned()).filter(|t| !t.is_empty())
}

fn pods(shared: &Shared) -> Response<Body> {
    let pods: Vec<Pod> = shared.registry.list().iter().map(|p| p.as_ref().clone()).collect();
    reply::json(&json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
}

fn configz(shared: &Shared) -> Response<Body> {
    let config = &shared.machine.config;
    let dns: Vec<String> = config.cluster_dns.iter().map(ToString::to_string).collect();
    reply::json(&json!({ "kubeletconfig": {
        "clusterDNS": dns,
        "clusterDomain": config.cluster_domain,
        "maxPods": config.max_pods,
        "resolvConf": config.resolv_conf,
        "cgroupRoot": config.cgroup_root,
        "cgroupDriver": if shared.machine.systemd_cgroups { "systemd" } else { "cgroupfs" },
        "registerNode": config.register == crate::config::Register::Yes,
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "port": config.server.as_ref().map_or(0, |s| s.bind.port()),
    } }))
}
