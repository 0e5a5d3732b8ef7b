//! From JSON trees to messages.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::ProtoError;
use super::wire::Writer;
use crate::codec::MAX_DEPTH;
use crate::codec::moment::Moment;
use crate::schema::{Field, Shape, Type, WireSource, builtin};

const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Writes the message of a type from its JSON object.
pub(super) fn message(out: &mut Writer, ty: &Type, map: &Map<String, Value>) -> Result<(), ProtoError> {
    nested(out, ty, map, 0)
}

fn nested(out: &mut Writer, ty: &Type, map: &Map<String, Value>, depth: usize) -> Result<(), ProtoError> {
    if depth > MAX_DEPTH {
        return Err(ProtoError::Depth);
    }
    for wire in &ty.wire {
        match &wire.source {
            WireSource::Inline(inner) => {
                let mut w = Writer::default();
                nested(&mut w, inner, map, depth + 1)?;
                out.bytes(wire.tag, &w.finish());
            }
            WireSource::Field(index) => {
                if let Some(f) = ty.fields.get(usize::from(*index)) {
                    field(out, wire.tag, f, map.get(f.name.as_ref()), depth)?;
                }
            }
            WireSource::WrappedList(index) => {
                if let Some(f) = ty.fields.get(usize::from(*index)) {
                    wrapped(out, wire.tag, f, map.get(f.name.as_ref()))?;
                }
            }
        }
    }
    Ok(())
}

fn wrong(f: &str, value: &Value) -> ProtoError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    ProtoError::Value(format!("field {f} cannot hold a JSON {found}"))
}

fn field(out: &mut Writer, tag: u32, f: &Field, value: Option<&Value>, depth: usize) -> Result<(), ProtoError> {
    let value = value.filter(|v| !v.is_null());
    match (f.shape(), value) {
        (Shape::List(node), Some(Value::Array(list))) => {
            list.iter().try_for_each(|item| single(out, tag, &node.shape, Some(item), &f.name, depth))
        }
        (Shape::Map(node), Some(Value::Object(map))) => {
            for (key, value) in sorted(map) {
                let mut w = Writer::default();
                w.bytes(1, key.as_bytes());
                single(&mut w, 2, &node.shape, Some(value), &f.name, depth)?;
                out.bytes(tag, &w.finish());
            }
            Ok(())
        }
        (Shape::List(_) | Shape::Map(_), Some(other)) => Err(wrong(&f.name, other)),
        (Shape::List(_) | Shape::Map(_) | Shape::Bytes, None) => Ok(()),
        (_, None) if f.ptr => Ok(()),
        (shape, value) => single(out, tag, shape, value, &f.name, depth),
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    entries
}

fn wrapped(out: &mut Writer, tag: u32, f: &Field, value: Option<&Value>) -> Result<(), ProtoError> {
    let items = |value: &Value| -> Result<Vec<u8>, ProtoError> {
        let mut w = Writer::default();
        for item in value.as_array().ok_or_else(|| wrong(&f.name, value))? {
            w.bytes(1, item.as_str().ok_or_else(|| wrong(&f.name, item))?.as_bytes());
        }
        Ok(w.finish())
    };
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => {
            for (key, value) in sorted(map) {
                let mut w = Writer::default();
                w.bytes(1, key.as_bytes());
                w.bytes(2, &items(value)?);
                out.bytes(tag, &w.finish());
            }
        }
        Some(list) => out.bytes(tag, &items(list)?),
    }
    Ok(())
}

/// One value; `None` is the Go zero value.
fn single(out: &mut Writer, tag: u32, shape: &Shape, value: Option<&Value>, name: &str, depth: usize) -> Result<(), ProtoError> {
    let value = value.filter(|v| !v.is_null());
    let bad = || wrong(name, value.unwrap_or(&Value::Null));
    match shape {
        Shape::String => out.bytes(tag, value.map_or(Some(""), Value::as_str).ok_or_else(bad)?.as_bytes()),
        Shape::Bool => out.varint(tag, u64::from(value.map_or(Some(false), Value::as_bool).ok_or_else(bad)?)),
        Shape::Int32 | Shape::Int64 => out.int(tag, value.map_or(Some(0), Value::as_i64).ok_or_else(bad)?),
        Shape::Double => out.fixed64(tag, value.map_or(Some(0.0), Value::as_f64).ok_or_else(bad)?.to_bits()),
        Shape::Bytes => {
            let text = value.map_or(Some(""), Value::as_str).ok_or_else(bad)?;
            out.bytes(tag, &BASE64_STANDARD.decode(text).map_err(|_| bad())?);
        }
        Shape::Object(link) => {
            let empty = Map::new();
            let map = value.map_or(Some(&empty), Value::as_object).ok_or_else(bad)?;
            let mut w = Writer::default();
            nested(&mut w, link, map, depth + 1)?;
            out.bytes(tag, &w.finish());
        }
        Shape::Time | Shape::MicroTime => out.bytes(tag, &moment(shape, value, &bad)?),
        Shape::Quantity => {
            let mut w = Writer::default();
            w.bytes(1, value.map_or(Some("0"), Value::as_str).ok_or_else(bad)?.as_bytes());
            out.bytes(tag, &w.finish());
        }
        Shape::IntOrString => out.bytes(tag, &int_or_string(value, &bad)?),
        Shape::RawExtension | Shape::FieldsV1 | Shape::Json => {
            let mut w = Writer::default();
            if let Some(value) = value {
                w.bytes(1, &serde_json::to_vec(value).map_err(|e| ProtoError::Value(e.to_string()))?);
            }
            out.bytes(tag, &w.finish());
        }
        Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => out.bytes(tag, &schema_or(shape, value, depth, &bad)?),
        Shape::Duration | Shape::Any | Shape::List(_) | Shape::Map(_) => return Err(bad()),
    }
    Ok(())
}

fn moment(shape: &Shape, value: Option<&Value>, bad: &dyn Fn() -> ProtoError) -> Result<Vec<u8>, ProtoError> {
    let mut w = Writer::default();
    if let Some(value) = value {
        let m = Moment::parse(value.as_str().ok_or_else(bad)?).map_err(ProtoError::Value)?;
        if !m.is_go_zero() {
            let nanos = if matches!(shape, Shape::MicroTime) { m.nanos / 1000 * 1000 } else { 0 };
            w.int(1, m.seconds);
            w.varint(2, u64::from(nanos));
        }
    }
    Ok(w.finish())
}

fn int_or_string(value: Option<&Value>, bad: &dyn Fn() -> ProtoError) -> Result<Vec<u8>, ProtoError> {
    let mut w = Writer::default();
    let (kind, number, text) = match value {
        Some(Value::String(text)) => (1, 0, text.as_str()),
        Some(value) => (0, value.as_i64().ok_or_else(bad)?, ""),
        None => (0, 0, ""),
    };
    w.varint(1, kind);
    w.int(2, number);
    w.bytes(3, text.as_bytes());
    Ok(w.finish())
}

fn schema_or(shape: &Shape, value: Option<&Value>, depth: usize, bad: &dyn Fn() -> ProtoError) -> Result<Vec<u8>, ProtoError> {
    let props = builtin().by_name(SCHEMA_PROPS).ok_or(ProtoError::Depth)?;
    let mut w = Writer::default();
    let schema = |w: &mut Writer, tag: u32, value: &Value| -> Result<(), ProtoError> {
        let mut inner = Writer::default();
        nested(&mut inner, props, value.as_object().ok_or_else(bad)?, depth + 1)?;
        w.bytes(tag, &inner.finish());
        Ok(())
    };
    match (shape, value) {
        (Shape::SchemaOrBool, Some(Value::Bool(allows))) => w.varint(1, u64::from(*allows)),
        (Shape::SchemaOrBool, Some(value)) => {
            w.varint(1, 1);
            schema(&mut w, 2, value)?;
        }
        (Shape::SchemaOrStrings, Some(Value::Array(list))) => {
            for item in list {
                w.bytes(2, item.as_str().ok_or_else(bad)?.as_bytes());
            }
        }
        (_, Some(Value::Array(list))) => {
            for item in list {
                schema(&mut w, 2, item)?;
            }
        }
        (_, Some(value)) => schema(&mut w, 1, value)?,
        (Shape::SchemaOrBool, None) => w.varint(1, 0),
        (_, None) => {}
    }
    Ok(w.finish())
}
