//! Which objects a list or watch is about.

use std::borrow::Cow;

use api::ApiError;
use api::selector::{FieldSelector, LabelSelector};

use crate::call::Call;
use crate::object::Object;

/// Label and field selectors together.
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    paths: Vec<String>,
}

impl Selection {
    /// Reads both; an unknown field is 400.
    pub fn parse(call: &Call, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(labels).map_err(ApiError::bad_request)?;
        let fields = FieldSelector::parse(fields).and_then(|f| f.for_resource(&call.resource.descriptor)).map_err(ApiError::bad_request)?;
        Ok(Self { labels, fields, paths: call.resource.selectable.clone() })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object matches.
    pub fn matches(&self, object: &Object) -> bool {
        if self.is_empty() {
            return true;
        }
        let facts = object.facts(&self.paths);
        self.labels.matches(|key| facts.labels.get(key).map(String::as_str))
            && self.fields.matches(|field| Cow::Borrowed(facts.fields.get(field).map(String::as_str).unwrap_or_default()))
    }
}
