//! The types of Kubernetes 1.36, parsed once from the packed table that `cargo xtask gen` writes.
//!
//! The table's grammar, one line each, cells split by tabs:
//! - `>NAME` starts a type; `p=` its protobuf name, `g=GROUP/VERSION/KIND` a kind of it, `m=` its map type, `s=` the
//!   single value it is in JSON, `u=` its unions.
//! - `FIELD SHAPE TAG FLAGS` is a field of it; flags are `a` always written, `p` pointer, `r` required, `i` inline,
//!   `o` on protobuf's wire only, `w` list wrapped in a message; `d=` default, `e=` enum, `l=` list type, `y=` list map
//!   keys, `m=` map type, `s=` patch strategy, `k=` merge key, `n=` protobuf name.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Facts, Field, Link, ListType, MapType, Node, PatchStrategy, Shape, Text, Type, Wire, WireSource};
use crate::meta::Gvk;

static TABLE: &str = include_str!("kubernetes-types.txt");

/// The names in the table leave this out.
const PREFIX: &str = "io.k8s.";

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| Builtin::parse(TABLE));
static NOTHING: LazyLock<Type> = LazyLock::new(Type::default);

/// The built-in types with their indexes.
#[derive(Debug)]
pub struct Builtin {
    types: Vec<Type>,
    by_gvk: Vec<(Gvk, u16)>,
}

/// The types of Kubernetes 1.36.
pub fn builtin() -> &'static Builtin {
    &BUILTIN
}

impl Builtin {
    /// The type with this OpenAPI name.
    pub fn by_name(&self, name: &str) -> Option<&Type> {
        let found = self.types.binary_search_by(|t| t.name.as_ref().cmp(name)).ok()?;
        self.types.get(found)
    }

    /// A link to the type with this OpenAPI name.
    pub fn link(&self, name: &str) -> Option<Link> {
        let found = self.types.binary_search_by(|t| t.name.as_ref().cmp(name)).ok()?;
        u16::try_from(found).ok().map(Link::Builtin)
    }

    /// The type that is the body of a kind.
    pub fn by_gvk(&self, group: &str, version: &str, kind: &str) -> Option<&Type> {
        let order = |(g, _): &(Gvk, u16)| (g.group.as_str(), g.version.as_str(), g.kind.as_str()).cmp(&(group, version, kind));
        let found = self.by_gvk.binary_search_by(order).ok()?;
        self.by_gvk.get(found).map(|(_, index)| self.at(*index))
    }

    /// All types, sorted by name.
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    pub(super) fn at(&self, index: u16) -> &Type {
        self.types.get(usize::from(index)).unwrap_or(&NOTHING)
    }

    fn parse(table: &'static str) -> Self {
        let numbers: HashMap<&str, u16> = table.lines().filter_map(|l| l.strip_prefix('>')).map(first_cell).zip(0u16..).collect();
        let mut raw: Vec<RawType> = Vec::with_capacity(numbers.len());
        for line in table.lines() {
            match line.strip_prefix('>') {
                Some(head) => raw.push(RawType { ty: parse_head(head), fields: Vec::new() }),
                None => {
                    if let (Some(last), Some(field)) = (raw.last_mut(), RawField::parse(line, &numbers)) {
                        last.fields.push(field);
                    }
                }
            }
        }
        let types: Vec<Type> = (0..raw.len()).map(|i| assemble(&raw, i)).collect();
        let mut by_gvk: Vec<(Gvk, u16)> = (0u16..).zip(&types).flat_map(|(i, t)| t.gvks.iter().cloned().map(move |g| (g, i))).collect();
        by_gvk.sort();
        Self { types, by_gvk }
    }
}

struct RawType {
    ty: Type,
    fields: Vec<RawField>,
}

struct RawField {
    field: Field,
    tag: u32,
    proto_name: Option<Text>,
    inline: bool,
    wrapped: bool,
}

fn first_cell(line: &'static str) -> &'static str {
    line.split('\t').next().unwrap_or_default()
}

fn options(cells: std::str::Split<'static, char>) -> impl Iterator<Item = (&'static str, &'static str)> {
    cells.filter_map(|cell| cell.split_once('='))
}

fn parse_head(head: &'static str) -> Type {
    let mut cells = head.split('\t');
    let mut ty = Type { name: format!("{PREFIX}{}", cells.next().unwrap_or_default()).into(), ..Type::default() };
    for (key, value) in options(cells) {
        match key {
            "p" => ty.proto = Some(value.into()),
            "g" => {
                let mut parts = value.split('/').map(str::to_owned);
                let mut next = || parts.next().unwrap_or_default();
                ty.gvks.push(Gvk { group: next(), version: next(), kind: next() });
            }
            "m" => ty.map_type = map_type(value),
            "s" => ty.scalar = Some(parse_shape(value, &HashMap::new())),
            "u" => ty.unions = serde_json::from_str(value).ok(),
            _ => {}
        }
    }
    ty
}

impl RawField {
    fn parse(line: &'static str, numbers: &HashMap<&str, u16>) -> Option<Self> {
        let mut cells = line.split('\t');
        let name = cells.next()?;
        let shape = parse_shape(cells.next()?, numbers);
        let tag = cells.next()?.parse().ok()?;
        let flags = cells.next()?;
        let mut facts = Facts::default();
        let mut any = false;
        let mut proto_name = None;
        for (key, value) in options(cells) {
            any |= key != "n";
            let words = || value.split(',').map(Text::from).collect();
            match key {
                "d" => facts.default = serde_json::from_str::<Value>(value).ok(),
                "e" => facts.enum_values = words(),
                "l" => facts.list_type = list_type(value),
                "y" => facts.list_map_keys = words(),
                "m" => facts.map_type = map_type(value),
                "s" => facts.patch_strategy = patch_strategy(value),
                "k" => facts.patch_merge_key = Some(value.into()),
                "n" => proto_name = Some(value.into()),
                _ => {}
            }
        }
        let node = if any { Node::with_facts(shape, facts) } else { Node::plain(shape) };
        let has = |flag: char| flags.contains(flag);
        let field = Field { name: name.into(), node, required: has('r'), always: has('a'), ptr: has('p'), proto_only: has('o') };
        Some(Self { field, tag, proto_name, inline: has('i'), wrapped: has('w') })
    }
}

fn parse_shape(text: &str, numbers: &HashMap<&str, u16>) -> Shape {
    if let Some(item) = text.strip_prefix("array:") {
        return Shape::List(Box::new(Node::plain(parse_shape(item, numbers))));
    }
    if let Some(value) = text.strip_prefix("map:") {
        return Shape::Map(Box::new(Node::plain(parse_shape(value, numbers))));
    }
    if let Some(name) = text.strip_prefix("ref:") {
        return numbers.get(name).map_or(Shape::Any, |n| Shape::Object(Link::Builtin(*n)));
    }
    match text {
        "string" => Shape::String,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "bytes" => Shape::Bytes,
        "Time" => Shape::Time,
        "MicroTime" => Shape::MicroTime,
        "Duration" => Shape::Duration,
        "Quantity" => Shape::Quantity,
        "IntOrString" => Shape::IntOrString,
        "RawExtension" => Shape::RawExtension,
        "FieldsV1" => Shape::FieldsV1,
        "JSON" => Shape::Json,
        "JSONSchemaPropsOrArray" => Shape::SchemaOrArray,
        "JSONSchemaPropsOrBool" => Shape::SchemaOrBool,
        "JSONSchemaPropsOrStringArray" => Shape::SchemaOrStrings,
        _ => Shape::Any,
    }
}

fn list_type(word: &str) -> Option<ListType> {
    match word {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        _ => None,
    }
}

fn map_type(word: &str) -> Option<MapType> {
    match word {
        "atomic" => Some(MapType::Atomic),
        "granular" => Some(MapType::Granular),
        _ => None,
    }
}

fn patch_strategy(words: &str) -> PatchStrategy {
    let has = |word: &str| words.split(',').any(|w| w == word);
    PatchStrategy { merge: has("merge"), retain_keys: has("retainKeys"), replace: has("replace") }
}

/// Spreads the fields of inline messages into the object that JSON shows.
fn assemble(raw: &[RawType], index: usize) -> Type {
    let Some(this) = raw.get(index) else { return Type::default() };
    let mut ty = this.ty.clone();
    spread(raw, index, &mut ty.fields);
    let mut ty = ty.sealed();
    for f in this.fields.iter().filter(|f| f.tag > 0) {
        let source = match (&f.field.node.shape, f.inline) {
            (Shape::Object(link), true) => WireSource::Inline(link.clone()),
            _ => {
                let place = ty.fields.binary_search_by(|g| g.name.cmp(&f.field.name)).ok().and_then(|p| u16::try_from(p).ok());
                match place {
                    Some(place) if f.wrapped => WireSource::WrappedList(place),
                    Some(place) => WireSource::Field(place),
                    None => continue,
                }
            }
        };
        ty.wire.push(Wire { tag: f.tag, proto_name: f.proto_name.clone(), source });
    }
    ty.wire.sort_by_key(|w| w.tag);
    ty
}

fn spread(raw: &[RawType], index: usize, out: &mut Vec<Field>) {
    for f in raw.get(index).map(|t| t.fields.as_slice()).unwrap_or_default() {
        match (&f.field.node.shape, f.inline) {
            (Shape::Object(Link::Builtin(inner)), true) => spread(raw, usize::from(*inner), out),
            _ => out.push(f.field.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let b = builtin();
        assert_eq!(b.types().len(), 830);
        assert!(b.types().windows(2).all(|w| w[0].name < w[1].name));
        let unresolved: Vec<_> = b
            .types()
            .iter()
            .flat_map(|t| t.fields.iter().map(move |f| (t, f)))
            .filter(|(t, f)| matches!(f.shape(), Shape::Any) && !t.name.ends_with("TableRow"))
            .map(|(t, f)| format!("{}.{}", t.name, f.name))
            .collect();
        assert!(unresolved.is_empty(), "{unresolved:?}");
    }

    #[test]
    fn kinds_and_fields_are_found() {
        let pod = builtin().by_gvk("", "v1", "Pod").expect("Pod");
        assert_eq!(pod.name, "io.k8s.api.core.v1.Pod");
        let spec = pod.field("spec").and_then(|f| f.node.object()).expect("spec");
        let containers = spec.field("containers").expect("containers");
        assert_eq!(containers.facts().list_type, Some(ListType::Map));
        assert_eq!(containers.facts().list_map_keys, ["name"]);
        assert!(containers.facts().patch_strategy.merge && containers.required && containers.always);
        assert_eq!(builtin().by_gvk("apps", "v1", "DeleteOptions").expect("shared").short_name(), "DeleteOptions");
    }

    #[test]
    fn embedded_messages_are_flat_in_json_and_nested_on_the_wire() {
        let volume = builtin().by_name("io.k8s.api.core.v1.Volume").expect("Volume");
        assert!(volume.field("emptyDir").is_some() && volume.field("volumeSource").is_none());
        assert!(volume.wire.iter().any(|w| w.tag == 2 && matches!(&w.source, WireSource::Inline(l) if l.short_name() == "VolumeSource")));
    }
}
