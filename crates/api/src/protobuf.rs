//! Kubernetes' protobuf encoding, both ways, driven by the schema table.
//!
//! A body is the four bytes `k8s\0` and a `runtime.Unknown` message, which carries `apiVersion`, `kind` and the object's
//! own message. What one writes here is byte for byte what the Go structs write: plain scalars and structs are on the
//! wire even when empty, pointers only when set, map entries in the order of their keys.

use serde_json::{Map, Value};

mod read;
pub(crate) mod wire;
mod write;

use crate::codec::MAX_BODY;
use crate::meta::Gvk;
use crate::meta::gvk::{api_version, parse_api_version};
use crate::schema::{Type, builtin};
use wire::{Reader, Writer};

/// What a protobuf body begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Why protobuf bytes could not be read or an object not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// The body does not begin with [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    Magic,
    /// The bytes end within a value.
    #[error("unexpected EOF")]
    End,
    /// A number has more than ten bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// A tag or a wire type is not allowed.
    #[error("proto: illegal tag or wire type {0}")]
    Tag(u64),
    /// A field comes in another wire type than its own.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// The field's name.
        field: String,
        /// The wire type found.
        wire: u8,
    },
    /// Messages nest too deep.
    #[error("proto: exceeded max depth")]
    Depth,
    /// The body is too large.
    #[error("proto: message of {0} bytes is over the limit of {MAX_BODY}")]
    Size(usize),
    /// A value inside is malformed, with the sentence.
    #[error("{0}")]
    Value(String),
    /// The kind has no protobuf form.
    #[error("no kind {kind:?} is registered for version {version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"")]
    Kind {
        /// The kind.
        kind: String,
        /// Its `apiVersion`.
        version: String,
    },
    /// The body is encoded in a way nobody uses.
    #[error("unsupported content encoding {0:?}")]
    Encoding(String),
}

/// Whether a kind can travel as protobuf.
pub fn supports(gvk: &Gvk) -> bool {
    message_type(gvk).is_some()
}

fn message_type(gvk: &Gvk) -> Option<&'static Type> {
    let found = builtin().by_gvk(&gvk.group, &gvk.version, &gvk.kind);
    // Every group, also a custom resource's, takes the options of the common machinery.
    let shared = matches!(gvk.kind.as_str(), "DeleteOptions" | "WatchEvent");
    found.or_else(|| builtin().by_gvk("", "v1", &gvk.kind).filter(|_| shared)).filter(|t| t.proto.is_some())
}

fn unknown_kind(gvk: &Gvk) -> ProtoError {
    ProtoError::Kind { kind: gvk.kind.clone(), version: gvk.api_version() }
}

/// Decodes a `k8s\0` body into its kind and object. The object carries `apiVersion` and `kind`.
pub fn decode(bytes: &[u8]) -> Result<(Gvk, Value), ProtoError> {
    if bytes.len() > MAX_BODY {
        return Err(ProtoError::Size(bytes.len()));
    }
    decode_at(bytes, 0)
}

fn decode_at(bytes: &[u8], depth: usize) -> Result<(Gvk, Value), ProtoError> {
    let envelope = Envelope::read(bytes)?;
    let gvk = envelope.gvk()?;
    let ty = message_type(&gvk).ok_or_else(|| unknown_kind(&gvk))?;
    let mut map = read::message(ty, envelope.raw, depth)?;
    map.insert("apiVersion".to_owned(), Value::from(gvk.api_version()));
    map.insert("kind".to_owned(), Value::from(gvk.kind.clone()));
    Ok((gvk, Value::Object(map)))
}

/// Encodes an object of a kind as a `k8s\0` body.
pub fn encode(object: &Value, gvk: &Gvk) -> Result<Vec<u8>, ProtoError> {
    let ty = message_type(gvk).ok_or_else(|| unknown_kind(gvk))?;
    let empty = Map::new();
    let mut raw = Writer::default();
    write::message(&mut raw, ty, object.as_object().unwrap_or(&empty))?;
    let mut meta = Writer::default();
    meta.bytes(1, api_version(&gvk.group, &gvk.version).as_bytes());
    meta.bytes(2, gvk.kind.as_bytes());
    let mut out = Writer::default();
    out.raw(MAGIC);
    out.bytes(1, &meta.finish());
    out.bytes(2, &raw.finish());
    out.bytes(3, b"");
    out.bytes(4, b"");
    Ok(out.finish())
}

/// One frame of a watch stream: `kind` is `ADDED`, `MODIFIED`, … and `object` an encoded body ([`encode`]).
///
/// The frame is a big-endian length of four bytes and a bare `WatchEvent` message.
pub fn watch_frame(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Writer::default();
    raw.bytes(1, object);
    let mut event = Writer::default();
    event.bytes(1, kind.as_bytes());
    event.bytes(2, &raw.finish());
    let event = event.finish();
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&event);
    out
}

#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    encoding: String,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtoError> {
        let mut out = Self::default();
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC.as_slice()).ok_or(ProtoError::Magic)?);
        while let Some((tag, value)) = reader.next()? {
            match tag {
                1 => {
                    let mut meta = Reader::new(value.bytes("typeMeta")?);
                    while let Some((tag, value)) = meta.next()? {
                        match tag {
                            1 => out.api_version = value.text("apiVersion")?,
                            2 => out.kind = value.text("kind")?,
                            _ => {}
                        }
                    }
                }
                2 => out.raw = value.bytes("raw")?,
                3 => out.encoding = value.text("contentEncoding")?,
                _ => {}
            }
        }
        if out.encoding.is_empty() { Ok(out) } else { Err(ProtoError::Encoding(out.encoding)) }
    }

    fn gvk(&self) -> Result<Gvk, ProtoError> {
        let (group, version) = parse_api_version(&self.api_version).map_err(ProtoError::Value)?;
        Ok(Gvk::new(group, version, &self.kind))
    }
}

#[cfg(test)]
mod tests;
