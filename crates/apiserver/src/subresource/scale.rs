//! `scale`: how many replicas, whatever the kind.

use api::codec::FieldValidation;
use api::meta::Gvk;
use api::{ApiError, field, meta};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::model;
use crate::negotiate::Encoding;
use crate::registry::patch::{self, Patch, PatchType};
use crate::registry::{self, read_body, update};
use crate::request::WriteOptions;
use crate::respond;
use crate::strategy::Upsert;

fn scale_kind() -> Gvk {
    Gvk::new("autoscaling", "v1", "Scale")
}

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    match call.info.verb.as_str() {
        "get" => {
            call.server.storage.fresh().await.map_err(registry::store_failed)?;
            let found = registry::cached(call, &call.key()).ok_or_else(|| registry::not_found(call))?;
            respond::tree(call, &of(&found.tree()), StatusCode::OK)
        }
        "update" => {
            let options = WriteOptions::parse(&call.query, "UpdateOptions")?;
            let bytes = read_body(call, body).await?;
            let decoded = model::decode(&bytes, Encoding::of_request(&call.headers)?, &scale_kind(), options.field_validation)?;
            decoded.warnings.iter().for_each(|w| call.warn(w.clone()));
            write(call, &options, Box::new(move |_| Ok(decoded.object.clone()))).await
        }
        _ => {
            let kind = PatchType::of(call)?;
            let options = WriteOptions::parse(&call.query, "PatchOptions")?;
            let bytes = read_body(call, body).await?;
            let patch = match kind {
                // Of a scale only one field can be set, so applying it is merging it.
                PatchType::Apply => Patch::merge(api::yaml::parse(&bytes).map_err(|e| ApiError::bad_request(e.to_string()))?.0),
                PatchType::Document(kind) => Patch::parse(kind, &bytes, options.field_validation)?,
            };
            let change = move |present: &Value| {
                let schema = model::schema(&scale_kind());
                let tree = patch.apply(present, schema)?;
                Ok(patch::checked(&tree, schema, FieldValidation::Ignore, "Scale", meta::name(present))?.object)
            };
            write(call, &options, Box::new(change)).await
        }
    }
}

/// Makes the new scale from the present one.
type ScaleChange = Box<dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync>;

async fn write(call: &Call, options: &WriteOptions, change: ScaleChange) -> Result<Response<Body>, ApiError> {
    let change = move |present: Option<&Value>| {
        let present = present.ok_or_else(|| registry::not_found(call))?;
        let scale = change(&of(present))?;
        check(call, &scale)?;
        let mut new = present.clone();
        for key in ["resourceVersion", "uid"] {
            let value = scale.pointer(&format!("/metadata/{key}")).and_then(Value::as_str).unwrap_or_default();
            meta::set(&mut new, key, value);
        }
        if meta::uid(&new).is_empty() {
            meta::set(&mut new, "uid", meta::uid(present));
        }
        if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("replicas".to_owned(), scale.pointer("/spec/replicas").cloned().unwrap_or_else(|| json!(0)));
        }
        Ok(new)
    };
    let outcome = update::change(call, options, Upsert::Refused, Box::new(change)).await?;
    respond::tree(call, &of(&outcome.0.tree(call)), StatusCode::OK)
}

fn check(call: &Call, scale: &Value) -> Result<(), ApiError> {
    let name = meta::name(scale);
    if !name.is_empty() && name != call.info.name {
        let message = format!("the name of the object ({name}) does not match the name on the URL ({})", call.info.name);
        return Err(ApiError::bad_request(message));
    }
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let path = field::Path::new("spec").child("replicas");
        let error = field::Error::invalid(&path, replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", &call.info.name, &[error]));
    }
    Ok(())
}

/// The scale of an object.
fn of(object: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer(&format!("/metadata/{key}")) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let number = |p: &str| object.pointer(p).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    if number("/spec/replicas") != 0 {
        spec.insert("replicas".to_owned(), json!(number("/spec/replicas")));
    }
    let mut status = json!({"replicas": number("/status/replicas")});
    let selector = selector(object.pointer("/spec/selector"));
    if let (false, Some(fields)) = (selector.is_empty(), status.as_object_mut()) {
        fields.insert("selector".to_owned(), json!(selector));
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

/// A label selector as one line, sorted by key.
fn selector(selector: Option<&Value>) -> String {
    let Some(map) = selector.and_then(Value::as_object) else { return String::new() };
    let structured = map.contains_key("matchLabels") || map.contains_key("matchExpressions");
    let equals = if structured { map.get("matchLabels").and_then(Value::as_object) } else { Some(map) };
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in equals.into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    let expressions = map.get("matchExpressions").and_then(Value::as_array).filter(|_| structured);
    for expression in expressions.into_iter().flatten() {
        let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
        let mut values: Vec<&str> =
            expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let list = values.join(",");
        let term = match expression.get("operator").and_then(Value::as_str).unwrap_or_default() {
            "In" => format!("{key} in ({list})"),
            "NotIn" => format!("{key} notin ({list})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort();
    terms.into_iter().map(|(_, t)| t).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_become_lines() {
        let s = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}]});
        assert_eq!(selector(Some(&s)), "a=1,b=2,c in (x,y)");
        assert_eq!(selector(Some(&json!({"app": "web"}))), "app=web");
    }
}
