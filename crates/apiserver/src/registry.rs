//! The generic verbs over every resource, and the way to what is special.

pub mod create;
pub mod delete;
pub mod delete_collection;
pub mod fields;
pub mod list;
pub mod patch;
pub mod selection;
pub mod update;
pub mod watch;
pub mod write;

use api::{ApiError, Reason};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use crate::body::{self, Body, ReadError};
use crate::call::Call;
use crate::respond::{self, Made};
use crate::subresource;

/// Answers a request about a resource that exists.
pub async fn serve(call: &Call, method: Method, body: Body, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, ApiError> {
    if !call.info.subresource.is_empty() {
        return subresource::serve(call, method, body, upgrade).await;
    }
    let descriptor = &call.resource.descriptor;
    let verb = call.info.verb.as_str();
    if descriptor.namespaced
        && call.info.namespace.is_empty()
        && !matches!(verb, "list" | "watch")
        && !descriptor.plural.ends_with("reviews")
    {
        return Err(ApiError::method_not_allowed());
    }
    let of_one = matches!(verb, "get" | "update" | "patch" | "delete");
    if !descriptor.has_verb(verb) || (of_one && call.info.name.is_empty()) {
        return Err(ApiError::method_not_allowed());
    }
    if !call.resource.is_stored() {
        return subresource::virtual_kind(call, body).await;
    }
    match verb {
        "get" => get(call).await,
        "list" => list::serve(call).await,
        "watch" => watch::serve(call).await,
        "create" if call.info.name.is_empty() => create::serve(call, body).await,
        "update" => update::serve(call, body).await,
        "patch" => patch::serve(call, body).await,
        "delete" => delete::serve(call, body).await,
        "deletecollection" => delete_collection::serve(call, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// One object.
pub async fn get(call: &Call) -> Result<Response<Body>, ApiError> {
    let wanted = call.query.text("resourceVersion").map(|v| v.parse::<u64>());
    match wanted {
        None => {
            call.server.storage.fresh().await.map_err(store_failed)?;
        }
        Some(Ok(0)) => {}
        Some(Ok(revision)) => list::not_older_than(call, revision).await?,
        Some(Err(_)) => {
            let text = call.query.text("resourceVersion").unwrap_or_default();
            let message = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
            return Err(ApiError::bad_request(message));
        }
    }
    let found = cached(call, &call.key()).ok_or_else(|| not_found(call))?;
    respond::object(call, &Made::Stored(found), StatusCode::OK)
}

/// The object at the key, from the cache.
pub fn cached(call: &Call, key: &str) -> Option<std::sync::Arc<crate::Object>> {
    call.server.storage.cache(&call.resource.prefix).get(key)
}

/// 404 about the object that the request names.
pub fn not_found(call: &Call) -> ApiError {
    ApiError::not_found(call.group(), call.plural(), &call.info.name)
}

/// What the client sees of a store's failure.
pub fn store_failed(error: store::Error) -> ApiError {
    match error {
        store::Error::TooLarge { .. } => ApiError::new(413, Reason::RequestEntityTooLarge, format!("Request entity too large: {error}")),
        other => ApiError::internal(other),
    }
}

/// The whole body within the server's bound.
pub async fn read_body(call: &Call, body: Body) -> Result<Bytes, ApiError> {
    let limit = call.server.config.body_limit;
    body::read(body, limit).await.map_err(|e| match e {
        ReadError::TooLarge => ApiError::new(413, Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {limit}")),
        ReadError::Broken(why) => ApiError::bad_request(format!("unable to read the request body: {why}")),
    })
}
