//! Strategic merge patches: maps merge, lists merge by the schema's keys, and `$` members give orders.
//!
//! The schema says per field whether a list is replaced or merged, and by which key. Behaviour and sentences are those of
//! apimachinery's `util/strategicpatch`; hash tables stand where that searches lists again and again.

use serde_json::{Map, Value};

use super::go_text::{shown, shown_map, type_name};
use super::unprocessable;
use crate::error::{ApiError, Reason};
use crate::schema::{Node, PatchStrategy, Shape, Type};

mod list;
mod order;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Why a patch cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("invalid patch format of primitive list")]
    PrimitiveListFormat,
    #[error("invalid patch format of retainKeys")]
    RetainKeysFormat,
    #[error("invalid patch format of setElementOrder list")]
    SetOrderFormat,
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// Everything else, which kube-apiserver answers as an error of its own.
    #[error("{0}")]
    Other(String),
}

impl Problem {
    fn wrong_type(expected: &str, found: &Value) -> Self {
        Self::Other(format!("expected a {expected}, but received a {}", type_name(found)))
    }

    fn no_merge_key(map: &Map<String, Value>, key: &str) -> Self {
        Self::Other(format!("map: {} does not contain declared merge key: {key}", shown_map(map)))
    }

    fn directive(found: &Value, map: &Map<String, Value>) -> Self {
        Self::Other(format!("unknown patch type: {} in map: {}", shown(found), shown_map(map)))
    }
}

/// The document with the patch merged in by the strategies of `ty`.
///
/// Errors: 400 for malformed orders, 422 for lists of lists, 500 (as upstream) when the patch does not fit the schema, such
/// as an element without its merge key.
pub fn strategic_merge(doc: &Value, patch: &Value, ty: &Type) -> Result<Value, ApiError> {
    let (Value::Object(doc), Value::Object(patch)) = (doc, patch) else {
        return Err(ApiError::bad_request("invalid JSON document"));
    };
    let mut merged = doc.clone();
    merge_map(&mut merged, patch.clone(), Place::Struct(ty)).map_err(|problem| match problem {
        Problem::PrimitiveListFormat | Problem::RetainKeysFormat | Problem::SetOrderFormat => ApiError::bad_request(problem.to_string()),
        Problem::ListOfLists => unprocessable(problem.to_string()),
        Problem::Other(why) => ApiError::new(500, Reason::Unknown, why),
    })?;
    Ok(Value::Object(merged))
}

/// What the schema says of a place.
#[derive(Clone, Copy)]
enum Place<'a> {
    Struct(&'a Type),
    /// A struct without JSON fields of its own, by its Go name.
    Closed(&'static str),
    /// Something else, by its Go kind.
    Kind(&'static str),
}

impl<'a> Place<'a> {
    fn of(node: &'a Node) -> Self {
        match &node.shape {
            Shape::Object(link) => Self::Struct(link),
            Shape::List(_) | Shape::Bytes => Self::Kind("slice"),
            Shape::Map(_) => Self::Kind("map"),
            Shape::RawExtension => Self::Closed("RawExtension"),
            Shape::FieldsV1 => Self::Closed("FieldsV1"),
            Shape::Json => Self::Closed("JSON"),
            Shape::Quantity => Self::Closed("Quantity"),
            Shape::Time | Shape::MicroTime => Self::Closed("Time"),
            Shape::IntOrString => Self::Closed("IntOrString"),
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => Self::Closed("JSONSchemaProps"),
            Shape::Any => Self::Kind("interface"),
            Shape::String => Self::Kind("string"),
            Shape::Bool => Self::Kind("bool"),
            Shape::Int32 => Self::Kind("int32"),
            Shape::Int64 | Shape::Duration => Self::Kind("int64"),
            Shape::Double => Self::Kind("float64"),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Struct(_) | Self::Closed(_) => "struct",
            Self::Kind(kind) => kind,
        }
    }

    fn field(self, name: &str) -> Result<&'a Node, Problem> {
        let lost = |ty: &str| Problem::Other(format!("unable to find api field in struct {ty} for the json field {name:?}"));
        match self {
            Self::Struct(ty) => ty.field(name).map(|f| &f.node).ok_or_else(|| lost(ty.short_name())),
            Self::Closed(ty) => Err(lost(ty)),
            Self::Kind(kind) => Err(Problem::Other(format!("merging an object in json but data type is not struct, instead is: {kind}"))),
        }
    }

    /// A field that is a list: what its elements are, and how it merges.
    fn list_field(self, name: &str) -> Result<ListPlace<'a>, Problem> {
        let node = self.field(name)?;
        let element = match &node.shape {
            Shape::List(element) => match element.shape {
                Shape::List(_) => return Err(Problem::Other("unexpected slice of slice".to_owned())),
                _ => Place::of(element),
            },
            _ => return Err(Problem::Other(format!("expected slice or array type, but got: {}", self.kind()))),
        };
        let facts = node.facts();
        Ok(ListPlace { element, strategy: facts.patch_strategy, key: facts.patch_merge_key.as_deref().unwrap_or_default() })
    }
}

/// What the schema says of a list.
#[derive(Clone, Copy)]
struct ListPlace<'a> {
    element: Place<'a>,
    strategy: PatchStrategy,
    /// The merge key, or empty.
    key: &'a str,
}

/// The part of an order's name behind its prefix.
fn target<'a>(member: &'a str, prefix: &str, problem: Problem) -> Result<&'a str, Problem> {
    match member.split_once('/') {
        Some((before, after)) if before == prefix => Ok(after),
        _ => Err(problem),
    }
}

fn merge_map(original: &mut Map<String, Value>, mut patch: Map<String, Value>, place: Place<'_>) -> Result<(), Problem> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        match directive.as_str() {
            Some("replace") => *original = patch,
            Some("delete") => original.clear(),
            _ => {
                patch.insert(DIRECTIVE.to_owned(), directive.clone());
                return Err(Problem::directive(&directive, &patch));
            }
        }
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    order::apply_set_orders(original, &mut patch, place)?;
    for (key, value) in patch {
        if key.starts_with(DELETE_FROM) {
            let name = target(&key, DELETE_FROM, Problem::PrimitiveListFormat)?;
            list::delete_from(original, name, value, place)?;
        } else {
            merge_member(original, key, value, place)?;
        }
    }
    Ok(())
}

fn merge_member(original: &mut Map<String, Value>, key: String, value: Value, place: Place<'_>) -> Result<(), Problem> {
    match (original.get_mut(&key), value) {
        (_, Value::Null) => {
            original.remove(&key);
        }
        (Some(Value::Object(present)), Value::Object(change)) => {
            let node = place.field(&key)?;
            if node.facts().patch_strategy.replace {
                *present = change;
            } else {
                merge_map(present, change, Place::of(node))?;
            }
        }
        (Some(Value::Array(present)), Value::Array(change)) => {
            let of = place.list_field(&key)?;
            *present = list::merge_field(std::mem::take(present), change, of)?;
        }
        (_, mut fresh) => {
            drop_nulls(&mut fresh);
            match without_directives(fresh) {
                Some(fresh) => original.insert(key, fresh),
                None => original.remove(&key),
            };
        }
    }
    Ok(())
}

/// `$retainKeys`: members of the original that the list does not name go; the patch may set no others.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Problem> {
    let Some(order) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(list) = order else { return Err(Problem::RetainKeysFormat) };
    let kept: std::collections::HashSet<&str> = list.iter().filter_map(Value::as_str).collect();
    for (key, value) in patch.iter() {
        let order = key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
        if !value.is_null() && !order && !kept.contains(key.as_str()) {
            return Err(Problem::RetainKeysFormat);
        }
    }
    original.retain(|key, _| kept.contains(key.as_str()));
    Ok(())
}

/// Null members mean "delete"; where there is nothing to delete they go.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The value without the maps that carry `$patch`; `None` if it is such a map itself.
fn without_directives(mut value: Value) -> Option<Value> {
    fn clean(value: &mut Value) -> bool {
        match value {
            Value::Object(map) if map.contains_key(DIRECTIVE) => false,
            Value::Object(map) => {
                map.retain(|_, v| clean(v));
                true
            }
            Value::Array(list) => {
                list.retain_mut(clean);
                true
            }
            _ => true,
        }
    }
    clean(&mut value).then_some(value)
}
