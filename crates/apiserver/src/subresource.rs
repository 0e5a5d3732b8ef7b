//! What hangs below an object, and kinds that are answered but never stored.

mod binding;
mod connect;
mod eviction;
mod kubelet;
mod proxy;
mod reviews;
mod scale;
mod token;

use api::ApiError;
use http::{Method, Response};
use hyper::upgrade::OnUpgrade;
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::registry::{self, patch, update};
use crate::respond;

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
        // Components report by their own health paths; none of them is known here.
        ("", "componentstatuses", "list") => {
            let metadata = json!({"resourceVersion": call.server.storage.applied().0.to_string()});
            Ok(respond::pieces(call, respond::view::list(call, &[], metadata)?))
        }
        ("", "componentstatuses", _) => Err(registry::not_found(call)),
        ("authentication.k8s.io" | "authorization.k8s.io", _, "create") => reviews::serve(call, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}
