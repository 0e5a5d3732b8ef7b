//! What hangs below an object, and kinds that are answered but never stored.

mod binding;
mod connect;
mod eviction;
mod kubelet;
mod proxy;
mod reviews;
mod scale;
mod token;

use std::sync::Arc;

use api::{ApiError, meta};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::components;
use crate::object::{self, Object};
use crate::registry::selection::Selection;
use crate::registry::{self, patch, update};
use crate::request::ListOptions;
use crate::respond::{self, Made};

/// Answers a request about a subresource.
pub async fn serve(call: &Call, method: Method, body: Body, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, ApiError> {
    let name = call.info.subresource.as_str();
    let Some(subresource) = call.resource.descriptor.subresource(name) else { return Ok(respond::no_such_page()) };
    let verb = call.info.verb.as_str();
    if !subresource.verbs.iter().any(|v| v == verb) {
        return Err(ApiError::method_not_allowed());
    }
    match name {
        "scale" => scale::serve(call, body).await,
        "binding" => binding::serve(call, body).await,
        "eviction" => eviction::serve(call, body).await,
        "token" => token::serve(call, body).await,
        "log" => kubelet::log(call).await,
        "exec" | "attach" | "portforward" => kubelet::stream(call, method, body, upgrade).await,
        "proxy" => proxy::serve(call, method, body, upgrade).await,
        // The rest are views of the object itself, of which only a part may change.
        _ => match verb {
            "get" => registry::get(call).await,
            "update" => update::serve(call, body).await,
            "patch" => patch::serve(call, body).await,
            _ => Err(ApiError::method_not_allowed()),
        },
    }
}

/// Answers a request about a kind that is never stored.
pub async fn virtual_kind(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    match (call.group(), call.plural(), call.info.verb.as_str()) {
        ("", "bindings", "create") => binding::serve(call, body).await,
        ("", "componentstatuses", verb @ ("list" | "get")) => component_statuses(call, verb),
        ("authentication.k8s.io" | "authorization.k8s.io", _, "create") => reviews::serve(call, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn component_statuses(call: &Call, verb: &str) -> Result<Response<Body>, ApiError> {
    let all = components::statuses(&call.server);
    if verb == "get" {
        let found = all.into_iter().find(|c| meta::name(c) == call.info.name).ok_or_else(|| registry::not_found(call))?;
        return respond::object(call, &Made::Tree(found), StatusCode::OK);
    }
    let options = ListOptions::parse(&call.query, false)?;
    let selection = Selection::parse(call, &options.label_selector, &options.field_selector)?;
    let matching: Vec<_> = all
        .iter()
        .filter_map(|c| {
            let key = format!("/registry/componentstatuses/{}", meta::name(c));
            Object::from_stored(key.into(), &Bytes::from(object::encode(c)), call.server.storage.applied()).ok().map(Arc::new)
        })
        .filter(|o| selection.matches(o))
        .collect();
    Ok(respond::pieces(call, respond::view::list(call, &matching, json!({}))?))
}
