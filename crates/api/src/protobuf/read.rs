//! From messages to JSON trees.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use super::wire::{Reader, WireValue};
use super::{MAGIC, ProtoError};
use crate::codec::moment::Moment;
use crate::codec::{FieldValidation, MAX_DEPTH, decode_json, finish, store, zero};
use crate::quantity::Quantity;
use crate::schema::{Field, Shape, Type, WireSource, builtin};

const SCHEMA_PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// Reads a message into the JSON object it stands for.
pub(super) fn message(ty: &Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtoError> {
    let mut map = Map::new();
    fields(ty, bytes, &mut map, depth)?;
    finish(&mut map, ty);
    Ok(map)
}

fn fields(ty: &Type, bytes: &[u8], map: &mut Map<String, Value>, depth: usize) -> Result<(), ProtoError> {
    if depth > MAX_DEPTH {
        return Err(ProtoError::Depth);
    }
    let mut reader = Reader::new(bytes);
    while let Some((tag, value)) = reader.next()? {
        // Fields of newer versions are passed over, as protobuf wants it.
        let Ok(at) = ty.wire.binary_search_by_key(&tag, |w| w.tag) else { continue };
        match ty.wire.get(at).map(|w| &w.source) {
            Some(WireSource::Inline(inner)) => fields(inner, value.bytes(inner.short_name())?, map, depth + 1)?,
            Some(WireSource::Field(index)) => {
                if let Some(f) = ty.fields.get(usize::from(*index)) {
                    field(f, value, map, depth)?;
                }
            }
            Some(WireSource::WrappedList(index)) => {
                if let Some(f) = ty.fields.get(usize::from(*index)) {
                    wrapped(f, value, map)?;
                }
            }
            None => {}
        }
    }
    Ok(())
}

fn field(f: &Field, value: WireValue<'_>, map: &mut Map<String, Value>, depth: usize) -> Result<(), ProtoError> {
    match f.shape() {
        Shape::List(node) => {
            let list = map.entry(f.name.as_ref()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                push(list, &node.shape, value, &f.name, depth)?;
            }
        }
        Shape::Map(node) => {
            let (key, inner) = entry(value, &f.name)?;
            let value = match inner {
                Some(v) => single(&node.shape, v, &f.name, depth)?,
                None => zero(&node.shape),
            };
            insert(map, f, key, value);
        }
        shape => {
            let value = single(shape, value, &f.name, depth)?;
            store(map, f, value);
        }
    }
    Ok(())
}

fn insert(map: &mut Map<String, Value>, f: &Field, key: String, value: Value) {
    let place = map.entry(f.name.as_ref()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(entries) = place {
        entries.insert(key, value);
    }
}

fn entry<'a>(value: WireValue<'a>, name: &str) -> Result<(String, Option<WireValue<'a>>), ProtoError> {
    let mut reader = Reader::new(value.bytes(name)?);
    let (mut key, mut inner) = (String::new(), None);
    while let Some((tag, value)) = reader.next()? {
        match tag {
            1 => key = value.text(name)?,
            2 => inner = Some(value),
            _ => {}
        }
    }
    Ok((key, inner))
}

/// One element, or several if numbers come packed.
fn push(list: &mut Vec<Value>, shape: &Shape, value: WireValue<'_>, name: &str, depth: usize) -> Result<(), ProtoError> {
    match (shape, value) {
        (Shape::Int32 | Shape::Int64 | Shape::Bool, WireValue::Bytes(packed)) => {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                list.push(single(shape, WireValue::Varint(reader.varint()?), name, depth)?);
            }
        }
        (Shape::Double, WireValue::Bytes(packed)) => {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                list.push(single(shape, WireValue::Fixed64(reader.fixed64()?), name, depth)?);
            }
        }
        _ => {
            let item = single(shape, value, name, depth)?;
            list.push(if item.is_null() { zero(shape) } else { item });
        }
    }
    Ok(())
}

/// Lists inside a message of their own: a map's values, or the field itself.
fn wrapped(f: &Field, value: WireValue<'_>, map: &mut Map<String, Value>) -> Result<(), ProtoError> {
    let items = |value: WireValue<'_>| -> Result<Value, ProtoError> {
        let mut reader = Reader::new(value.bytes(&f.name)?);
        let mut list = Vec::new();
        while let Some((tag, value)) = reader.next()? {
            if tag == 1 {
                list.push(Value::from(value.text(&f.name)?));
            }
        }
        Ok(Value::Array(list))
    };
    if matches!(f.shape(), Shape::Map(_)) {
        let (key, inner) = entry(value, &f.name)?;
        let list = inner.map_or(Ok(Value::Array(Vec::new())), items)?;
        insert(map, f, key, list);
    } else {
        store(map, f, items(value)?);
    }
    Ok(())
}

/// The value of the field `tag` of a small wrapper message.
fn only<'a>(value: WireValue<'a>, tag: u32, name: &str) -> Result<Option<WireValue<'a>>, ProtoError> {
    let mut reader = Reader::new(value.bytes(name)?);
    let mut found = None;
    while let Some((t, value)) = reader.next()? {
        if t == tag {
            found = Some(value);
        }
    }
    Ok(found)
}

fn single(shape: &Shape, value: WireValue<'_>, name: &str, depth: usize) -> Result<Value, ProtoError> {
    Ok(match shape {
        Shape::String => Value::from(value.text(name)?),
        Shape::Bool => Value::Bool(value.varint(name)? != 0),
        #[expect(clippy::cast_possible_truncation, reason = "protobuf sends 32-bit numbers sign-extended")]
        Shape::Int32 => Value::from(value.varint(name)? as i32),
        Shape::Int64 => Value::from(value.varint(name)?.cast_signed()),
        Shape::Double => double(f64::from_bits(value.fixed64(name)?)),
        Shape::Bytes => Value::from(BASE64_STANDARD.encode(value.bytes(name)?)),
        Shape::Object(link) => Value::Object(message(link, value.bytes(name)?, depth + 1)?),
        Shape::Time | Shape::MicroTime => moment(shape, value, name)?,
        Shape::Quantity => quantity(value, name)?,
        Shape::IntOrString => int_or_string(value, name)?,
        Shape::RawExtension | Shape::FieldsV1 | Shape::Json => match only(value, 1, name)? {
            Some(raw) => raw_value(raw.bytes(name)?, depth)?,
            None => Value::Null,
        },
        Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => schema_or(shape, value, name, depth)?,
        Shape::Duration | Shape::Any | Shape::List(_) | Shape::Map(_) => {
            return Err(ProtoError::Value(format!("field {name} has no protobuf form")));
        }
    })
}

fn double(f: f64) -> Value {
    /// Doubles above this are no exact integers any more.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within the exact range")]
    if f.fract() == 0.0 && f.abs() < EXACT {
        return Value::from(f as i64);
    }
    serde_json::Number::from_f64(f).map_or(Value::Null, Value::Number)
}

fn moment(shape: &Shape, value: WireValue<'_>, name: &str) -> Result<Value, ProtoError> {
    let bytes = value.bytes(name)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let mut m = Moment { seconds: 0, nanos: 0 };
    let mut reader = Reader::new(bytes);
    while let Some((tag, value)) = reader.next()? {
        match tag {
            1 => m.seconds = value.varint(name)?.cast_signed(),
            2 => m.nanos = u32::try_from(value.varint(name)?).ok().filter(|n| *n < 1_000_000_000).unwrap_or(0),
            _ => {}
        }
    }
    // RFC 3339 has no years beyond these.
    const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;
    if !YEARS.contains(&m.seconds) {
        return Err(ProtoError::Value(format!("{name}: time of {} seconds is outside the years 0 to 9999", m.seconds)));
    }
    if m.is_go_zero() {
        return Ok(Value::Null);
    }
    Ok(Value::from(if matches!(shape, Shape::MicroTime) { m.to_micros_text() } else { m.to_seconds_text() }))
}

fn quantity(value: WireValue<'_>, name: &str) -> Result<Value, ProtoError> {
    let text = match only(value, 1, name)? {
        Some(v) => v.text(name)?,
        None => String::new(),
    };
    if text.is_empty() {
        return Ok(Value::from("0"));
    }
    let q = Quantity::parse(&text).map_err(|e| ProtoError::Value(e.to_string()))?;
    Ok(Value::from(q.to_string()))
}

fn int_or_string(value: WireValue<'_>, name: &str) -> Result<Value, ProtoError> {
    let mut reader = Reader::new(value.bytes(name)?);
    let (mut kind, mut number, mut text) = (0, 0i32, String::new());
    while let Some((tag, value)) = reader.next()? {
        match tag {
            1 => kind = value.varint(name)?,
            #[expect(clippy::cast_possible_truncation, reason = "protobuf sends 32-bit numbers sign-extended")]
            2 => number = value.varint(name)? as i32,
            3 => text = value.text(name)?,
            _ => {}
        }
    }
    Ok(if kind == 1 { Value::from(text) } else { Value::from(number) })
}

/// Raw bytes inside an extension: JSON, or a whole protobuf body.
fn raw_value(raw: &[u8], depth: usize) -> Result<Value, ProtoError> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if raw.starts_with(MAGIC) {
        return super::decode_at(raw, depth + 1).map(|(_, object)| object);
    }
    decode_json(raw, None, FieldValidation::Ignore).map(|d| d.object).map_err(|e| ProtoError::Value(e.message))
}

fn schema_or(shape: &Shape, value: WireValue<'_>, name: &str, depth: usize) -> Result<Value, ProtoError> {
    let props = builtin().by_name(SCHEMA_PROPS).ok_or(ProtoError::Depth)?;
    let mut reader = Reader::new(value.bytes(name)?);
    let (mut schema, mut allows, mut list) = (None, false, Vec::new());
    while let Some((tag, value)) = reader.next()? {
        match (shape, tag) {
            (Shape::SchemaOrBool, 1) => allows = value.varint(name)? != 0,
            (Shape::SchemaOrBool, 2) | (Shape::SchemaOrArray | Shape::SchemaOrStrings, 1) => {
                schema = Some(Value::Object(message(props, value.bytes(name)?, depth + 1)?));
            }
            (Shape::SchemaOrArray, 2) => list.push(Value::Object(message(props, value.bytes(name)?, depth + 1)?)),
            (Shape::SchemaOrStrings, 2) => list.push(Value::from(value.text(name)?)),
            _ => {}
        }
    }
    Ok(match (schema, shape) {
        (_, Shape::SchemaOrArray | Shape::SchemaOrStrings) if !list.is_empty() => Value::Array(list),
        (Some(schema), _) => schema,
        (None, Shape::SchemaOrBool) => Value::Bool(allows),
        (None, _) => Value::Null,
    })
}
