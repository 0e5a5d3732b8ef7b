//! Names of kinds and resources.

use std::fmt;

use serde_json::Value;

/// A kind with its group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// A resource with its group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub resource: String,
}

/// `group/version`, or only the version in the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits an `apiVersion` into group and version. The error is Kubernetes' own sentence.
pub fn parse_api_version(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('/') {
        // The internal version is written as a lone slash.
        _ if text == "/" => Ok(("", "")),
        None => Ok(("", text)),
        Some((group, version)) if !version.contains('/') => Ok((group, version)),
        Some(_) => Err(format!("unexpected GroupVersion string: {text}")),
    }
}

impl Gvk {
    /// A kind by its three parts.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// The kind an object says it is of; missing parts are empty.
    pub fn of(object: &Value) -> Result<Self, String> {
        let word = |k: &str| object.get(k).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = parse_api_version(word("apiVersion"))?;
        Ok(Self::new(group, version, word("kind")))
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl Gvr {
    /// A resource by its three parts.
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Kind={}", self.api_version(), self.kind)
    }
}

impl fmt::Display for Gvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Resource={}", self.api_version(), self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_split_and_join() {
        assert_eq!(parse_api_version("apps/v1"), Ok(("apps", "v1")));
        assert_eq!(parse_api_version("v1"), Ok(("", "v1")));
        assert_eq!(parse_api_version("a/b/c"), Err("unexpected GroupVersion string: a/b/c".to_owned()));
        assert_eq!(Gvk::new("apps", "v1", "Deployment").to_string(), "apps/v1, Kind=Deployment");
    }
}
