//! The v2 document as the protobuf message `openapi.v2.Document`, which kubectl asks for first.
//!
//! Source of names and numbers: `openapiv2/OpenAPIv2.proto` of google/gnostic. Only what this server's documents and
//! structural schemas of custom resources can hold is listed; other members are left out, as Kubernetes leaves them out.

use serde_json::Value;

use crate::protobuf::wire::Writer;

/// The media type as clients ask for it.
pub const ACCEPTED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The media type as it is answered.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How a JSON value stands on the wire.
enum Shape {
    Text,
    Flag,
    Whole,
    Real,
    /// `Any`: the value as YAML, of which JSON is a part, in field 2.
    Any,
    /// A field that is repeated; a single value counts as a list of one.
    Each(&'static Shape),
    Record(&'static Record),
    /// A message that holds only this, in the field of this number.
    Inside(u32, &'static Shape),
    /// A message of named values: a repeated field of (1: name, 2: value).
    Entries(u32, &'static Shape),
    /// A message that is one of several.
    Choice(fn(&Value) -> &'static Shape),
}

/// A message: members by name, extensions (`x-…`), and all other names.
struct Record {
    fields: &'static [(&'static str, u32, Shape)],
    extensions: Option<u32>,
    others: Option<(u32, Shape)>,
}

impl Record {
    const fn new(fields: &'static [(&'static str, u32, Shape)], extensions: u32) -> Self {
        Self { fields, extensions: Some(extensions), others: None }
    }
}

static TEXT: Shape = Shape::Text;
static FLAG: Shape = Shape::Flag;
static ANY: Shape = Shape::Any;
const TEXTS: Shape = Shape::Each(&TEXT);

static DOCUMENT: Shape = Shape::Record(&Record::new(
    &[
        ("swagger", 1, Shape::Text),
        ("info", 2, Shape::Record(&INFO)),
        ("host", 3, Shape::Text),
        ("basePath", 4, Shape::Text),
        ("schemes", 5, TEXTS),
        ("consumes", 6, TEXTS),
        ("produces", 7, TEXTS),
        ("paths", 8, Shape::Record(&PATHS)),
        ("definitions", 9, Shape::Entries(1, &SCHEMA)),
        ("security", 12, Shape::Each(&REQUIREMENT)),
        ("securityDefinitions", 13, Shape::Entries(1, &SECURITY)),
    ],
    16,
));

static INFO: Record = Record::new(&[("title", 1, Shape::Text), ("version", 2, Shape::Text), ("description", 3, Shape::Text)], 7);

static REQUIREMENT: Shape = Shape::Entries(1, &SCOPES);
static SCOPES: Shape = Shape::Inside(1, &SCOPE_LIST);
static SCOPE_LIST: Shape = TEXTS;

// Of the six kinds of security definitions (`SecurityDefinitionsItem`), the server names API keys only.
static SECURITY: Shape = Shape::Inside(2, &API_KEY);
static API_KEY: Shape = Shape::Record(&Record::new(
    &[("type", 1, Shape::Text), ("name", 2, Shape::Text), ("in", 3, Shape::Text), ("description", 4, Shape::Text)],
    5,
));

static PATHS: Record = Record { fields: &[], extensions: Some(1), others: Some((2, Shape::Record(&PATH))) };

static PATH: Record = Record::new(
    &[
        ("$ref", 1, Shape::Text),
        ("get", 2, Shape::Record(&OPERATION)),
        ("put", 3, Shape::Record(&OPERATION)),
        ("post", 4, Shape::Record(&OPERATION)),
        ("delete", 5, Shape::Record(&OPERATION)),
        ("options", 6, Shape::Record(&OPERATION)),
        ("head", 7, Shape::Record(&OPERATION)),
        ("patch", 8, Shape::Record(&OPERATION)),
        ("parameters", 9, Shape::Each(&PARAMETER)),
    ],
    10,
);

static OPERATION: Record = Record::new(
    &[
        ("tags", 1, TEXTS),
        ("summary", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("operationId", 5, Shape::Text),
        ("produces", 6, TEXTS),
        ("consumes", 7, TEXTS),
        ("parameters", 8, Shape::Each(&PARAMETER)),
        ("responses", 9, Shape::Record(&RESPONSES)),
        ("schemes", 10, TEXTS),
        ("deprecated", 11, Shape::Flag),
        ("security", 12, Shape::Each(&REQUIREMENT)),
    ],
    13,
);

static PARAMETER: Shape = Shape::Choice(|v| if v.get("$ref").is_some() { &REFERENCE } else { &PARAMETER_ITEM });
static PARAMETER_ITEM: Shape = Shape::Inside(1, &PARAMETER_KIND);
static PARAMETER_KIND: Shape = Shape::Choice(|v| if v.get("in").is_some_and(|i| i == "body") { &BODY_PARAMETER } else { &PLAIN_PARAMETER });
static BODY_PARAMETER: Shape = Shape::Inside(1, &BODY);
static BODY: Shape = Shape::Record(&Record::new(
    &[
        ("description", 1, Shape::Text),
        ("name", 2, Shape::Text),
        ("in", 3, Shape::Text),
        ("required", 4, Shape::Flag),
        ("schema", 5, Shape::Record(&SCHEMA_RECORD)),
    ],
    6,
));
static PLAIN_PARAMETER: Shape = Shape::Inside(2, &PLAIN_KIND);
static PLAIN_KIND: Shape = Shape::Choice(|v| match v.get("in").and_then(Value::as_str) {
    Some("header") => &HEADER,
    Some("path") => &IN_PATH,
    _ => &QUERY,
});
// Parameters of headers and paths have the same members; those of queries may also be empty, which moves the numbers.
static HEADER: Shape = Shape::Inside(1, &NAMED);
static IN_PATH: Shape = Shape::Inside(4, &NAMED);
static NAMED: Shape = Shape::Record(&Record::new(
    &[
        ("required", 1, Shape::Flag),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("type", 5, Shape::Text),
        ("format", 6, Shape::Text),
        ("uniqueItems", 18, Shape::Flag),
    ],
    22,
));
static QUERY: Shape = Shape::Inside(3, &IN_QUERY);
static IN_QUERY: Shape = Shape::Record(&Record::new(
    &[
        ("required", 1, Shape::Flag),
        ("in", 2, Shape::Text),
        ("description", 3, Shape::Text),
        ("name", 4, Shape::Text),
        ("allowEmptyValue", 5, Shape::Flag),
        ("type", 6, Shape::Text),
        ("format", 7, Shape::Text),
        ("uniqueItems", 20, Shape::Flag),
    ],
    23,
));

static RESPONSES: Record = Record { fields: &[], extensions: Some(2), others: Some((1, Shape::Choice(response))) };
fn response(v: &Value) -> &'static Shape {
    if v.get("$ref").is_some() { &REFERENCE } else { &RESPONSE }
}
static RESPONSE: Shape = Shape::Inside(1, &RESPONSE_BODY);
static RESPONSE_BODY: Shape = Shape::Record(&Record::new(&[("description", 1, Shape::Text), ("schema", 2, Shape::Inside(1, &SCHEMA))], 5));
// Parameters and responses alike have references in field 2.
static REFERENCE: Shape = Shape::Inside(2, &REFERENCE_BODY);
static REFERENCE_BODY: Shape =
    Shape::Record(&Record { fields: &[("$ref", 1, Shape::Text), ("description", 2, Shape::Text)], extensions: None, others: None });

static SCHEMA: Shape = Shape::Record(&SCHEMA_RECORD);
static SCHEMA_RECORD: Record = Record::new(
    &[
        ("$ref", 1, Shape::Text),
        ("format", 2, Shape::Text),
        ("title", 3, Shape::Text),
        ("description", 4, Shape::Text),
        ("default", 5, Shape::Any),
        ("multipleOf", 6, Shape::Real),
        ("maximum", 7, Shape::Real),
        ("exclusiveMaximum", 8, Shape::Flag),
        ("minimum", 9, Shape::Real),
        ("exclusiveMinimum", 10, Shape::Flag),
        ("maxLength", 11, Shape::Whole),
        ("minLength", 12, Shape::Whole),
        ("pattern", 13, Shape::Text),
        ("maxItems", 14, Shape::Whole),
        ("minItems", 15, Shape::Whole),
        ("uniqueItems", 16, Shape::Flag),
        ("maxProperties", 17, Shape::Whole),
        ("minProperties", 18, Shape::Whole),
        ("required", 19, TEXTS),
        ("enum", 20, Shape::Each(&ANY)),
        ("additionalProperties", 21, Shape::Choice(|v| if v.is_boolean() { &OPEN } else { &TYPED })),
        ("type", 22, Shape::Inside(1, &SCOPE_LIST)),
        ("items", 23, Shape::Inside(1, &SCHEMA)),
        ("allOf", 24, Shape::Each(&SCHEMA)),
        ("properties", 25, Shape::Entries(1, &SCHEMA)),
        ("discriminator", 26, Shape::Text),
        ("readOnly", 27, Shape::Flag),
        ("example", 30, Shape::Any),
    ],
    31,
);
static TYPED: Shape = Shape::Inside(1, &SCHEMA);
static OPEN: Shape = Shape::Inside(2, &FLAG);

/// The v2 document (as [`super::v2_document`] makes it) as protobuf, without any envelope.
pub fn encode(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

/// Writes one member; a value of another JSON type than its shape's is left out.
fn member(out: &mut Writer, tag: u32, shape: &Shape, value: &Value) {
    match shape {
        Shape::Text => value.as_str().into_iter().for_each(|text| out.bytes(tag, text.as_bytes())),
        Shape::Flag => value.as_bool().into_iter().for_each(|flag| out.varint(tag, u64::from(flag))),
        Shape::Whole => value.as_i64().into_iter().for_each(|n| out.int(tag, n)),
        Shape::Real => value.as_f64().into_iter().for_each(|n| out.fixed64(tag, n.to_bits())),
        Shape::Each(shape) => match value {
            Value::Array(list) => list.iter().for_each(|v| member(out, tag, shape, v)),
            one => member(out, tag, shape, one),
        },
        _ => out.bytes(tag, &message(shape, value)),
    }
}

fn message(shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    match shape {
        Shape::Any => out.bytes(2, value.to_string().as_bytes()),
        Shape::Inside(tag, shape) => member(&mut out, *tag, shape, value),
        Shape::Choice(of) => return message(of(value), value),
        Shape::Entries(tag, shape) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                out.bytes(*tag, &named(name, shape, value));
            }
        }
        Shape::Record(record) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                entry(&mut out, record, name, value);
            }
        }
        Shape::Text | Shape::Flag | Shape::Whole | Shape::Real | Shape::Each(_) => {}
    }
    out.finish()
}

fn entry(out: &mut Writer, record: &Record, name: &str, value: &Value) {
    let known = record.fields.iter().find(|(field, ..)| *field == name);
    match (known, record.extensions, &record.others) {
        (Some((_, tag, shape)), ..) => member(out, *tag, shape, value),
        (None, Some(tag), _) if name.starts_with("x-") => out.bytes(tag, &named(name, &ANY, value)),
        (None, _, Some((tag, shape))) => out.bytes(*tag, &named(name, shape, value)),
        _ => {}
    }
}

fn named(name: &str, shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(1, name.as_bytes());
    member(&mut out, 2, shape, value);
    out.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::served;
    use super::*;
    use crate::protobuf::wire::{Reader, WireValue};

    /// All length-delimited fields of this number.
    fn all(bytes: &[u8], tag: u32) -> Vec<&[u8]> {
        let mut reader = Reader::new(bytes);
        let mut out = Vec::new();
        while let Some((found, value)) = reader.next().unwrap() {
            if let (true, WireValue::Bytes(b)) = (found == tag, value) {
                out.push(b);
            }
        }
        out
    }

    fn one(bytes: &[u8], tag: u32) -> &[u8] {
        all(bytes, tag).first().copied().unwrap_or_default()
    }

    fn entry_of<'a>(bytes: &'a [u8], tag: u32, name: &str) -> &'a [u8] {
        all(bytes, tag).into_iter().find(|e| one(e, 1) == name.as_bytes()).map(|e| one(e, 2)).unwrap_or_default()
    }

    #[test]
    fn kubectl_finds_kinds_and_their_fields() {
        let document = super::super::v2_document(&served(), "v1.36.2");
        let bytes = encode(&document);
        assert_eq!(one(&bytes, 1), b"2.0");
        let definitions = one(&bytes, 9);
        assert_eq!(all(definitions, 1).len(), document["definitions"].as_object().unwrap().len());
        let pod = entry_of(definitions, 1, "io.k8s.api.core.v1.Pod");
        let kind: Value = serde_json::from_slice(one(entry_of(pod, 31, "x-kubernetes-group-version-kind"), 2)).unwrap();
        assert_eq!(kind, json!([{"group": "", "kind": "Pod", "version": "v1"}]));
        assert_eq!(one(one(pod, 22), 1), b"object");
        assert!(!entry_of(one(pod, 25), 1, "spec").is_empty());
        let spec = entry_of(definitions, 1, "io.k8s.api.core.v1.PodSpec");
        let containers = entry_of(one(spec, 25), 1, "containers");
        assert_eq!(one(one(one(containers, 23), 1), 1), b"#/definitions/io.k8s.api.core.v1.Container");
        assert_eq!(one(spec, 19), b"containers");
    }

    #[test]
    fn kubectl_finds_parameters_of_operations() {
        let bytes = encode(&super::super::v2_document(&served(), "v1.36.2"));
        let path = entry_of(one(&bytes, 8), 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
        let patch = one(path, 8);
        assert_eq!(one(patch, 5), b"patchAppsV1NamespacedDeployment");
        let queries: Vec<&[u8]> = all(patch, 8).into_iter().map(|p| one(one(one(one(p, 1), 2), 3), 4)).filter(|n| !n.is_empty()).collect();
        assert!(queries.contains(&b"fieldValidation".as_slice()), "{queries:?}");
        assert!(!one(entry_of(one(patch, 9), 1, "200"), 1).is_empty());
    }

    #[test]
    fn every_member_of_our_documents_has_a_number() {
        fn check(shape: &Shape, value: &Value, missing: &mut Vec<String>) {
            match (shape, value) {
                (Shape::Each(s), Value::Array(list)) => list.iter().for_each(|v| check(s, v, missing)),
                (Shape::Each(s) | Shape::Inside(_, s), v) => check(s, v, missing),
                (Shape::Choice(of), v) => check(of(v), v, missing),
                (Shape::Entries(_, s), Value::Object(map)) => map.values().for_each(|v| check(s, v, missing)),
                (Shape::Record(r), Value::Object(map)) => {
                    for (name, value) in map {
                        match (r.fields.iter().find(|(f, ..)| f == name), &r.others) {
                            (Some((_, _, s)), _) => check(s, value, missing),
                            (None, _) if name.starts_with("x-") && r.extensions.is_some() => {}
                            (None, Some((_, s))) => check(s, value, missing),
                            (None, None) => missing.push(name.clone()),
                        }
                    }
                }
                (Shape::Any, _) | (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => {}
                (Shape::Whole | Shape::Real, Value::Number(_)) => {}
                (_, other) => missing.push(other.to_string()),
            }
        }
        let mut missing = Vec::new();
        check(&DOCUMENT, &super::super::v2_document(&served(), "v1.36.2"), &mut missing);
        missing.sort();
        missing.dedup();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
