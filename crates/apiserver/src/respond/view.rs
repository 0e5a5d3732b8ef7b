//! Objects and lists in the view and encoding that the client wants, without parsing what is already bytes.

use std::sync::Arc;

use api::ApiError;
use api::meta::Gvk;
use api::table::{Headers, IncludeObject, Printer};
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Made, wire};
use crate::call::Call;
use crate::model;
use crate::negotiate::{Encoding, View, not_acceptable};
use crate::object::Object;

/// The group and version of views.
pub const META_V1: &str = "meta.k8s.io/v1";

/// The JSON of a stored object in the version that is served.
pub fn served_json<'a>(call: &Call, object: &'a Object) -> &'a Bytes {
    match &call.resource.stored {
        None => object.json(),
        Some(_) => object.json_in_other_version(|tree| call.resource.to_served(tree)),
    }
}

/// The `k8s\0` body of a stored object in the version that is served.
pub fn served_protobuf<'a>(call: &Call, object: &'a Object) -> Result<&'a Bytes, ApiError> {
    let gvk = call.resource.gvk();
    if !api::protobuf::supports(&gvk) {
        return Err(not_acceptable());
    }
    let make = || model::protobuf(&gvk, &call.resource.to_served(object.tree())).unwrap_or_default();
    Ok(object.protobuf(call.resource.stored.is_some(), make))
}

/// One object.
pub fn single(call: &Call, made: &Made) -> Result<Bytes, ApiError> {
    match call.accept.view {
        View::Object => {}
        View::Table => {
            let metadata = match made {
                Made::Stored(object) => json!({"resourceVersion": object.revision().0.to_string()}),
                Made::Tree(_) => json!({}),
            };
            return wire::encode(&rows(call, std::slice::from_ref(made), metadata, Headers::Shown)?, call.accept);
        }
        View::Metadata => return wire::encode(&partial(&made.tree(call)), call.accept),
    }
    match made {
        Made::Tree(tree) => wire::encode(tree, call.accept),
        Made::Stored(object) => match call.accept.encoding {
            Encoding::Json if !call.accept.pretty => Ok(served_json(call, object).clone()),
            Encoding::Json | Encoding::Yaml => wire::encode(&made.tree(call), call.accept),
            Encoding::Protobuf => served_protobuf(call, object).cloned(),
        },
    }
}

/// A list of objects with its metadata, as pieces.
pub fn list(call: &Call, objects: &[Arc<Object>], metadata: Value) -> Result<Vec<Bytes>, ApiError> {
    match (call.accept.view, call.accept.encoding) {
        (View::Table, _) => {
            let made: Vec<Made> = objects.iter().map(|o| Made::Stored(o.clone())).collect();
            Ok(vec![wire::encode(&rows(call, &made, metadata, Headers::Shown)?, call.accept)?])
        }
        (View::Metadata, Encoding::Json) if !call.accept.pretty => Ok(metadata_list(call, objects, &metadata)),
        (View::Metadata, _) => {
            let items: Vec<Value> = objects.iter().map(|o| partial(&o.tree())).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": META_V1, "metadata": metadata, "items": items});
            Ok(vec![wire::encode(&list, call.accept)?])
        }
        (View::Object, Encoding::Json) if !call.accept.pretty => Ok(json_list(call, objects, &metadata)),
        (View::Object, Encoding::Json | Encoding::Yaml) => {
            let items: Vec<Value> = objects.iter().map(|o| call.resource.to_served(o.tree())).collect();
            let gvk = call.resource.gvk();
            let list = json!({"kind": list_kind(&gvk), "apiVersion": gvk.api_version(), "metadata": metadata, "items": items});
            Ok(vec![wire::encode(&list, call.accept)?])
        }
        (View::Object, Encoding::Protobuf) => protobuf_list(call, objects, &metadata),
    }
}

/// The kind of a list of such objects.
pub fn list_kind(gvk: &Gvk) -> String {
    format!("{}List", gvk.kind)
}

fn json_list(call: &Call, objects: &[Arc<Object>], metadata: &Value) -> Vec<Bytes> {
    let gvk = call.resource.gvk();
    let head = format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[", list_kind(&gvk), gvk.api_version());
    let mut pieces = Vec::with_capacity(objects.len().saturating_mul(2).saturating_add(2));
    pieces.push(Bytes::from(head));
    for (i, object) in objects.iter().enumerate() {
        let json = served_json(call, object);
        // Items of built-in kinds carry no apiVersion and kind, as Go's typed lists do not.
        pieces.push(Bytes::from_static(if i == 0 { b"{" } else { b",{" }));
        pieces.push(json.slice(json.len().saturating_sub(object_tail(json).len())..));
    }
    pieces.push(Bytes::from_static(b"]}\n"));
    pieces
}

/// Everything from `"metadata"` on; the canonical encoding puts only apiVersion and kind before it.
fn object_tail(json: &[u8]) -> &[u8] {
    const START: &[u8] = b"\"metadata\":{";
    let at = json.windows(START.len()).position(|w| w == START).unwrap_or(1);
    json.get(at..).unwrap_or_default()
}

#[derive(serde::Deserialize)]
struct OnlyMetadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// `PartialObjectMetadata` of an encoded object, found without building a tree.
pub fn partial_json(json: &[u8]) -> Bytes {
    let metadata = serde_json::from_slice::<OnlyMetadata<'_>>(json).map(|o| o.metadata.get()).unwrap_or("{}");
    Bytes::from(format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{META_V1}\",\"metadata\":{metadata}}}"))
}

fn metadata_list(call: &Call, objects: &[Arc<Object>], metadata: &Value) -> Vec<Bytes> {
    let head = format!("{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"{META_V1}\",\"metadata\":{metadata},\"items\":[");
    let mut pieces = vec![Bytes::from(head)];
    for (i, object) in objects.iter().enumerate() {
        if i > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(partial_json(served_json(call, object)));
    }
    pieces.push(Bytes::from_static(b"]}\n"));
    pieces
}

/// `PartialObjectMetadata` of a tree.
pub fn partial(tree: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": META_V1, "metadata": tree.get("metadata").cloned().unwrap_or_default()})
}

/// Every built-in list has its metadata in field 1 and its items in field 2.
fn protobuf_list(call: &Call, objects: &[Arc<Object>], metadata: &Value) -> Result<Vec<Bytes>, ApiError> {
    let gvk = call.resource.gvk();
    let list = Gvk::new(&gvk.group, &gvk.version, &list_kind(&gvk));
    let empty = json!({"metadata": metadata, "items": []});
    let head = model::protobuf(&list, &empty).and_then(|b| model::message_in(&b)).ok_or_else(not_acceptable)?;
    let mut message = BytesMut::from(&head[..]);
    for object in objects {
        let item = model::message_in(served_protobuf(call, object)?).ok_or_else(not_acceptable)?;
        model::delimited(&mut message, 2, &item);
    }
    Ok(vec![model::envelope(&list, &message)])
}

/// A `Table` of objects; `headers` says whether it names its columns.
pub fn rows(call: &Call, made: &[Made], metadata: Value, headers: Headers) -> Result<Value, ApiError> {
    let include = match call.query.text("includeObject") {
        None | Some("Metadata") => IncludeObject::Metadata,
        Some("None") => IncludeObject::None,
        Some("Object") => IncludeObject::Object,
        Some(other) => {
            let path = api::field::Path::new("includeObject");
            let error = api::field::Error::not_supported(&path, other, &["Metadata", "None", "Object"]);
            return Err(ApiError::invalid("meta.k8s.io", "TableOptions", "", &[error]));
        }
    };
    let now = call.server.clock.now();
    let printer = Printer::of(&call.resource.descriptor);
    let rows = made.iter().map(|m| printer.row(&m.tree(call), include, now)).collect();
    Ok(printer.table(rows, metadata, headers))
}
