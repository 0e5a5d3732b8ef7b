//! YAML bodies, read as Kubernetes reads them: with go-yaml v2's rules for scalars, merges and duplicate keys.
//!
//! The text becomes JSON, as upstream does it, and the JSON decoder does the rest. Scanning and parsing are libyaml's
//! (a Rust port), from which go-yaml's own parser comes, so the complaints about syntax are the same.

use serde_json::Value;

mod convert;
mod events;
mod scalar;
mod tree;

/// Why a YAML text was refused; the sentences are go-yaml's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// The text breaks YAML's grammar or a value its tag.
    #[error("yaml: {0}")]
    Text(String),
    /// The document cannot be said in JSON.
    #[error("{0}")]
    Json(String),
}

/// A YAML document as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The JSON text, keys sorted.
    pub json: Vec<u8>,
    /// go-yaml's sentence about keys that stand twice, which strict validation reports.
    pub duplicates: Option<String>,
}

/// Turns the first document of a YAML text into JSON. An empty text is `null`.
pub fn to_json(text: &[u8]) -> Result<Document, YamlError> {
    let (value, duplicates) = parse(text)?;
    let json = serde_json::to_vec(&value).map_err(|e| YamlError::Json(e.to_string()))?;
    Ok(Document { json, duplicates })
}

/// Reads the first document of a YAML text; the second part tells of duplicate keys.
pub fn parse(text: &[u8]) -> Result<(Value, Option<String>), YamlError> {
    let tree = tree::Tree::read(text)?;
    let mut converter = convert::Converter::new(&tree);
    let value = converter.document()?;
    let found = converter.duplicates;
    let duplicates = (!found.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", found.join("\n  ")));
    Ok((value, duplicates))
}

#[cfg(test)]
mod tests;
