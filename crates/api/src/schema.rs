//! The schema table: one description of every API type, from which decoding, protobuf, patches, apply, OpenAPI and
//! discovery all read.
//!
//! The types of Kubernetes 1.36 come from a packed table ([`builtin`]); a custom resource's structural schema takes the
//! same form, so that code which walks a schema never asks where it came from.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

pub mod builtin;

pub use builtin::{Builtin, builtin};

use crate::meta::Gvk;

/// Text that is borrowed for built-in types and owned for custom ones.
pub type Text = Cow<'static, str>;

/// An object type with named fields.
#[derive(Clone, Debug, Default)]
pub struct Type {
    /// The OpenAPI definition name, for example `io.k8s.api.core.v1.Pod`.
    pub name: Text,
    /// The protobuf message name; `None` for types that travel only as JSON.
    pub proto: Option<Text>,
    /// The kinds this type is the body of; several for types shared by all groups, such as `DeleteOptions`.
    pub gvks: Vec<Gvk>,
    /// How apply merges the type as a whole.
    pub map_type: Option<MapType>,
    /// Set for types that JSON writes as a single value, such as `Quantity`.
    pub scalar: Option<Shape>,
    /// `x-kubernetes-unions`, as JSON.
    pub unions: Option<Value>,
    /// What happens to fields that the type does not name.
    pub unknown_fields: UnknownFields,
    /// The JSON fields sorted by name; fields of embedded messages stand here as their own.
    pub fields: Vec<Field>,
    /// Protobuf's view, sorted by tag.
    pub wire: Vec<Wire>,
    /// Indexes of the fields that JSON writes even when they are empty.
    pub(crate) always: Vec<u16>,
}

/// What happens to fields that a type does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are dropped, and reported when validation is strict.
    #[default]
    Prune,
    /// They are kept as they are (`x-kubernetes-preserve-unknown-fields`).
    Preserve,
}

/// One JSON field of an object type.
#[derive(Clone, Debug)]
pub struct Field {
    /// The JSON name.
    pub name: Text,
    /// What the field holds.
    pub node: Node,
    /// A value must be given (OpenAPI `required`).
    pub required: bool,
    /// JSON writes the field even when it is empty.
    pub always: bool,
    /// An optional pointer: a zero value differs from an absent one.
    pub ptr: bool,
    /// The field is on protobuf's wire only, never in JSON.
    pub proto_only: bool,
}

/// A place in the schema: a field, a list element or a map value.
#[derive(Clone, Debug)]
pub struct Node {
    /// What stands here.
    pub shape: Shape,
    facts: Option<Box<Facts>>,
}

/// What is known of a place beyond its shape; mostly nothing.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// How apply merges a list; `None` is atomic.
    pub list_type: Option<ListType>,
    /// The keys of a `map` list.
    pub list_map_keys: Vec<Text>,
    /// How apply merges a map or an object; `None` leaves it to the type (granular).
    pub map_type: Option<MapType>,
    /// How a strategic merge patch treats the place.
    pub patch_strategy: PatchStrategy,
    /// The key by which a strategic merge patch finds list elements.
    pub patch_merge_key: Option<Text>,
    /// The default of OpenAPI (documentation for built-in types: their defaulting is code).
    pub default: Option<Value>,
    /// The allowed values, if they are closed.
    pub enum_values: Vec<Text>,
}

static NO_FACTS: Facts = Facts {
    list_type: None,
    list_map_keys: Vec::new(),
    map_type: None,
    patch_strategy: PatchStrategy { merge: false, retain_keys: false, replace: false },
    patch_merge_key: None,
    default: None,
    enum_values: Vec::new(),
};

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Elements are scalars and unique.
    Set,
    /// Elements are objects found by their keys.
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// Replaced as a whole.
    Atomic,
    /// Merged key by key.
    Granular,
}

/// `x-kubernetes-patch-strategy`; all false means: maps merge, lists are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// List elements are merged, by the merge key if there is one.
    pub merge: bool,
    /// Fields that the patch does not retain are cleared (unions).
    pub retain_keys: bool,
    /// The object is replaced instead of merged.
    pub replace: bool,
}

/// What a place holds.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Text.
    String,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A moment in whole seconds.
    Time,
    /// A moment in microseconds.
    MicroTime,
    /// Go's duration text.
    Duration,
    /// A resource quantity.
    Quantity,
    /// A 32-bit integer or text.
    IntOrString,
    /// Any object, kept as it is.
    RawExtension,
    /// A managed-fields set.
    FieldsV1,
    /// Any JSON value, also null.
    Json,
    /// A JSON schema or a list of them.
    SchemaOrArray,
    /// A JSON schema or a boolean.
    SchemaOrBool,
    /// A JSON schema or a list of names.
    SchemaOrStrings,
    /// Any value without a wire form.
    Any,
    /// A list.
    List(Box<Node>),
    /// A map with text keys.
    Map(Box<Node>),
    /// An object with named fields.
    Object(Link),
}

/// A reference to an object type.
#[derive(Clone, Debug)]
pub enum Link {
    /// A type of the built-in table, by its index.
    Builtin(u16),
    /// A type of a custom resource's schema.
    Own(Arc<Type>),
}

/// One field on protobuf's wire.
#[derive(Clone, Debug)]
pub struct Wire {
    /// The field number.
    pub tag: u32,
    /// The name in the `.proto` file, where it is not the JSON name.
    pub proto_name: Option<Text>,
    /// Where the value comes from.
    pub source: WireSource,
}

/// Where a protobuf field's value comes from.
#[derive(Clone, Debug)]
pub enum WireSource {
    /// The JSON field with this index.
    Field(u16),
    /// As `Field`, but each list travels inside a message of its own (`ExtraValue`, `Verbs`).
    WrappedList(u16),
    /// A message that JSON flattens into the object.
    Inline(Link),
}

impl Type {
    /// The JSON field `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let found = self.fields.binary_search_by(|f| f.name.as_ref().cmp(name)).ok()?;
        self.fields.get(found).filter(|f| !f.proto_only)
    }

    /// The last part of the name: `PodSpec` of `io.k8s.api.core.v1.PodSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Sorts the fields and notes which ones are always written; call it once after building a type by hand.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.fields.sort_by(|a, b| a.name.cmp(&b.name));
        self.always = (0u16..).zip(&self.fields).filter(|(_, f)| f.always && !f.proto_only).map(|(i, _)| i).collect();
        self
    }
}

impl Field {
    /// What is known of the field beyond its shape.
    pub fn facts(&self) -> &Facts {
        self.node.facts()
    }

    /// The field's shape.
    pub fn shape(&self) -> &Shape {
        &self.node.shape
    }
}

impl Node {
    /// A place of which nothing but the shape is known.
    pub fn plain(shape: Shape) -> Self {
        Self { shape, facts: None }
    }

    /// A place with facts.
    pub fn with_facts(shape: Shape, facts: Facts) -> Self {
        Self { shape, facts: Some(Box::new(facts)) }
    }

    /// What is known beyond the shape.
    pub fn facts(&self) -> &Facts {
        self.facts.as_deref().unwrap_or(&NO_FACTS)
    }

    /// The element of a list or the value of a map.
    pub fn element(&self) -> Option<&Node> {
        match &self.shape {
            Shape::List(node) | Shape::Map(node) => Some(node),
            _ => None,
        }
    }

    /// The object type that stands here.
    pub fn object(&self) -> Option<&Type> {
        match &self.shape {
            Shape::Object(link) => Some(link),
            _ => None,
        }
    }

    /// How apply merges what stands here: the place's own word, or else the type's, or else granular.
    pub fn effective_map_type(&self) -> MapType {
        self.facts().map_type.or_else(|| self.object().and_then(|t| t.map_type)).unwrap_or(MapType::Granular)
    }
}

impl Deref for Link {
    type Target = Type;

    fn deref(&self) -> &Type {
        match self {
            Self::Builtin(index) => builtin().at(*index),
            Self::Own(ty) => ty,
        }
    }
}
