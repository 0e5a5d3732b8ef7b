//! One stored revision of one object: bytes first, everything else computed at most once and shared by all readers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};
use store::Revision;

/// What stands before the metadata's first field in every canonical encoding.
const METADATA: &[u8] = b"\"metadata\":{";
/// The metadata of a canonical encoding starts within this many bytes: only `apiVersion` and `kind` come before it.
const LONGEST_HEAD: usize = 640;

/// An immutable object at one revision.
#[derive(Debug)]
pub struct Object {
    key: Arc<str>,
    revision: Revision,
    json: Bytes,
    /// Where `"metadata"` starts in `json`; before it stand only the brace, `apiVersion` and `kind`.
    head: usize,
    facts: OnceLock<Facts>,
    other_version: OnceLock<Bytes>,
    protobuf: [OnceLock<Bytes>; 2],
}

/// What selectors look at.
#[derive(Debug, Default)]
pub struct Facts {
    /// The object's labels.
    pub labels: BTreeMap<String, String>,
    /// The selectable fields of its resource.
    pub fields: BTreeMap<String, String>,
}

/// The stored bytes are not an object.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the stored value of {key} is not an object: {why}")]
pub struct Damaged {
    /// The key in the store.
    pub key: String,
    /// What is wrong with its value.
    pub why: String,
}

impl Object {
    /// An object from its stored bytes (without resourceVersion) and the revision that wrote them.
    pub fn from_stored(key: Arc<str>, stored: &Bytes, revision: Revision) -> Result<Self, Damaged> {
        if let Some(at) = metadata_start(stored) {
            return Ok(Self::splice(key, stored, at, revision));
        }
        let damaged = |why: String| Damaged { key: key.to_string(), why };
        let tree: Value = serde_json::from_slice(stored).map_err(|e| damaged(e.to_string()))?;
        let canonical = Bytes::from(encode(&tree));
        let at = metadata_start(&canonical).ok_or_else(|| damaged("it has no metadata".to_owned()))?;
        Ok(Self::splice(key, &canonical, at, revision))
    }

    /// The object that a deletion shows: the last state under the revision of the deletion.
    pub fn tombstone(&self, revision: Revision) -> Self {
        let stored = self.stored();
        Self::splice(self.key.clone(), &stored, self.head, revision)
    }

    fn splice(key: Arc<str>, stored: &[u8], head: usize, revision: Revision) -> Self {
        let at = head.saturating_add(METADATA.len());
        let (before, after) = stored.split_at_checked(at).unwrap_or((stored, &[]));
        let comma = if after.first() == Some(&b'}') { "" } else { "," };
        let version = format!("\"resourceVersion\":\"{}\"{comma}", revision.0);
        let mut json = BytesMut::with_capacity(stored.len().saturating_add(version.len()));
        json.extend_from_slice(before);
        json.extend_from_slice(version.as_bytes());
        json.extend_from_slice(after);
        Self {
            key,
            revision,
            json: json.freeze(),
            head,
            facts: OnceLock::new(),
            other_version: OnceLock::new(),
            protobuf: Default::default(),
        }
    }

    /// The bytes as they are in the store: without resourceVersion.
    pub fn stored(&self) -> Bytes {
        let at = self.head.saturating_add(METADATA.len());
        let (before, after) = self.json.split_at_checked(at).unwrap_or((&self.json, &[]));
        let version = format!("\"resourceVersion\":\"{}\"", self.revision.0);
        let after = after.get(version.len()..).unwrap_or_default();
        let after = after.strip_prefix(b",").unwrap_or(after);
        Bytes::from([before, after].concat())
    }

    /// The key in the store.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The revision that wrote it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The last part of the key.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// The whole object as JSON in its storage version.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Everything after `apiVersion` and `kind`, without the opening brace: lists of built-in kinds leave those two out of items.
    pub fn json_without_type(&self) -> &[u8] {
        self.json.get(self.head..).unwrap_or_default()
    }

    /// The object as a tree of its own.
    pub fn tree(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or(Value::Null)
    }

    /// The JSON in the resource's other version, made once by `convert`.
    pub fn json_in_other_version(&self, convert: impl FnOnce(Value) -> Value) -> &Bytes {
        self.other_version.get_or_init(|| Bytes::from(encode_with_version(&convert(self.tree()))))
    }

    /// The protobuf message (no envelope) in the storage version or the other one, made once.
    pub fn protobuf(&self, other: bool, make: impl FnOnce() -> Bytes) -> &Bytes {
        let [first, second] = &self.protobuf;
        if other { second.get_or_init(make) } else { first.get_or_init(make) }
    }

    /// What selectors look at; `fields` are the selectable paths of the resource.
    pub fn facts(&self, paths: &[String]) -> &Facts {
        self.facts.get_or_init(|| Facts::of(&self.tree(), paths))
    }

    /// How much memory its bytes take.
    pub fn size(&self) -> usize {
        self.json.len()
    }
}

impl Facts {
    /// The facts of a tree.
    pub fn of(tree: &Value, paths: &[String]) -> Self {
        let labels = tree.pointer("/metadata/labels").and_then(Value::as_object);
        let labels = labels.map(|m| m.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect());
        let fields = paths.iter().map(|p| (p.clone(), api::selector::fields::value(tree, p).into_owned())).collect();
        Self { labels: labels.unwrap_or_default(), fields }
    }
}

fn metadata_start(stored: &[u8]) -> Option<usize> {
    if !stored.starts_with(b"{\"apiVersion\":\"") {
        return None;
    }
    let window = stored.get(..LONGEST_HEAD.min(stored.len()))?;
    let at = window.windows(METADATA.len()).position(|w| w == METADATA)?;
    // Anything nested before it would mean that another field came first.
    let before = stored.get(1..at)?;
    (!before.contains(&b'{')).then_some(at)
}

/// The canonical stored form of a tree: `apiVersion`, `kind`, `metadata` first, and no resourceVersion.
pub fn encode(tree: &Value) -> Vec<u8> {
    encode_ordered(tree, false)
}

/// As [`encode`], but the resourceVersion stays, as the metadata's first field.
pub fn encode_with_version(tree: &Value) -> Vec<u8> {
    encode_ordered(tree, true)
}

fn encode_ordered(tree: &Value, keep_version: bool) -> Vec<u8> {
    let empty = Map::new();
    let object = tree.as_object().unwrap_or(&empty);
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for key in ["apiVersion", "kind"] {
        let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
        field(&mut out, key, &Value::String(text.to_owned()));
        out.push(b',');
    }
    out.extend_from_slice(METADATA);
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let mut first = true;
    if let (true, Some(version)) = (keep_version, metadata.get("resourceVersion")) {
        field(&mut out, "resourceVersion", version);
        first = false;
    }
    for (key, value) in metadata.iter().filter(|(k, _)| *k != "resourceVersion") {
        if !first {
            out.push(b',');
        }
        first = false;
        field(&mut out, key, value);
    }
    out.push(b'}');
    for (key, value) in object.iter().filter(|(k, _)| !matches!(k.as_str(), "apiVersion" | "kind" | "metadata")) {
        out.push(b',');
        field(&mut out, key, value);
    }
    out.push(b'}');
    out
}

fn field(out: &mut Vec<u8>, key: &str, value: &Value) {
    // Writing a JSON tree into memory cannot fail: its keys are strings.
    let _ = serde_json::to_writer(&mut *out, key);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(tree: &Value, revision: u64) -> Object {
        Object::from_stored("/registry/x/a".into(), &Bytes::from(encode(tree)), Revision(revision)).unwrap()
    }

    #[test]
    fn the_version_is_spliced_in_and_out_again() {
        let tree = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"metadata": "{\"metadata\":{}}"},
            "metadata": {"name": "a", "resourceVersion": "1", "labels": {"x": "y"}}});
        let o = object(&tree, 42);
        assert_eq!(o.tree().pointer("/metadata/resourceVersion").unwrap(), "42");
        assert_eq!(o.tree()["data"], tree["data"]);
        assert_eq!(&o.stored()[..], &encode(&tree)[..]);
        assert_eq!(o.tombstone(Revision(43)).tree().pointer("/metadata/resourceVersion").unwrap(), "43");
        assert_eq!(o.facts(&[]).labels.get("x").unwrap(), "y");
    }

    #[test]
    fn foreign_order_and_empty_metadata_are_taken() {
        let stored = Bytes::from_static(b"{\"data\":{\"metadata\":{}},\"kind\":\"K\",\"apiVersion\":\"v1\",\"metadata\":{}}");
        let o = Object::from_stored("/registry/x/a".into(), &stored, Revision(7)).unwrap();
        assert!(o.json().starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"resourceVersion\":\"7\"},"));
        assert!(o.json_without_type().starts_with(b"\"metadata\""));
        assert!(Object::from_stored("/k".into(), &Bytes::from_static(b"nonsense"), Revision(1)).is_err());
    }
}
