//! The schemas of types, with everything they refer to.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::resources::ResourceDescriptor;
use crate::schema::{Facts, Field, ListType, MapType, Node, Shape, Type, builtin};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// Schemas that have been made and those still to make.
pub(super) struct Definitions {
    dialect: Dialect,
    made: Map<String, Value>,
    waiting: Vec<String>,
}

impl Definitions {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, made: Map::new(), waiting: Vec::new() }
    }

    /// Asks for a built-in type by its name.
    pub(super) fn need(&mut self, name: &str) {
        if !self.made.contains_key(name) {
            self.made.insert(name.to_owned(), Value::Null);
            self.waiting.push(name.to_owned());
        }
    }

    /// Adds a schema made elsewhere.
    pub(super) fn put(&mut self, name: &str, schema: Value) {
        self.made.insert(name.to_owned(), schema);
    }

    /// Adds a custom resource and its list.
    pub(super) fn custom(&mut self, r: &ResourceDescriptor, name: &str, schema: &Value) {
        let object_meta = format!("{META}.ObjectMeta");
        let list_meta = format!("{META}.ListMeta");
        let mut schema = schema.as_object().cloned().unwrap_or_else(|| {
            [("type".to_owned(), json!("object")), ("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true))].into_iter().collect()
        });
        let kinds = json!([{"group": r.group, "version": r.version, "kind": r.kind}]);
        schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds);
        if let Value::Object(properties) = schema.entry("properties").or_insert_with(|| json!({})) {
            properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
            properties.insert("kind".to_owned(), json!({"type": "string"}));
            properties.insert("metadata".to_owned(), self.reference(&object_meta));
        }
        self.put(name, Value::Object(schema));
        let list_kind = format!("{}List", r.kind);
        let list = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": self.reference(&list_meta),
                "items": {"type": "array", "items": self.dialect.reference(name)},
            },
            "x-kubernetes-group-version-kind": [{"group": r.group, "version": r.version, "kind": list_kind}],
        });
        self.put(&format!("{name}List"), list);
    }

    /// Makes all that was asked for.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some(name) = self.waiting.pop() {
            let schema = builtin().by_name(&name).map_or_else(|| json!({"type": "object"}), |ty| self.schema(ty));
            self.made.insert(name, schema);
        }
        self.made
    }

    fn reference(&mut self, name: &str) -> Value {
        self.need(name);
        self.dialect.reference(name)
    }

    fn schema(&mut self, ty: &Type) -> Value {
        if let Some(scalar) = scalar(&ty.name, self.dialect) {
            return scalar;
        }
        let mut out = Map::new();
        out.insert("type".into(), json!("object"));
        let fields: Vec<&Field> = ty.fields.iter().filter(|f| !f.proto_only).collect();
        let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name.as_ref()).collect();
        if !required.is_empty() {
            out.insert("required".into(), json!(required));
        }
        let properties: Map<String, Value> = fields.iter().map(|f| (f.name.to_string(), self.node(&f.node))).collect();
        if !properties.is_empty() {
            out.insert("properties".into(), Value::Object(properties));
        }
        if !ty.gvks.is_empty() {
            let kinds: Vec<Value> = ty.gvks.iter().map(|g| json!({"group": g.group, "kind": g.kind, "version": g.version})).collect();
            out.insert("x-kubernetes-group-version-kind".into(), json!(kinds));
        }
        if ty.map_type == Some(MapType::Atomic) {
            out.insert("x-kubernetes-map-type".into(), json!("atomic"));
        }
        if let Some(unions) = &ty.unions {
            out.insert("x-kubernetes-unions".into(), unions.clone());
        }
        Value::Object(out)
    }

    fn node(&mut self, node: &Node) -> Value {
        let facts = node.facts();
        let mut out = match self.shape(&node.shape) {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let mut extra = facts_of(facts);
        // In v3 nothing may stand beside a reference, so it moves into an `allOf`.
        if self.dialect == Dialect::V3 && out.contains_key("$ref") && !extra.is_empty() {
            extra.insert("allOf".into(), json!([Value::Object(out)]));
            return Value::Object(extra);
        }
        out.append(&mut extra);
        Value::Object(out)
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        let named = |package: &str, name: &str| format!("{package}.{name}");
        match shape {
            Shape::String | Shape::Duration => json!({"type": "string"}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Int32 => json!({"type": "integer", "format": "int32"}),
            Shape::Int64 => json!({"type": "integer", "format": "int64"}),
            Shape::Double => json!({"type": "number", "format": "double"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Time => self.reference(&named(META, "Time")),
            Shape::MicroTime => self.reference(&named(META, "MicroTime")),
            Shape::FieldsV1 => self.reference(&named(META, "FieldsV1")),
            Shape::Quantity => self.reference("io.k8s.apimachinery.pkg.api.resource.Quantity"),
            Shape::IntOrString => self.reference("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
            Shape::RawExtension => self.reference("io.k8s.apimachinery.pkg.runtime.RawExtension"),
            Shape::Json => self.reference(&named(EXTENSIONS, "JSON")),
            Shape::SchemaOrArray => self.reference(&named(EXTENSIONS, "JSONSchemaPropsOrArray")),
            Shape::SchemaOrBool => self.reference(&named(EXTENSIONS, "JSONSchemaPropsOrBool")),
            Shape::SchemaOrStrings => self.reference(&named(EXTENSIONS, "JSONSchemaPropsOrStringArray")),
            Shape::Any => json!({}),
            Shape::List(node) => json!({"type": "array", "items": self.node(node)}),
            Shape::Map(node) => json!({"type": "object", "additionalProperties": self.node(node)}),
            Shape::Object(link) => {
                let name = link.name.to_string();
                self.reference(&name)
            }
        }
    }
}

/// Types that JSON writes as a single value.
fn scalar(name: &str, dialect: Dialect) -> Option<Value> {
    let package = name.rsplit_once('.').map_or("", |p| p.0);
    let short = name.rsplit('.').next().unwrap_or_default();
    Some(match (short, dialect) {
        ("Time" | "MicroTime", _) if package == META => json!({"type": "string", "format": "date-time"}),
        ("Duration", _) if package == META => json!({"type": "string"}),
        ("FieldsV1", _) if package == META => json!({"type": "object"}),
        ("RawExtension", _) => json!({"type": "object"}),
        ("Quantity", Dialect::V2) => json!({"type": "string"}),
        ("Quantity", Dialect::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("IntOrString", Dialect::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("IntOrString", Dialect::V3) => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ("JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray", _) if package == EXTENSIONS => {
            json!({})
        }
        _ => return None,
    })
}

fn facts_of(facts: &Facts) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    if let Some(default) = &facts.default {
        put("default", default.clone());
    }
    if !facts.enum_values.is_empty() {
        put("enum", json!(facts.enum_values));
    }
    if let Some(list) = facts.list_type {
        let word = match list {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        put("x-kubernetes-list-type", json!(word));
    }
    if !facts.list_map_keys.is_empty() {
        put("x-kubernetes-list-map-keys", json!(facts.list_map_keys));
    }
    if let Some(map) = facts.map_type {
        put("x-kubernetes-map-type", json!(if map == MapType::Atomic { "atomic" } else { "granular" }));
    }
    let strategy = facts.patch_strategy;
    let words = [("merge", strategy.merge), ("retainKeys", strategy.retain_keys), ("replace", strategy.replace)];
    let words: Vec<&str> = words.iter().filter(|(_, on)| *on).map(|(word, _)| *word).collect();
    if !words.is_empty() {
        put("x-kubernetes-patch-strategy", json!(words.join(",")));
    }
    if let Some(key) = &facts.patch_merge_key {
        put("x-kubernetes-patch-merge-key", json!(key));
    }
    out
}
