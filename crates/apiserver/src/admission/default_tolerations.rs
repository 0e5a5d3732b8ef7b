//! DefaultTolerationSeconds: a pod survives five minutes of an unreachable or unready node, unless it says otherwise.

use api::ApiError;
use serde_json::{Value, json};

use super::{Operation, Plugin, Review};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u32 = 300;

pub(super) struct DefaultTolerationSeconds;

#[async_trait::async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, review: &Review<'_>, pod: &mut Value) -> Result<(), ApiError> {
        if !matches!(review.operation, Operation::Create | Operation::Update) || !review.is_about("", "pods") {
            return Ok(());
        }
        let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let present = spec.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
        let missing: Vec<Value> = TAINTS.iter().filter(|t| !present.iter().any(|p| tolerates(p, t))).map(|t| toleration(t)).collect();
        if !missing.is_empty() {
            let all: Vec<Value> = present.into_iter().chain(missing).collect();
            spec.insert("tolerations".to_owned(), Value::Array(all));
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    let key = text("key");
    (key.is_empty() || key == taint) && matches!(text("effect"), "" | "NoExecute")
}

fn toleration(taint: &str) -> Value {
    json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
}
