//! `pods/eviction`: a deletion that asks the disruption budgets first.

use api::error::Cause;
use api::meta::Gvk;
use api::selector::LabelSelector;
use api::{ApiError, meta};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Expect;

use crate::body::Body;
use crate::call::Call;
use crate::model;
use crate::negotiate::Encoding;
use crate::registry::fields::timestamp;
use crate::registry::write::{self, Written};
use crate::registry::{self, delete, read_body, update};
use crate::request::{DeleteOptions, DryRun, RequestInfo, WriteOptions};
use crate::respond;
use crate::strategy::Upsert;

/// How often a budget is tried again when it changes meanwhile.
const ATTEMPTS: usize = 20;
/// How many evictions may be under way of one budget before its controller has seen them.
const MOST_DISRUPTED: usize = 2000;
/// When a refused client shall come back, in seconds.
const RETRY: u32 = 10;

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let bytes = read_body(call, body).await?;
    let kind = Gvk::new("policy", "v1", "Eviction");
    let eviction = model::decode(&bytes, Encoding::of_request(&call.headers)?, &kind, options.field_validation)?.object;
    if meta::name(&eviction) != call.info.name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut deletion = DeleteOptions::parse(Some(eviction.get("deleteOptions").unwrap_or(&json!({}))), &call.query)?;
    if options.dry_run == DryRun::All {
        deletion.dry_run = DryRun::All;
    }
    let pod = delete::require(call)?.tree();
    if !finished_or_going(&pod)
        && let Some(pinned) = budget(call, &pod, deletion.dry_run).await?
        && deletion.resource_version.is_none()
    {
        deletion.resource_version = Some(pinned);
    }
    evict(call, &deletion).await?;
    respond::tree(
        call,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        StatusCode::CREATED,
    )
}

/// Such pods no longer count for any budget.
fn finished_or_going(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::deletion_timestamp(pod).is_some()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|c| c.get("type").is_some_and(|t| t == "Ready") && c.get("status").is_some_and(|s| s == "True"))
}

/// Takes one disruption from the pod's budget. The answer is the pod's revision if the deletion must hold on to it.
async fn budget(call: &Call, pod: &Value, dry_run: DryRun) -> Result<Option<String>, ApiError> {
    let all = call.server.all("policy", "poddisruptionbudgets", &call.info.namespace);
    let matching: Vec<_> = all.into_iter().filter(|b| selects(&b.tree(), pod)).collect();
    let several = matching.len() > 1;
    let Some(found) = matching.into_iter().next() else { return Ok(None) };
    if several {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(ApiError::new(500, api::Reason::InternalError, message));
    }
    let tree = found.tree();
    let number = |p: &str| tree.pointer(p).and_then(Value::as_i64).unwrap_or(0);
    if !is_ready(pod) {
        let always = tree.pointer("/spec/unhealthyPodEvictionPolicy").is_some_and(|p| p == "AlwaysAllow");
        let healthy_enough = number("/status/currentHealthy") >= number("/status/desiredHealthy") && number("/status/desiredHealthy") > 0;
        if always || healthy_enough {
            return Ok(Some(meta::resource_version(pod).to_owned()));
        }
    }
    let resource = call.server.catalog.get("policy", "v1", "poddisruptionbudgets").ok_or_else(ApiError::no_such_path)?;
    let info = RequestInfo { name: found.name().to_owned(), subresource: "status".to_owned(), ..call.info.clone() };
    let budgets = call.about(resource, info);
    let mut present = Some(found);
    for _ in 0..ATTEMPTS {
        let Some(existing) = present else { return Ok(None) };
        let tree = decremented(&budgets, existing.tree(), &call.info.name)?;
        if dry_run == DryRun::All {
            return Ok(None);
        }
        match write::put(&budgets, existing.key(), tree, Expect::Modified(existing.revision())).await? {
            Written::Done(_) => return Ok(None),
            Written::Lost(newer) => present = newer,
        }
    }
    Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", None))
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let Some(selector) = budget.pointer("/spec/selector") else { return false };
    LabelSelector::from_object(selector).is_ok_and(|s| s.matches(|key| meta::label(pod, key)))
}

fn refused(message: &str, cause: Option<String>) -> ApiError {
    let error = ApiError::too_many_requests(message, if cause.is_none() { RETRY } else { 0 });
    match cause {
        Some(message) => error.with_cause(Cause { reason: "DisruptionBudget".to_owned(), message, field: String::new() }),
        None => error,
    }
}

fn decremented(call: &Call, mut budget: Value, pod: &str) -> Result<Value, ApiError> {
    const MESSAGE: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
    let name = meta::name(&budget).to_owned();
    let number = |p: &str| budget.pointer(p).and_then(Value::as_i64).unwrap_or(0);
    if number("/status/observedGeneration") < meta::generation(&budget) {
        let cause = Cause {
            reason: "DisruptionBudget".to_owned(),
            message: format!("The disruption budget {name} is still being processed by the server."),
            field: String::new(),
        };
        return Err(ApiError::too_many_requests(MESSAGE, RETRY).with_cause(cause));
    }
    let allowed = number("/status/disruptionsAllowed");
    if allowed < 0 {
        return Err(ApiError::forbidden("policy", "poddisruptionbudget", &name, "pdb disruptions allowed is negative"));
    }
    if budget.pointer("/status/disruptedPods").and_then(Value::as_object).is_some_and(|d| d.len() > MOST_DISRUPTED) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(ApiError::forbidden("policy", "poddisruptionbudget", &name, why));
    }
    if allowed == 0 {
        let (needed, healthy) = (number("/status/desiredHealthy"), number("/status/currentHealthy"));
        return Err(refused(
            MESSAGE,
            Some(format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently")),
        ));
    }
    if let Some(status) = budget.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("disruptionsAllowed".to_owned(), json!(allowed.saturating_sub(1)));
        if let Some(pods) = status.entry("disruptedPods").or_insert_with(|| json!({})).as_object_mut() {
            pods.insert(pod.to_owned(), json!(timestamp(call.server.clock.now())));
        }
    }
    Ok(budget)
}

/// Tells why the pod goes, and deletes it.
async fn evict(call: &Call, options: &DeleteOptions) -> Result<(), ApiError> {
    let mut options = options.clone();
    if options.dry_run == DryRun::No {
        let now = timestamp(call.server.clock.now());
        let info = RequestInfo { subresource: "status".to_owned(), verb: "patch".to_owned(), ..call.info.clone() };
        let status = call.about(call.resource.clone(), info);
        let pinned = options.resource_version.clone();
        let change = move |pod: Option<&Value>| {
            let mut pod = pod.cloned().ok_or_else(|| registry::not_found(call))?;
            if pinned.as_deref().is_some_and(|v| v != meta::resource_version(&pod)) {
                return Err(refused("Cannot evict pod as it would violate the pod's disruption budget.", None));
            }
            disruption(&mut pod, &now);
            Ok(pod)
        };
        let (made, _) = update::change(&status, &WriteOptions::default(), Upsert::Refused, Box::new(change)).await?;
        if options.resource_version.is_some() {
            options.resource_version = Some(meta::resource_version(&made.tree(call)).to_owned());
        }
    }
    delete::delete(call, &call.info.name, &options).await.map(|_| ())
}

fn disruption(pod: &mut Value, now: &str) {
    let generation = meta::generation(pod);
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
        conditions.retain(|c| c.get("type").is_none_or(|t| t != "DisruptionTarget"));
        conditions.push(json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
            "lastProbeTime": null, "lastTransitionTime": now, "observedGeneration": generation,
        }));
    }
}
