//! ServiceAccount: every pod runs as one, and finds its token where clients in pods look for it.

use api::{ApiError, meta};
use serde_json::{Value, json};

use super::{Operation, Plugin, Review};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How long the mounted token lives; the kubelet renews it before. The odd seconds tell it apart from one that was asked for.
const TOKEN_SECONDS: u32 = 3607;

pub(super) struct ServiceAccount;

#[async_trait::async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn mutate(&self, review: &Review<'_>, pod: &mut Value) -> Result<(), ApiError> {
        if review.operation != Operation::Create || !review.is_about("", "pods") {
            return Ok(());
        }
        if meta::annotation(pod, MIRROR).is_some() {
            return mirror(review, pod);
        }
        let account = account_of(pod).to_owned();
        let account = if account.is_empty() { "default".to_owned() } else { account };
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("serviceAccountName".to_owned(), json!(account));
            spec.insert("serviceAccount".to_owned(), json!(account));
        }
        let namespace = review.call.info.namespace.as_str();
        let Some(found) = review.find("", "serviceaccounts", namespace, &account) else {
            let why = format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
            return Err(review.forbid(meta::name(pod), &why));
        };
        let found = found.tree();
        if mounts_token(pod, &found) {
            mount(review, pod);
        }
        let secrets = pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if let (true, Some(own), Some(spec)) = (secrets, found.get("imagePullSecrets"), pod.get_mut("spec").and_then(Value::as_object_mut))
        {
            spec.insert("imagePullSecrets".to_owned(), own.clone());
        }
        Ok(())
    }
}

fn account_of(pod: &Value) -> &str {
    let name = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).filter(|n| !n.is_empty());
    name.or_else(|| pod.pointer("/spec/serviceAccount").and_then(Value::as_str)).unwrap_or_default()
}

/// A mirror pod shows what a node runs by itself; it cannot use the API.
fn mirror(review: &Review<'_>, pod: &Value) -> Result<(), ApiError> {
    let name = meta::name(pod);
    if !account_of(pod).is_empty() {
        return Err(review.forbid(name, "a mirror pod may not reference service accounts"));
    }
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let has_token = volumes.flat_map(|v| v.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten());
    if has_token.into_iter().any(|s| s.get("serviceAccountToken").is_some()) {
        return Err(review.forbid(name, "a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn mounts_token(pod: &Value, account: &Value) -> bool {
    let flag = |v: Option<&Value>| v.and_then(Value::as_bool);
    flag(pod.pointer("/spec/automountServiceAccountToken")).or_else(|| flag(account.get("automountServiceAccountToken"))).unwrap_or(true)
}

fn mount(review: &Review<'_>, pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let existing = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let existing = existing.filter_map(|v| v.get("name")?.as_str()).find(|n| n.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let known = existing.is_some();
    let name = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", review.call.server.prng.name_suffix(5)));
    let mut used = false;
    for key in ["initContainers", "containers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(fields) = container.as_object_mut() else { continue };
            let mounts = fields.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|m| m.get("mountPath").is_some_and(|p| p == MOUNT_PATH)) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            used = true;
        }
    }
    if used && !known {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(token_volume(&name));
        }
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                ]}},
            ],
        },
    })
}
