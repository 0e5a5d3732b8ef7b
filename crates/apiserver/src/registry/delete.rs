//! DELETE of one object: preconditions, grace, finalizers, and then it goes (upstream `registry/generic/registry/store.go`).

use std::sync::Arc;
use std::time::Duration;

use api::codec::FieldValidation;
use api::meta::Gvk;
use api::{ApiError, meta};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Expect;

use super::write::{self, Written};
use super::{fields, not_found, read_body};
use crate::admission::{self, Operation};
use crate::body::Body;
use crate::call::Call;
use crate::model;
use crate::negotiate::Encoding;
use crate::object::Object;
use crate::request::options::Propagation;
use crate::request::{DeleteOptions, DryRun};
use crate::respond::{self, Made};
use crate::strategy::Grace;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// How often a deletion is tried again on a newer state.
const ATTEMPTS: usize = 30;

/// What a deletion came to.
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Made),
    /// It is marked, and goes when its grace or its finalizers are over.
    Pending(Made),
}

impl Deleted {
    /// The object, gone or not.
    pub fn made(&self) -> &Made {
        match self {
            Self::Gone(made) | Self::Pending(made) => made,
        }
    }
}

/// Answers the request.
pub async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = options(call, body).await?;
    match delete(call, &call.info.name, &options).await? {
        Deleted::Pending(made) => {
            let waits = matches!(options.propagation, Some(Propagation::Orphan | Propagation::Foreground));
            respond::object(call, &made, if waits { StatusCode::ACCEPTED } else { StatusCode::OK })
        }
        Deleted::Gone(made) if call.resource.strategy.returns_deleted() => respond::object(call, &made, StatusCode::OK),
        Deleted::Gone(made) => {
            let tree = made.tree(call);
            let status = respond::success(&call.info.name, call.group(), call.plural(), meta::uid(&tree));
            respond::tree(call, &status, StatusCode::OK)
        }
    }
}

/// The options from the body or the query.
pub async fn options(call: &Call, body: Body) -> Result<DeleteOptions, ApiError> {
    let bytes = read_body(call, body).await?;
    if bytes.is_empty() {
        return DeleteOptions::parse(None, &call.query);
    }
    let encoding = Encoding::of_request(&call.headers)?;
    let own = Gvk::new(call.group(), &call.resource.descriptor.version, "DeleteOptions");
    // Clients send the options under the resource's group, under core v1, or under meta.k8s.io.
    let decode = |gvk: &Gvk| model::decode(&bytes, encoding, gvk, FieldValidation::Ignore);
    let decoded = decode(&own)
        .or_else(|_| decode(&Gvk::new("", "v1", "DeleteOptions")))
        .or_else(|_| decode(&Gvk::new("meta.k8s.io", "v1", "DeleteOptions")))?;
    DeleteOptions::parse(Some(&decoded.object), &call.query)
}

/// Deletes the object of that name.
pub async fn delete(call: &Call, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    let key = call.resource.key(&call.info.namespace, name);
    let mut present = super::cached(call, &key);
    for _ in 0..ATTEMPTS {
        let Some(existing) = present else { return Err(ApiError::not_found(call.group(), call.plural(), name)) };
        match attempt(call, options, &existing).await? {
            Attempt::Done(deleted) => return Ok(deleted),
            Attempt::Again(newer) => present = newer,
        }
    }
    Err(ApiError::modified(call.group(), call.plural(), name))
}

enum Attempt {
    Done(Deleted),
    Again(Option<Arc<Object>>),
}

async fn attempt(call: &Call, options: &DeleteOptions, existing: &Arc<Object>) -> Result<Attempt, ApiError> {
    let old = call.resource.to_served(existing.tree());
    check_preconditions(call, options, &old)?;
    let review = admission::Review { call, operation: Operation::Delete, old: Some(&old) };
    let mut nothing = Value::Null;
    admission::mutate(&call.server.admission, &review, &mut nothing).await?;
    admission::validate(&call.server.admission, &review, &nothing).await?;

    let plan = plan(call, options, &old);
    match plan {
        Plan::Nothing => Ok(Attempt::Done(Deleted::Pending(Made::Stored(existing.clone())))),
        Plan::Mark(tree) if options.dry_run == DryRun::All => Ok(Attempt::Done(Deleted::Pending(Made::Tree(tree)))),
        Plan::Remove if options.dry_run == DryRun::All => Ok(Attempt::Done(Deleted::Gone(Made::Stored(existing.clone())))),
        Plan::Mark(tree) => match write::put(call, existing.key(), tree, Expect::Modified(existing.revision())).await? {
            Written::Done(object) => Ok(Attempt::Done(Deleted::Pending(Made::Stored(object)))),
            Written::Lost(newer) => Ok(Attempt::Again(newer)),
        },
        Plan::Remove => match write::remove(call, existing).await? {
            Written::Done(object) => {
                call.server.allocator.release(call, &old);
                Ok(Attempt::Done(Deleted::Gone(Made::Stored(object))))
            }
            Written::Lost(newer) => Ok(Attempt::Again(newer)),
        },
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<(), ApiError> {
    let conflict = |why: String| Err(ApiError::conflict(call.group(), &call.resource.descriptor.kind, meta::name(old), &why));
    match &options.uid {
        Some(uid) if uid != meta::uid(old) => {
            return conflict(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                meta::uid(old)
            ));
        }
        _ => {}
    }
    match &options.resource_version {
        Some(version) if version != meta::resource_version(old) => conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            meta::resource_version(old)
        )),
        _ => Ok(()),
    }
}

enum Plan {
    /// A deletion is already on its way and this one adds nothing.
    Nothing,
    /// Write the marked object.
    Mark(Value),
    /// Take it away.
    Remove,
}

/// What a deletion does to this state of the object.
fn plan(call: &Call, options: &DeleteOptions, old: &Value) -> Plan {
    let now = call.server.clock.now();
    let strategy = call.resource.strategy;
    let mut tree = old.clone();
    let grace = strategy.grace(old, options.grace_period_seconds.map(|g| if g < 0 { 1 } else { g }));
    let marked = meta::deletion_timestamp(old).map(str::to_owned);
    let remaining = old.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let mut graceful = None;
    if let Grace::Seconds(seconds) = grace {
        match &marked {
            None => {
                bump(&mut tree);
                graceful = Some((seconds, seconds_later(now, seconds)));
            }
            Some(_) if remaining == 0 => {}
            Some(at) => match options.grace_period_seconds {
                Some(asked) if asked.max(0) < remaining => graceful = Some(shortened(now, at, remaining, asked.max(0))),
                _ => return Plan::Nothing,
            },
        }
    }
    let finalizers = finalizers(call, options, old);
    set(&mut tree, "finalizers", (!finalizers.is_empty()).then(|| json!(finalizers)));
    let waits = !finalizers.is_empty() || !strategy.may_go(old);
    if let Some((seconds, at)) = graceful {
        if seconds == 0 && !waits {
            return Plan::Remove;
        }
        set(&mut tree, "deletionTimestamp", Some(json!(at)));
        set(&mut tree, "deletionGracePeriodSeconds", Some(json!(seconds)));
        return Plan::Mark(tree);
    }
    if !waits {
        return Plan::Remove;
    }
    if marked.is_none() {
        bump(&mut tree);
        set(&mut tree, "deletionTimestamp", Some(json!(fields::timestamp(now))));
    }
    // A namespace waits for its spec's finalizers, which know no grace period.
    if strategy.may_go(old) {
        set(&mut tree, "deletionGracePeriodSeconds", Some(json!(0)));
    } else if let Some(status) = tree.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("phase".to_owned(), json!("Terminating"));
    }
    if tree == *old { Plan::Nothing } else { Plan::Mark(tree) }
}

fn seconds_later(now: std::time::SystemTime, seconds: i64) -> String {
    let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    fields::timestamp(now.checked_add(wait).unwrap_or(now))
}

/// A second deletion may only shorten the first one's grace.
fn shortened(now: std::time::SystemTime, at: &str, before: i64, asked: i64) -> (i64, String) {
    let ends = at.parse::<jiff::Timestamp>().ok().map(std::time::SystemTime::from).unwrap_or(now);
    let started = ends.checked_sub(Duration::from_secs(u64::try_from(before).unwrap_or(0))).unwrap_or(now);
    let wanted = started.checked_add(Duration::from_secs(u64::try_from(asked).unwrap_or(0))).unwrap_or(now);
    if wanted >= now {
        return (asked, fields::timestamp(wanted));
    }
    // All of it is over, but it was asked for gracefully: the shortest grace there is.
    (if asked == 0 { 0 } else { 1 }, fields::timestamp(now))
}

fn bump(tree: &mut Value) {
    let generation = meta::generation(tree);
    if generation > 0 {
        set(tree, "generation", Some(json!(generation.saturating_add(1))));
    }
}

fn set(tree: &mut Value, field: &str, value: Option<Value>) {
    if let Some(metadata) = meta::metadata_mut(tree) {
        match value {
            Some(value) => metadata.insert(field.to_owned(), value),
            None => metadata.remove(field),
        };
    }
}

/// The finalizers with which the garbage collector is told what to do about dependents.
fn finalizers(call: &Call, options: &DeleteOptions, old: &Value) -> Vec<String> {
    let present: Vec<&str> = meta::finalizers(old).collect();
    let mut kept: Vec<String> = present.iter().filter(|f| !matches!(**f, ORPHAN | FOREGROUND)).map(|f| (*f).to_owned()).collect();
    if call.plural() == "events" {
        return kept;
    }
    let policy = options.propagation.unwrap_or_else(|| {
        let has = |which: &str| present.contains(&which);
        match (has(ORPHAN), has(FOREGROUND)) {
            (true, _) => Propagation::Orphan,
            (_, true) => Propagation::Foreground,
            _ => call.resource.strategy.default_propagation(),
        }
    });
    match policy {
        Propagation::Orphan => kept.push(ORPHAN.to_owned()),
        Propagation::Foreground => kept.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    kept
}

/// 404 unless the object exists; for callers that only want to know.
pub fn require(call: &Call) -> Result<Arc<Object>, ApiError> {
    super::cached(call, &call.key()).ok_or_else(|| not_found(call))
}
