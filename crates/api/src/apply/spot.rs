//! What the schema says of a place, as apply needs it.

use std::borrow::Cow;

use serde_json::Value;

use super::element::Element;
use crate::schema::{ListType, MapType, Node, Shape, Text, Type, UnknownFields};

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot<'a> {
    /// The root of a kind.
    Root(&'a Type),
    /// A field, list element or map value.
    At(&'a Node),
    /// Nothing is known: maps merge key by key, lists are atomic.
    Deduced,
}

/// What a value at a place is for merging.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atom<'a> {
    Scalar(Scalar),
    List(ListAtom<'a>),
    Map(MapAtom<'a>),
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    String,
    Boolean,
    Numeric,
    Untyped,
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListAtom<'a> {
    pub(super) element: Spot<'a>,
    pub(super) relation: Relation<'a>,
}

/// How the elements of a list are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relation<'a> {
    /// Not at all: the list is replaced as a whole.
    Atomic,
    /// By their values.
    Set,
    /// By these fields.
    Keys(&'a [Text]),
}

/// A map or struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapAtom<'a> {
    ty: Option<&'a Type>,
    element: Option<Spot<'a>>,
    pub(super) atomic: bool,
}

impl<'a> Spot<'a> {
    /// The root of a kind, or of anything.
    pub(super) fn root(schema: Option<&'a Type>) -> Self {
        schema.map_or(Self::Deduced, Self::Root)
    }

    /// What a value here is. Where the schema leaves it open, the value decides.
    pub(super) fn atom(self, value: Option<&Value>) -> Atom<'a> {
        match self {
            Self::Root(ty) => struct_atom(ty, ty.map_type.unwrap_or(MapType::Granular)),
            Self::Deduced => deduced(value),
            Self::At(node) => match &node.shape {
                Shape::Object(link) => struct_atom(link, node.effective_map_type()),
                Shape::Map(element) => {
                    let atomic = node.effective_map_type() == MapType::Atomic;
                    Atom::Map(MapAtom { ty: None, element: Some(Self::At(element)), atomic })
                }
                Shape::List(element) => {
                    let facts = node.facts();
                    let relation = match facts.list_type {
                        Some(ListType::Map) => Relation::Keys(&facts.list_map_keys),
                        Some(ListType::Set) => Relation::Set,
                        Some(ListType::Atomic) | None => Relation::Atomic,
                    };
                    Atom::List(ListAtom { element: Self::At(element), relation })
                }
                Shape::String | Shape::Bytes | Shape::Duration => Atom::Scalar(Scalar::String),
                Shape::Bool => Atom::Scalar(Scalar::Boolean),
                Shape::Int32 | Shape::Int64 | Shape::Double => Atom::Scalar(Scalar::Numeric),
                Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::MicroTime => Atom::Scalar(Scalar::Untyped),
                Shape::RawExtension
                | Shape::FieldsV1
                | Shape::Json
                | Shape::SchemaOrArray
                | Shape::SchemaOrBool
                | Shape::SchemaOrStrings
                | Shape::Any => deduced(value),
            },
        }
    }

    /// The place below an element, if the schema knows it.
    pub(super) fn below(self, element: &Element<'_>) -> Option<Spot<'a>> {
        match (self, element) {
            (Self::Deduced, _) => Some(Self::Deduced),
            (_, Element::Field(name)) => match self.atom(Some(&Value::Object(serde_json::Map::new()))) {
                Atom::Map(map) => map.member(name),
                _ => None,
            },
            (_, _) => match self.atom(Some(&Value::Array(Vec::new()))) {
                Atom::List(list) => Some(list.element),
                _ => None,
            },
        }
    }
}

fn struct_atom(ty: &Type, map_type: MapType) -> Atom<'_> {
    // A scalar in a struct's clothes, such as a quantity.
    if let Some(shape) = &ty.scalar {
        return match shape {
            Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::MicroTime => Atom::Scalar(Scalar::Untyped),
            Shape::RawExtension | Shape::Json | Shape::FieldsV1 | Shape::Any => {
                Atom::Map(MapAtom { ty: None, element: Some(Spot::Deduced), atomic: false })
            }
            _ => Atom::Scalar(Scalar::String),
        };
    }
    let element = (ty.unknown_fields == UnknownFields::Preserve).then_some(Spot::Deduced);
    Atom::Map(MapAtom { ty: Some(ty), element, atomic: map_type == MapType::Atomic })
}

fn deduced<'a>(value: Option<&Value>) -> Atom<'a> {
    match value {
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => Atom::Scalar(Scalar::Untyped),
        Some(Value::Array(_)) => Atom::List(ListAtom { element: Spot::Deduced, relation: Relation::Atomic }),
        Some(Value::Object(_) | Value::Null) | None => Atom::Map(MapAtom { ty: None, element: Some(Spot::Deduced), atomic: false }),
    }
}

impl<'a> MapAtom<'a> {
    /// A named field.
    pub(super) fn field(&self, name: &str) -> Option<&'a Node> {
        self.ty?.field(name).map(|f| &f.node)
    }

    /// The place of a member; `None` if the schema does not allow it.
    pub(super) fn member(&self, name: &str) -> Option<Spot<'a>> {
        self.field(name).map(Spot::At).or(self.element)
    }
}

impl<'a> ListAtom<'a> {
    pub(super) fn is_atomic(&self) -> bool {
        matches!(self.relation, Relation::Atomic)
    }

    /// How an element of the list is told apart. The error is upstream's sentence.
    pub(super) fn element_of(&self, item: &'a Value) -> Result<Element<'a>, String> {
        match self.relation {
            Relation::Atomic => Err("invalid indexing of non-associative list".to_owned()),
            Relation::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                _ => Ok(Element::Value(Cow::Borrowed(item))),
            },
            Relation::Keys(names) => self.keyed(names, item),
        }
    }

    fn keyed(&self, names: &'a [Text], item: &'a Value) -> Result<Element<'a>, String> {
        let map = match item {
            Value::Object(map) => map,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let mut fields = Vec::with_capacity(names.len());
        for name in names {
            // A key that is neither given nor has a default is left out: that is another element than one that has it.
            if let Some(value) = map.get(name.as_ref()).or_else(|| self.default_of(name)) {
                fields.push((Cow::Borrowed(name.as_ref()), Cow::Borrowed(value)));
            }
        }
        if fields.is_empty() {
            let list: Vec<String> = names.iter().map(|n| format!("{n:?}")).collect();
            let list = list.join(" ");
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{list}] (and doesn't have default values for any key fields)"
            ));
        }
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Element::Key(fields))
    }

    fn default_of(&self, name: &str) -> Option<&'a Value> {
        match self.element {
            Spot::At(node) => node.object()?.field(name)?.facts().default.as_ref(),
            Spot::Root(_) | Spot::Deduced => None,
        }
    }
}
