//! Server-side apply: who owns which field of an object, and merging by ownership.
//!
//! It does what structured-merge-diff and apimachinery's `managedfields` do, on JSON trees and with the schema table; without
//! a schema every map merges key by key and every list is atomic. [`update`] runs on every write: it borrows all names from the
//! objects at hand, skips equal parts, and writes only the entries that changed.
//!
//! Never here: defaulting, validation of values, storage. The caller decodes, defaults and validates the merged object.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::error::{ApiError, Reason};
use crate::meta::{self, Gvk};
use crate::schema::Type;

mod collect;
mod compare;
mod conflict;
mod element;
mod encoding;
mod entries;
mod last_applied;
mod merge;
mod problem;
mod prune;
mod remove;
mod reset;
mod scale;
mod set;
mod spot;
mod update;
mod validate;

pub use element::{Element, ElementError};
pub use entries::{MAX_UPDATE_MANAGERS, Operation};
pub use reset::{ResetFields, Step};
pub use scale::{ReplicasPaths, to_parent, to_scale};
pub use set::FieldSet;
pub use update::{settle, update};

use conflict::Conflict;
use entries::Entry;
use problem::Problems;
use spot::Spot;

/// Who owns what was there before the first apply.
const BEFORE: &str = "before-first-apply";

/// What is written to: the kind and version of the request, and the subresource.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The schema of the kind; `None` for custom resources without one.
    pub schema: Option<&'a Type>,
    /// The kind in the request's version. Both objects must be in that version.
    pub gvk: &'a Gvk,
    /// `status`, `scale`, …, or empty.
    pub subresource: &'a str,
    /// The fields that cannot be owned through this resource or subresource.
    pub reset: &'a ResetFields<'a>,
}

/// Whether an applier takes fields that others own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It does.
    Yes,
    /// It gets a conflict.
    No,
}

/// What an apply came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is as it was; ownership may have changed.
    Same,
    /// The object changed.
    Changed,
}

/// The object after an apply, with its new `managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object.
    pub object: Value,
    /// Whether it differs from the live one, ownership aside.
    pub outcome: Outcome,
}

impl<'a> Target<'a> {
    fn entry(&self, manager: &'a str, operation: Operation) -> Entry<'a> {
        Entry {
            manager: Cow::Borrowed(if manager.is_empty() { "unknown" } else { manager }),
            operation,
            subresource: Cow::Borrowed(self.subresource),
            api_version: Cow::Owned(self.gvk.api_version()),
            time: None,
            set: FieldSet::default(),
            source: None,
        }
    }
}

/// Whether `managedFields` are well-formed. The error is upstream's sentence.
pub fn check_managed_fields(object: &Value) -> Result<(), String> {
    entries::decode(update::list_of(object)).map(drop)
}

/// Merges a configuration into the live object (`None`: there is none yet) for a manager.
///
/// Fields that the manager applied before and does not any more go away, unless another owns them.
///
/// Errors: 400 for a configuration of another kind or with `managedFields`, 409 with one cause per field that another
/// manager owns, 500 (as upstream) for a configuration that does not fit the schema.
pub fn apply(
    target: &Target<'_>,
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: Force,
    now: SystemTime,
) -> Result<Applied, ApiError> {
    check_configuration(target, config)?;
    let fresh = json!({"apiVersion": target.gvk.api_version(), "kind": target.gvk.kind});
    let live = live.unwrap_or(&fresh);
    let source = update::list_of(live);
    let mut owners = entries::decode(source).map_err(|why| failed(format!("failed to decode managed fields: {why}")))?;
    for owner in &mut owners {
        if collect::collapse_atomic(&mut owner.set, Spot::root(target.schema)) {
            owner.source = None;
        }
    }
    if owners.is_empty() {
        let nothing = fresh_root();
        let tracked = update::track(target, &mut owners, &nothing, live, BEFORE, now);
        tracked.map_err(|p| failed(format!("failed to create manager for existing fields: {p}")))?;
        return Job { target, live, config, manager, now }.run(owners, force);
    }
    Job { target, live, config, manager, now }.run(owners, force)
}

fn fresh_root() -> Value {
    Value::Object(serde_json::Map::new())
}

/// An error without a reason of its own, as upstream answers what it did not expect.
fn failed(message: String) -> ApiError {
    ApiError::new(500, Reason::Unknown, message)
}

fn check_configuration(target: &Target<'_>, config: &Value) -> Result<(), ApiError> {
    let found = Gvk::of(config).map_err(ApiError::bad_request)?;
    if &found != target.gvk {
        return Err(ApiError::bad_request(format!("invalid object type: {found}")));
    }
    if config.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let problems = validate::check(Spot::root(target.schema), config);
    if problems.is_empty() {
        return Ok(());
    }
    let (namespace, name) = (meta::namespace(config), meta::name(config));
    Err(failed(format!("failed to create typed patch object ({namespace}/{name}; {found}): {problems}")))
}

/// One apply under way.
struct Job<'a> {
    target: &'a Target<'a>,
    live: &'a Value,
    config: &'a Value,
    manager: &'a str,
    now: SystemTime,
}

impl Job<'_> {
    fn run(&self, owners: Vec<Entry<'_>>, force: Force) -> Result<Applied, ApiError> {
        let problem = |p: Problems| failed(format!("failed to merge config: {p}"));
        let spot = Spot::root(self.target.schema);
        let mut merged = merge::merge(spot, self.live, self.config).map_err(problem)?;
        let mut set = collect::fields_of(spot, self.config).map_err(|p| failed(format!("failed to get field set: {p}")))?;
        self.target.reset.filter(&mut set);
        let mut own = self.target.entry(self.manager, Operation::Apply);
        own.set = set;

        let (last, mut owners) = without_owner(owners, &own);
        if let Some(last) = last.as_ref().filter(|l| !l.set.is_within(&own.set)) {
            owners.push(own);
            merged = prune::prune(spot, merged, &owners, &last.set).map_err(|p| failed(format!("failed to prune fields: {p}")))?;
            own = owners.pop().unwrap_or_else(|| self.target.entry(self.manager, Operation::Apply));
        }
        let outcome = if &merged == self.live { Outcome::Same } else { Outcome::Changed };
        let encoded = self.settle(owners, own, last, &merged, outcome, force)?;

        if let Some(metadata) = meta::metadata_mut(&mut merged) {
            metadata.remove("managedFields");
        }
        update::put(&mut merged, encoded, update::list_of(self.live).to_vec());
        if self.manager == last_applied::KUBECTL {
            last_applied::refresh(&mut merged, self.config);
        }
        Ok(Applied { object: merged, outcome })
    }

    /// Takes from the other owners what changed, or finds the conflicts, and writes the new list.
    fn settle<'s>(
        &self,
        mut owners: Vec<Entry<'s>>,
        mut own: Entry<'s>,
        last: Option<Entry<'_>>,
        merged: &Value,
        outcome: Outcome,
        force: Force,
    ) -> Result<Vec<entries::Encoded>, ApiError> {
        if outcome == Outcome::Changed {
            let changes = update::changes(self.target, self.live, merged).map_err(|p| failed(format!("failed to compare objects: {p}")))?;
            let touched = changes.modified.clone().union(changes.added.clone());
            owners.sort_by(|a, b| a.owner_order().cmp(&b.owner_order()));
            let in_conflict = owners.iter().map(|o| Conflict::with(o, o.set.intersection(&touched)));
            let conflicts: Vec<Conflict<'_>> = in_conflict.filter(|c| !c.fields.is_empty()).collect();
            if force == Force::No && !conflicts.is_empty() {
                self.allow(conflicts)?;
            }
            owners.iter_mut().for_each(|o| update::take_from(o, &changes));
        }
        update::strip(&mut own.set);
        own.time = match outcome {
            Outcome::Changed => Some(Cow::Owned(update::seconds_text(self.now))),
            Outcome::Same => last.as_ref().and_then(|l| l.time.clone()).map(|t| Cow::Owned(t.into_owned())),
        };
        let before = last.filter(|l| outcome == Outcome::Same && l.set == own.set && l.api_version == own.api_version);
        own.source = before.and_then(|l| l.source);
        owners.push(own);
        owners.retain(|o| !o.set.is_empty());
        Ok(entries::encode(owners))
    }

    /// Conflicts with what kubectl itself applied on the client's side are none.
    fn allow(&self, mut conflicts: Vec<Conflict<'_>>) -> Result<(), ApiError> {
        let config = if self.manager == last_applied::KUBECTL { last_applied::configuration(self.target, self.live) } else { None };
        if let Some(fields) = config.as_ref().and_then(|c| last_applied::unchanged_fields(self.target, self.live, c)) {
            conflicts.iter_mut().for_each(|c| {
                c.fields.subtract(&fields);
            });
            conflicts.retain(|c| !c.fields.is_empty());
        }
        if conflicts.is_empty() { Ok(()) } else { Err(conflict::error(&conflicts)) }
    }
}

/// The entry of an owner, and all others.
fn without_owner<'a>(owners: Vec<Entry<'a>>, own: &Entry<'_>) -> (Option<Entry<'a>>, Vec<Entry<'a>>) {
    let (mut mine, others): (Vec<_>, Vec<_>) = owners.into_iter().partition(|o| o.same_owner(own));
    (mine.pop(), others)
}

#[cfg(test)]
mod tests;
