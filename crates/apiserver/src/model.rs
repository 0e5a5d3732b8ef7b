//! The object model as the pipeline uses it: one place for every call that needs a kind's schema.

use api::codec::{self, Decoded};
use api::meta::Gvk;
use api::schema::{Type, builtin};
use api::{ApiError, defaults};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;

use crate::negotiate::Encoding;

/// The schema of a kind; `None` for kinds that are not built in.
pub fn schema(gvk: &Gvk) -> Option<&'static Type> {
    builtin().by_gvk(&gvk.group, &gvk.version, &gvk.kind)
}

/// Fills in what a user left out.
pub fn default(gvk: &Gvk, tree: &mut Value) {
    defaults::apply((gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str()), tree);
}

/// Decodes a body of the expected kind.
pub fn decode(bytes: &[u8], encoding: Encoding, expected: &Gvk, validation: codec::FieldValidation) -> Result<Decoded, ApiError> {
    let encoding = match encoding {
        Encoding::Json => codec::Encoding::Json,
        Encoding::Yaml => codec::Encoding::Yaml,
        Encoding::Protobuf => codec::Encoding::Protobuf,
    };
    codec::decode_body(bytes, encoding, expected, schema(expected), validation)
}

/// The `k8s\0` body of an object; `None` when the kind has no protobuf form.
pub fn protobuf(gvk: &Gvk, tree: &Value) -> Option<Bytes> {
    api::protobuf::encode(tree, gvk).ok().map(Bytes::from)
}

/// The message inside a `k8s\0` body (field 2 of its envelope), without copying.
pub fn message_in(body: &Bytes) -> Option<Bytes> {
    let mut at = api::protobuf::MAGIC.len();
    loop {
        let tag = *body.get(at)?;
        at = at.checked_add(1)?;
        let mut length = 0usize;
        let mut shift = 0u32;
        loop {
            let byte = *body.get(at)?;
            at = at.checked_add(1)?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            shift = shift.checked_add(7)?;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let end = at.checked_add(length)?;
        if end > body.len() {
            return None;
        }
        if tag == (2 << 3) | 2 {
            return Some(body.slice(at..end));
        }
        at = end;
    }
}

/// The envelope around a message.
pub fn envelope(gvk: &Gvk, message: &[u8]) -> Bytes {
    let mut meta = BytesMut::new();
    delimited(&mut meta, 1, gvk.api_version().as_bytes());
    delimited(&mut meta, 2, gvk.kind.as_bytes());
    let mut out = BytesMut::with_capacity(message.len().saturating_add(meta.len()).saturating_add(24));
    out.extend_from_slice(api::protobuf::MAGIC);
    delimited(&mut out, 1, &meta);
    delimited(&mut out, 2, message);
    delimited(&mut out, 3, b"");
    delimited(&mut out, 4, b"");
    out.freeze()
}

/// One length-delimited protobuf field.
pub fn delimited(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8((tag << 3) | 2);
    let mut rest = bytes.len() as u64;
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap_or_default());
    out.extend_from_slice(bytes);
}
