//! `pods/binding`: the scheduler's word.

use api::meta::Gvk;
use api::{ApiError, field, meta};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Expect;

use crate::body::Body;
use crate::call::Call;
use crate::model;
use crate::negotiate::Encoding;
use crate::registry::fields::timestamp;
use crate::registry::write::{self, Written};
use crate::registry::{self, read_body};
use crate::request::{DryRun, RequestInfo, WriteOptions};
use crate::respond;

/// How often the binding is tried again when the pod changes meanwhile.
const ATTEMPTS: usize = 10;

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = read_body(call, body).await?;
    let kind = Gvk::new("", "v1", "Binding");
    let binding = model::decode(&bytes, Encoding::of_request(&call.headers)?, &kind, options.field_validation)?.object;
    let name = meta::name(&binding).to_owned();
    if !call.info.name.is_empty() && name != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Binding object"));
    }
    check(&binding, &name)?;
    let pods = call.server.catalog.get("", "v1", "pods").ok_or_else(ApiError::no_such_path)?;
    let info = RequestInfo { resource: "pods".to_owned(), name: name.clone(), ..call.info.clone() };
    bind(&call.about(pods, info), &binding, options.dry_run).await?;
    respond::tree(
        call,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        StatusCode::CREATED,
    )
}

fn check(binding: &Value, name: &str) -> Result<(), ApiError> {
    let path = field::Path::new("target");
    let text = |key: &str| binding.pointer(&format!("/target/{key}")).and_then(Value::as_str).unwrap_or_default();
    let mut errors = field::ErrorList::new();
    if !matches!(text("kind"), "" | "Node") {
        errors.push(field::Error::not_supported(&path.child("kind"), text("kind"), &["Node", "<empty>"]));
    }
    if text("name").is_empty() {
        errors.push(field::Error::required(&path.child("name"), ""));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "Binding", name, &errors)) }
}

async fn bind(call: &Call, binding: &Value, dry_run: DryRun) -> Result<(), ApiError> {
    let name = call.info.name.as_str();
    let conflict = |why: String| ApiError::conflict("", "pods/binding", name, &why);
    let mut present = registry::cached(call, &call.key());
    for _ in 0..ATTEMPTS {
        let Some(existing) = present else { return Err(registry::not_found(call)) };
        let mut pod = existing.tree();
        let text = |p: &str| binding.pointer(p).and_then(Value::as_str).unwrap_or_default();
        let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
        if !uid.is_empty() && uid != meta::uid(&pod) {
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", meta::uid(&pod));
            return Err(ApiError::conflict("", "pods", name, &why));
        }
        if !version.is_empty() && version != meta::resource_version(&pod) {
            return Err(ApiError::modified("", "pods", name));
        }
        if meta::deletion_timestamp(&pod).is_some() {
            return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
        }
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if !node.is_empty() {
            return Err(conflict(format!("pod {name} is already assigned to node {node:?}")));
        }
        if pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty()) {
            return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
        }
        assign(&mut pod, binding, &timestamp(call.server.clock.now()));
        if dry_run == DryRun::All {
            return Ok(());
        }
        match write::put(call, existing.key(), pod, Expect::Modified(existing.revision())).await? {
            Written::Done(_) => return Ok(()),
            Written::Lost(newer) => present = newer,
        }
    }
    Err(ApiError::modified("", "pods", name))
}

fn assign(pod: &mut Value, binding: &Value, now: &str) {
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".to_owned(), binding.pointer("/target/name").cloned().unwrap_or_default());
    }
    for key in ["annotations", "labels"] {
        let given = binding.pointer(&format!("/metadata/{key}")).and_then(Value::as_object).filter(|m| !m.is_empty());
        if let (Some(given), Some(metadata)) = (given, meta::metadata_mut(pod))
            && let Some(own) = metadata.entry(key).or_insert_with(|| json!({})).as_object_mut()
        {
            own.extend(given.clone());
        }
    }
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else { return };
    status.remove("nominatedNodeName");
    if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
        let before = conditions.iter().find(|c| c.get("type").is_some_and(|t| t == "PodScheduled")).cloned();
        let since = before.filter(|c| c.get("status").is_some_and(|s| s == "True")).and_then(|c| c.get("lastTransitionTime").cloned());
        conditions.retain(|c| c.get("type").is_none_or(|t| t != "PodScheduled"));
        conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": since.unwrap_or_else(|| json!(now))}));
    }
}
