//! Fields that an applier wants to change and another owns.

use super::entries::{Entry, Operation};
use super::set::FieldSet;
use crate::error::{ApiError, Cause, Reason};

/// One other owner and the fields in question.
pub(super) struct Conflict<'a> {
    /// The owner as messages name it.
    owner: String,
    pub(super) fields: FieldSet<'a>,
}

impl<'a> Conflict<'a> {
    pub(super) fn with(entry: &Entry<'_>, fields: FieldSet<'a>) -> Self {
        let mut owner = format!("{:?}", entry.manager);
        if !entry.subresource.is_empty() {
            owner.push_str(&format!(" with subresource {:?}", entry.subresource));
        }
        if entry.operation == Operation::Update {
            owner.push_str(&format!(" using {}", entry.api_version));
        }
        Self { owner, fields }
    }
}

/// 409 with one cause per field.
pub(super) fn error(conflicts: &[Conflict<'_>]) -> ApiError {
    let found: Vec<(&str, Vec<String>)> = conflicts.iter().map(|c| (c.owner.as_str(), c.fields.paths())).collect();
    let count: usize = found.iter().map(|(_, paths)| paths.len()).sum();
    let message = match found.as_slice() {
        [(owner, paths)] if count == 1 => {
            format!("Apply failed with 1 conflict: conflict with {owner}: {}", paths.first().map_or("", String::as_str))
        }
        _ => {
            let lines: Vec<String> = found
                .iter()
                .flat_map(|(owner, paths)| {
                    std::iter::once(format!("conflicts with {owner}:")).chain(paths.iter().map(|p| format!("- {p}")))
                })
                .collect();
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    };
    let cause = |owner: &str, path: String| Cause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {owner}"),
        field: path,
    };
    found.into_iter().fold(ApiError::new(409, Reason::Conflict, message), |error, (owner, paths)| {
        paths.into_iter().fold(error, |error, path| error.with_cause(cause(owner, path)))
    })
}
