//! PUT, and the read-change-write loop that patches share.

use api::{ApiError, field, meta};
use http::{Response, StatusCode};
use serde_json::Value;
use store::Expect;

use super::write::{self, Written};
use super::{create, fields, not_found};
use crate::admission::Operation;
use crate::body::Body;
use crate::call::Call;
use crate::managed;
use crate::object::Object;
use crate::pipeline::{self, Shaped};
use crate::request::{DryRun, WriteOptions};
use crate::respond::{self, Made};
use crate::strategy::{Unconditional, Upsert};

/// How often a change is tried again on a newer state when it does not depend on a revision.
const ATTEMPTS: usize = 30;

/// Whether the object was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existed {
    /// It was.
    Yes,
    /// It has just been created.
    No,
}

/// Makes the new object from the present one (`None`: there is none), both in the served version.
pub type Change<'a> = Box<dyn Fn(Option<&Value>) -> Result<Value, ApiError> + Send + Sync + 'a>;

/// Answers the request.
pub async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
    let mut tree = create::decode(call, body, &options).await?;
    fields::match_name(call, &mut tree)?;
    let upsert = if call.info.subresource.is_empty() { call.resource.strategy.upsert() } else { Upsert::Refused };
    let (made, existed) = change(call, &options, upsert, Box::new(move |_| Ok(tree.clone()))).await?;
    respond::object(call, &made, if existed == Existed::No { StatusCode::CREATED } else { StatusCode::OK })
}

/// Reads, changes, writes; again on a newer state when somebody else was faster and the change allows it.
pub async fn change(call: &Call, options: &WriteOptions, upsert: Upsert, change: Change<'_>) -> Result<(Made, Existed), ApiError> {
    let key = call.key();
    let mut present = super::cached(call, &key);
    for _ in 0..ATTEMPTS {
        let Some(existing) = present else {
            if upsert == Upsert::Refused {
                return Err(not_found(call));
            }
            let mut tree = change(None)?;
            if !meta::uid(&tree).is_empty() {
                let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: ", meta::uid(&tree));
                return Err(ApiError::conflict(call.group(), call.plural(), &call.info.name, &why));
            }
            if let Some(metadata) = meta::metadata_mut(&mut tree) {
                metadata.remove("resourceVersion");
            }
            return Ok((create::create(call, options, tree).await?, Existed::No));
        };
        match attempt(call, options, &existing, &change).await? {
            Attempt::Done(made) => return Ok((made, Existed::Yes)),
            Attempt::Again(newer) => present = newer,
        }
    }
    Err(ApiError::modified(call.group(), call.plural(), &call.info.name))
}

enum Attempt {
    Done(Made),
    Again(Option<std::sync::Arc<Object>>),
}

async fn attempt(call: &Call, options: &WriteOptions, existing: &std::sync::Arc<Object>, change: &Change<'_>) -> Result<Attempt, ApiError> {
    let old = call.resource.to_served(existing.tree());
    let mut new = change(Some(&old))?;
    fields::match_namespace(call, &mut new)?;
    check_preconditions(call, &new, &old)?;
    meta::set(&mut new, "resourceVersion", meta::resource_version(&old));
    managed::on_update(call, options, &mut new, &old);
    let Shaped { mut tree, reservation } = pipeline::shape(call, Operation::Update, new, Some(&old)).await?;
    managed::settle(&mut tree, &old);
    if deletes(call, &tree) {
        return finish_deletion(call, options, existing, tree).await;
    }
    if options.dry_run == DryRun::All {
        return Ok(Attempt::Done(Made::Tree(tree)));
    }
    // A write that changes nothing is none: the revision stays, and no watcher wakes.
    if tree == old {
        reservation.keep();
        return Ok(Attempt::Done(Made::Stored(existing.clone())));
    }
    match write::put(call, existing.key(), tree, Expect::Modified(existing.revision())).await? {
        Written::Done(object) => {
            reservation.keep();
            Ok(Attempt::Done(Made::Stored(object)))
        }
        // A change that names a revision meets a newer one in the next attempt, and fails there with a conflict.
        Written::Lost(newer) => Ok(Attempt::Again(newer)),
    }
}

/// The UID and revision that the new object names must be those of the old one.
fn check_preconditions(call: &Call, new: &Value, old: &Value) -> Result<(), ApiError> {
    let (group, plural, name) = (call.group(), call.plural(), call.info.name.as_str());
    let (uid, old_uid) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != old_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}");
        return Err(ApiError::conflict(group, plural, name, &why));
    }
    match meta::resource_version(new) {
        "" | "0" if call.resource.strategy.unconditional() == Unconditional::Refused && call.info.verb == "update" => {
            let path = field::Path::new("metadata").child("resourceVersion");
            let error = field::Error {
                kind: field::ErrorKind::Invalid,
                field: path,
                message: "Invalid value: 0: must be specified for an update".to_owned(),
            };
            Err(ApiError::invalid(group, plural, name, &[error]))
        }
        "" | "0" => Ok(()),
        version if version == meta::resource_version(old) => Ok(()),
        _ => Err(ApiError::modified(group, plural, name)),
    }
}

/// Whether this update takes away the last thing that kept a deleted object.
fn deletes(call: &Call, tree: &Value) -> bool {
    let grace = tree.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    meta::deletion_timestamp(tree).is_some() && grace == 0 && meta::finalizers(tree).next().is_none() && call.resource.strategy.may_go(tree)
}

async fn finish_deletion(call: &Call, options: &WriteOptions, existing: &std::sync::Arc<Object>, tree: Value) -> Result<Attempt, ApiError> {
    if options.dry_run == DryRun::All {
        return Ok(Attempt::Done(Made::Tree(tree)));
    }
    match write::remove(call, existing).await? {
        Written::Done(_) => {
            call.server.allocator.release(call, &tree);
            Ok(Attempt::Done(Made::Tree(tree)))
        }
        Written::Lost(None) => Ok(Attempt::Done(Made::Tree(tree))),
        Written::Lost(newer) => Ok(Attempt::Again(newer)),
    }
}
