//! Requests that are about no resource: discovery, OpenAPI, version, health, metrics, keys.

pub mod documents;
mod health;

use std::sync::Arc;

use api::ApiError;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::body::{self, Body};
use crate::identity::UserInfo;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Server;
use documents::Document;

/// Answers the request.
pub async fn serve(
    server: &Arc<Server>,
    parts: &http::request::Parts,
    info: &RequestInfo,
    user: &UserInfo,
) -> Result<Response<Body>, ApiError> {
    let path = parts.uri.path();
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let _ = (info, user);
    if let Some(document) = documents::find(server, path, parts) {
        return Ok(document_response(parts, &document));
    }
    Ok(match path {
        "/version" => respond::json(&version()),
        "/metrics" => respond::text(StatusCode::OK, server.metrics.text()),
        "/.well-known/openid-configuration" => respond::json(&server.tokens.discovery_document()),
        "/openid/v1/jwks" => keys(server),
        _ => match health::serve(server, path, parts).await {
            Some(response) => response,
            None => respond::no_such_page(),
        },
    })
}

fn keys(server: &Server) -> Response<Body> {
    let mut response = respond::json(&server.tokens.key_set());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    response
}

fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": crate::config::VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn document_response(parts: &http::request::Parts, document: &Document) -> Response<Body> {
    let known = parts.headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&document.etag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(http::header::VARY, HeaderValue::from_static("Accept"));
    if known.split(',').any(|t| t.trim() == document.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(document.media));
    *response.body_mut() = body::full(document.bytes.clone());
    response
}
