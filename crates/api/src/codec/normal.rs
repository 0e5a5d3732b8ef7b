//! What upstream's Go structs do to an object when it is written as JSON: empty optional fields vanish, others appear.

use serde_json::{Map, Value};

use crate::schema::{Field, Shape, Type};

/// The JSON of a Go zero value.
pub(crate) fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String => Value::from(""),
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Duration => Value::from("0s"),
        Shape::Quantity => Value::from("0"),
        Shape::Object(link) => {
            let mut map = Map::new();
            finish(&mut map, link);
            Value::Object(map)
        }
        _ => Value::Null,
    }
}

/// Whether `omitempty` leaves a value out. Structs are never left out, so only plain values count.
fn is_empty(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (_, Value::Null) => true,
        (Shape::String | Shape::Bytes, Value::String(s)) => s.is_empty(),
        (Shape::Bool, Value::Bool(b)) => !b,
        (Shape::Int32 | Shape::Int64 | Shape::Double, Value::Number(n)) => n.as_f64() == Some(0.0),
        (Shape::List(_), Value::Array(list)) => list.is_empty(),
        (Shape::Map(_), Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Puts a decoded value into its object, or leaves it out if upstream would.
pub(crate) fn store(map: &mut Map<String, Value>, field: &Field, value: Value) {
    let absent = value.is_null() || (!field.always && !field.ptr && is_empty(field.shape(), &value));
    if absent {
        map.remove(field.name.as_ref());
    } else {
        map.insert(field.name.to_string(), value);
    }
}

/// Adds the fields that upstream writes even when they are empty.
pub(crate) fn finish(map: &mut Map<String, Value>, ty: &Type) {
    for field in ty.always.iter().filter_map(|i| ty.fields.get(usize::from(*i))) {
        if !map.contains_key(field.name.as_ref()) {
            let value = if field.ptr { Value::Null } else { zero(field.shape()) };
            map.insert(field.name.to_string(), value);
        }
    }
}

/// Brings an object that code has built or changed into the form upstream would write: drops empty optional fields and
/// nulls, adds the ones that are always there. Fields unknown to the type are left alone.
pub fn normalize(object: &mut Value, ty: &Type) {
    let Value::Object(map) = object else { return };
    map.retain(|key, value| {
        let Some(field) = ty.field(key) else { return true };
        walk(field.shape(), value);
        !value.is_null() && (field.always || field.ptr || !is_empty(field.shape(), value))
    });
    finish(map, ty);
}

fn walk(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(link), value) => normalize(value, link),
        (Shape::List(node), Value::Array(list)) => list.iter_mut().for_each(|v| walk(&node.shape, v)),
        (Shape::Map(node), Value::Object(map)) => map.values_mut().for_each(|v| walk(&node.shape, v)),
        _ => {}
    }
}
