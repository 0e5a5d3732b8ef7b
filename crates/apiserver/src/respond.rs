//! Answers: objects, statuses, errors, warnings, compression.

pub mod view;
pub mod wire;
pub mod yaml;

use std::io::Write as _;
use std::sync::Arc;

use api::ApiError;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::call::Call;
use crate::negotiate::{Accept, Views};
use crate::object::Object;

/// Longer answers are compressed for clients that are not on this machine; shorter ones are not worth it.
const COMPRESS_FROM: usize = 128 * 1024;

/// What a write or read came to.
#[derive(Clone, Debug)]
pub enum Made {
    /// A stored object.
    Stored(Arc<Object>),
    /// An object (in the served version) that is not stored: a dry run, a review, a scale.
    Tree(Value),
}

impl Made {
    /// The object as a tree in the served version.
    pub fn tree(&self, call: &Call) -> Value {
        match self {
            Self::Stored(object) => call.resource.to_served(object.tree()),
            Self::Tree(tree) => tree.clone(),
        }
    }
}

/// An object, in the encoding and view that the client wants.
pub fn object(call: &Call, made: &Made, code: StatusCode) -> Result<Response<Body>, ApiError> {
    let bytes = view::single(call, made)?;
    Ok(whole(call, bytes, code))
}

/// A tree of another kind than the resource's own (a status, a scale).
pub fn tree(call: &Call, tree: &Value, code: StatusCode) -> Result<Response<Body>, ApiError> {
    Ok(whole(call, wire::encode(tree, call.accept)?, code))
}

fn whole(call: &Call, bytes: Bytes, code: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::full(Bytes::new()));
    *response.status_mut() = code;
    typed(response.headers_mut(), call.accept.media_type());
    if compresses(call, bytes.len())
        && let Some(packed) = gzip(std::slice::from_ref(&bytes))
    {
        packed_headers(response.headers_mut());
        *response.body_mut() = body::full(packed);
        return response;
    }
    *response.body_mut() = body::full(bytes);
    response
}

/// A long answer in pieces.
pub fn pieces(call: &Call, pieces: Vec<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::empty());
    typed(response.headers_mut(), call.accept.media_type());
    let length = pieces.iter().map(Bytes::len).sum();
    if compresses(call, length)
        && let Some(packed) = gzip(&pieces)
    {
        packed_headers(response.headers_mut());
        *response.body_mut() = body::full(packed);
        return response;
    }
    *response.body_mut() = body::pieces(pieces);
    response
}

fn compresses(call: &Call, length: usize) -> bool {
    let asked = call.headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    // On the machine itself the wire is free and compression costs a hundred times what copying does.
    call.far && length > COMPRESS_FROM && asked.split(',').any(|e| e.trim().split(';').next() == Some("gzip"))
}

fn gzip(pieces: &[Bytes]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for piece in pieces {
        encoder.write_all(piece).ok()?;
    }
    encoder.finish().ok()
}

fn packed_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
}

fn typed(headers: &mut HeaderMap, media: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
}

/// `Status` of a success.
pub fn success(name: &str, group: &str, resource: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource});
    if let Some(fields) = details.as_object_mut() {
        for (key, value) in [("group", group), ("uid", uid)] {
            if !value.is_empty() {
                fields.insert(key.to_owned(), json!(value));
            }
        }
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// The answer to a request that failed.
pub fn error(error: &ApiError, request: &HeaderMap) -> Response<Body> {
    let accept = Accept::parse(request, Views::All).unwrap_or_default();
    let accept = Accept { view: crate::negotiate::View::Object, ..accept };
    let status = error.to_status();
    let (bytes, media) = match wire::encode(&status, accept) {
        Ok(bytes) => (bytes, accept.media_type()),
        Err(_) => (Bytes::from(status.to_string()), "application/json"),
    };
    let mut response = Response::new(body::full(bytes));
    *response.status_mut() = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    typed(response.headers_mut(), media);
    let retry = error.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry));
    }
    if error.code == 401 {
        response.headers_mut().insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kubernetes\""));
    }
    response
}

/// A plain text.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = code;
    typed(response.headers_mut(), "text/plain; charset=utf-8");
    response.headers_mut().insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

/// A JSON document that is no API object.
pub fn json(document: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(document.to_string()));
    typed(response.headers_mut(), "application/json");
    response
}

/// 404 for a path that leads nowhere, as upstream's router answers it.
pub fn no_such_page() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Adds `Warning: 299 - "…"` headers.
pub fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for sentence in warnings {
        let quoted = sentence.replace('\\', "\\\\").replace('"', "\\\"");
        let printable: String = quoted.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{printable}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}
