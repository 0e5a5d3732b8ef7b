//! Logs and streams of containers: the kubelet of the pod's node has them.

use std::fmt::Write as _;

use api::{ApiError, meta};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::connect::{self, Onward, Target};
use crate::admission::{self, Operation};
use crate::body::{self, Body};
use crate::call::Call;
use crate::registry::delete;
use crate::request::query::Query;

/// Where a kubelet listens when its node does not say.
const KUBELET_PORT: u16 = 10250;
/// How much of a kubelet's complaint is passed on.
const COMPLAINT: usize = 64 * 1024;
/// Which of a node's addresses to call, best first.
const ADDRESSES: [&str; 4] = ["InternalIP", "ExternalIP", "InternalDNS", "Hostname"];

/// The kubelet of a node.
pub(super) fn kubelet(call: &Call, node: &str) -> Result<Target, ApiError> {
    let found = call.server.find("", "nodes", "", node).ok_or_else(|| ApiError::not_found("", "nodes", node))?.tree();
    let addresses = found.pointer("/status/addresses").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |kind: &str| addresses.iter().find(|a| a.get("type").is_some_and(|t| t == kind)).and_then(|a| a.get("address")?.as_str());
    let host = ADDRESSES
        .iter()
        .find_map(|k| of(k))
        .ok_or_else(|| ApiError::internal(format!("no preferred addresses found; known addresses: {addresses:?}")))?;
    let port = found.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64).and_then(|p| u16::try_from(p).ok());
    let client = call
        .server
        .config
        .kubelet_client
        .as_ref()
        .ok_or_else(|| ApiError::internal("the server has no client certificate for kubelets"))?;
    Ok(Target { host: host.to_owned(), port: port.filter(|p| *p != 0).unwrap_or(KUBELET_PORT), tls: Some(client.0.clone()) })
}

/// `pods/log`.
pub(super) async fn log(call: &Call) -> Result<Response<Body>, ApiError> {
    let pod = delete::require(call)?.tree();
    let container = container(&pod, call.query.text("container"))?;
    let mut query = String::new();
    for key in ["follow", "previous", "timestamps"] {
        if call.query.flag(key) {
            param(&mut query, key, "true");
        }
    }
    for key in ["sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"] {
        if let Some(value) = call.query.text(key) {
            param(&mut query, key, value);
        }
    }
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        return Ok(crate::respond::text(StatusCode::OK, ""));
    }
    let target = kubelet(call, node)?;
    let path = format!("/containerLogs/{}/{}/{container}{query}", call.info.namespace, call.info.name);
    let onward = Onward { method: Method::GET, path, headers: HeaderMap::new(), body: body::empty(), upgrade: None };
    let mut response = check(connect::forward(&target, onward).await?).await?;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// `pods/exec`, `pods/attach` and `pods/portforward`.
pub(super) async fn stream(call: &Call, method: Method, body: Body, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, ApiError> {
    let pod = delete::require(call)?.tree();
    let subresource = call.info.subresource.as_str();
    let mut options = json!({});
    let review = admission::Review { call, operation: Operation::Connect, old: Some(&pod) };
    admission::mutate(&call.server.admission, &review, &mut options).await?;
    admission::validate(&call.server.admission, &review, &options).await?;
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    let (path, query) = if subresource == "portforward" {
        let ports: Vec<&str> = call.query.all("ports").chain(call.query.all("port")).collect();
        let mut query = String::new();
        if !ports.is_empty() {
            param(&mut query, "port", &ports.join(","));
        }
        ("portForward".to_owned(), query)
    } else {
        let container = container(&pod, call.query.text("container"))?;
        (format!("{subresource}/\0{container}"), streams(&call.query))
    };
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", call.info.name)));
    }
    let place = format!("{}/{}", call.info.namespace, call.info.name);
    let path = match path.split_once('\0') {
        Some((verb, container)) => format!("/{verb}{place}/{container}{query}"),
        None => format!("/{path}/{place}{query}"),
    };
    let target = kubelet(call, node)?;
    let onward = Onward { method, path, headers: call.headers.clone(), body, upgrade };
    check(connect::forward(&target, onward).await?).await
}

fn streams(query: &Query) -> String {
    let mut out = String::new();
    for (asked, told) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if query.flag(asked) {
            param(&mut out, told, "1");
        }
    }
    query.all("command").for_each(|word| param(&mut out, "command", word));
    out
}

fn param(query: &mut String, key: &str, value: &str) {
    let mark = if query.is_empty() { '?' } else { '&' };
    // Writing to a string cannot fail.
    let _ = write!(query, "{mark}{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
}

/// The container that is meant, in upstream's words when it is not clear.
fn container(pod: &Value, asked: Option<&str>) -> Result<String, ApiError> {
    let names = |key: &str| -> Vec<String> {
        let list = pod.pointer(&format!("/spec/{key}")).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|c| c.get("name")?.as_str()).map(str::to_owned).collect()
    };
    let (main, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let name = meta::name(pod);
    match (asked, main.as_slice()) {
        (Some(asked), _) if main.iter().chain(&init).chain(&ephemeral).any(|c| c == asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
        (None, [only]) if init.is_empty() && ephemeral.is_empty() => Ok(only.clone()),
        (None, []) => Err(ApiError::bad_request(format!("a container name must be specified for pod {name}"))),
        (None, _) => {
            let mut message = format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
            for (kind, list) in [("init containers", &init), ("ephemeral containers", &ephemeral)] {
                if !list.is_empty() {
                    let _ = write!(message, " or one of the {kind}: [{}]", list.join(" "));
                }
            }
            Err(ApiError::bad_request(message))
        }
    }
}

/// A kubelet's complaint becomes a `Status`.
async fn check(response: Response<Body>) -> Result<Response<Body>, ApiError> {
    let code = response.status();
    if code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let text = body::read(response.into_body(), COMPLAINT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(match code.as_u16() {
        400 => ApiError::bad_request(text),
        401 | 403 => ApiError::internal(format!("the kubelet refused this server ({code}): {text}")),
        404 => ApiError::new(404, api::Reason::NotFound, text),
        500 => ApiError::internal(text),
        other => ApiError::new(other, api::Reason::Unknown, text),
    })
}
