//! POST to a collection.

use api::{ApiError, meta};
use http::{Response, StatusCode};
use serde_json::Value;
use store::Expect;

use super::write::{self, Written};
use super::{fields, read_body};
use crate::admission::Operation;
use crate::body::Body;
use crate::call::Call;
use crate::managed;
use crate::model;
use crate::negotiate::Encoding;
use crate::pipeline::{self, Shaped};
use crate::request::{DryRun, WriteOptions};
use crate::respond::{self, Made};

/// How often a generated name that is taken is replaced by another one.
const NAME_ATTEMPTS: usize = 8;

/// Answers the request.
pub async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let tree = decode(call, body, &options).await?;
    let made = create(call, &options, tree).await?;
    respond::object(call, &made, StatusCode::CREATED)
}

/// The body as an object of the resource's kind.
pub async fn decode(call: &Call, body: Body, options: &WriteOptions) -> Result<Value, ApiError> {
    let encoding = Encoding::of_request(&call.headers)?;
    let bytes = read_body(call, body).await?;
    let decoded = model::decode(&bytes, encoding, &call.resource.gvk(), options.field_validation)?;
    decoded.warnings.into_iter().for_each(|w| call.warn(w));
    Ok(decoded.object)
}

/// Creates the object.
pub async fn create(call: &Call, options: &WriteOptions, mut tree: Value) -> Result<Made, ApiError> {
    fields::match_namespace(call, &mut tree)?;
    if !meta::resource_version(&tree).is_empty() && meta::resource_version(&tree) != "0" {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let generated = meta::name(&tree).is_empty() && !meta::generate_name(&tree).is_empty();
    managed::on_create(call, options, &mut tree);
    for attempt in 1..=NAME_ATTEMPTS {
        let mut candidate = tree.clone();
        fields::generate_name(call, &mut candidate);
        match attempt_create(call, options, candidate).await {
            Err(e) if generated && e.reason == api::Reason::AlreadyExists && attempt < NAME_ATTEMPTS => {}
            other => return other,
        }
    }
    Err(ApiError::internal("no free name was found"))
}

async fn attempt_create(call: &Call, options: &WriteOptions, candidate: Value) -> Result<Made, ApiError> {
    let Shaped { tree, reservation } = pipeline::shape(call, Operation::Create, candidate, None).await?;
    let name = meta::name(&tree).to_owned();
    let key = call.resource.key(&call.info.namespace, &name);
    if options.dry_run == DryRun::All {
        return match super::cached(call, &key) {
            Some(_) => Err(ApiError::already_exists(call.group(), call.plural(), &name)),
            None => Ok(Made::Tree(tree)),
        };
    }
    match write::put(call, &key, tree, Expect::Absent).await? {
        Written::Done(object) => {
            reservation.keep();
            Ok(Made::Stored(object))
        }
        Written::Lost(existing) => Err(taken(call, &name, existing.as_deref())),
    }
}

fn taken(call: &Call, name: &str, existing: Option<&crate::Object>) -> ApiError {
    let being_deleted = existing.is_some_and(|o| meta::deletion_timestamp(&o.tree()).is_some());
    let mut error = ApiError::already_exists(call.group(), call.plural(), name);
    if being_deleted {
        error.message = format!("object is being deleted: {}", error.message);
    }
    error
}
