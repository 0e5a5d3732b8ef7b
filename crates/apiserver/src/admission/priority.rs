//! Priority: a pod's class becomes a number.

use api::{ApiError, meta};
use serde_json::{Value, json};

use super::{Operation, Plugin, Review};

const GROUP: &str = "scheduling.k8s.io";

pub(super) struct Priority;

#[async_trait::async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn mutate(&self, review: &Review<'_>, pod: &mut Value) -> Result<(), ApiError> {
        if review.operation != Operation::Create || !review.is_about("", "pods") {
            return Ok(());
        }
        let class = pod.pointer("/spec/priorityClassName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let found = if class.is_empty() {
            default_class(review)
        } else {
            let Some(found) = review.find(GROUP, "priorityclasses", "", &class) else {
                return Err(review.forbid(meta::name(pod), &format!("no PriorityClass with name {class} was found")));
            };
            Some(found.tree())
        };
        let value = found.as_ref().and_then(|c| c.get("value")?.as_i64()).unwrap_or(0);
        let policy = found.as_ref().and_then(|c| c.get("preemptionPolicy")?.as_str()).unwrap_or("PreemptLowerPriority").to_owned();
        let own = pod.pointer("/spec/priority").and_then(Value::as_i64);
        if own.is_some_and(|own| own != value) {
            let why = format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name",
                own.unwrap_or_default()
            );
            return Err(review.forbid(meta::name(pod), &why));
        }
        let own = pod.pointer("/spec/preemptionPolicy").and_then(Value::as_str).map(str::to_owned);
        if own.as_ref().is_some_and(|own| *own != policy) {
            let why = format!(
                "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name",
                own.unwrap_or_default()
            );
            return Err(review.forbid(meta::name(pod), &why));
        }
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            if class.is_empty()
                && let Some(found) = &found
            {
                spec.insert("priorityClassName".to_owned(), json!(meta::name(found)));
            }
            spec.insert("priority".to_owned(), json!(value));
            spec.insert("preemptionPolicy".to_owned(), json!(policy));
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, class: &Value) -> Result<(), ApiError> {
        let writes = matches!(review.operation, Operation::Create | Operation::Update);
        if !writes || !review.is_about(GROUP, "priorityclasses") || class.get("globalDefault") != Some(&json!(true)) {
            return Ok(());
        }
        match default_class(review) {
            Some(other) if meta::name(&other) != meta::name(class) => {
                let why = format!("PriorityClass {} is already marked as default. Only one default can exist", meta::name(&other));
                Err(review.forbid(meta::name(class), &why))
            }
            _ => Ok(()),
        }
    }
}

/// The class of pods that name none: of several, the least important.
fn default_class(review: &Review<'_>) -> Option<Value> {
    let all = review.call.server.all(GROUP, "priorityclasses", "");
    let defaults = all.iter().map(|o| o.tree()).filter(|c| c.get("globalDefault") == Some(&json!(true)));
    defaults.min_by_key(|c| c.get("value").and_then(Value::as_i64).unwrap_or(0))
}
