//! `serviceaccounts/token`: a token for a while, for an audience, bound to an object.

use api::meta::Gvk;
use api::{ApiError, field, meta};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::model;
use crate::negotiate::Encoding;
use crate::registry::fields::timestamp;
use crate::registry::{delete, read_body};
use crate::request::WriteOptions;
use crate::respond;

/// The shortest and the longest life of a token, in seconds.
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = read_body(call, body).await?;
    let kind = Gvk::new("authentication.k8s.io", "v1", "TokenRequest");
    let mut request = model::decode(&bytes, Encoding::of_request(&call.headers)?, &kind, options.field_validation)?.object;
    model::default(&kind, &mut request);
    let account = delete::require(call)?.tree();
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let path = field::Path::new("spec").child("expirationSeconds");
    let mut errors = field::ErrorList::new();
    if seconds < SHORTEST {
        errors.push(field::Error::invalid(&path, seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > LONGEST {
        errors.push(field::Error::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", &call.info.name, &errors));
    }
    let bound = bound_object(call, &request, &account)?;
    let mut answer = call.server.tokens.issue(request, &account, bound.as_ref()).await?;
    if let Some(metadata) = meta::metadata_mut(&mut answer) {
        metadata.insert("name".to_owned(), json!(meta::name(&account)));
        metadata.insert("namespace".to_owned(), json!(meta::namespace(&account)));
        metadata.insert("creationTimestamp".to_owned(), json!(timestamp(call.server.clock.now())));
    }
    respond::tree(call, &answer, StatusCode::CREATED)
}

/// The object that the token shall die with.
fn bound_object(call: &Call, request: &Value, account: &Value) -> Result<Option<Value>, ApiError> {
    let Some(reference) = request.pointer("/spec/boundObjectRef").filter(|r| r.is_object()) else { return Ok(None) };
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
    let (plural, namespace) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => ("pods", call.info.namespace.as_str()),
        ("v1", "Secret") => ("secrets", call.info.namespace.as_str()),
        ("v1", "Node") => ("nodes", ""),
        (version, kind) => {
            return Err(ApiError::bad_request(format!("cannot bind token for serviceaccount to object of type {version}, Kind={kind}")));
        }
    };
    let name = text("name");
    let found = call.server.find("", plural, namespace, name).ok_or_else(|| ApiError::not_found("", plural, name))?.tree();
    let uid = text("uid");
    if !uid.is_empty() && uid != meta::uid(&found) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", plural, name, &why));
    }
    if plural == "pods" {
        let runs_as = found.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default();
        if runs_as != meta::name(account) {
            let message = format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                meta::name(account)
            );
            return Err(ApiError::bad_request(message));
        }
    }
    Ok(Some(found))
}
