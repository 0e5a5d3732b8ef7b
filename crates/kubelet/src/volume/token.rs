//! Service account tokens for pods, asked for once and renewed before they expire (KEP-1205).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use stdx::Clock;

use crate::spec;

/// A token older than this is renewed whatever its lifetime.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// The lifetime of a token that states none.
const DEFAULT_LIFETIME: i64 = 3600;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    audience: String,
    lifetime: i64,
}

#[derive(Clone)]
struct Token {
    text: String,
    renew_at: std::time::SystemTime,
}

/// The tokens of all pods; bounded by the pods' volumes, a pod's go with [`Tokens::forget`].
pub struct Tokens {
    client: Client,
    clock: Clock,
    known: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    /// No token yet.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, known: Mutex::default() }
    }

    /// Forgets a pod's tokens.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|key, _| key.uid != uid);
    }

    /// A valid token for the pod's service account, and when to ask again. Errors are texts for the `FailedMount` event.
    pub async fn get(&self, pod: &Pod, audience: Option<&str>, lifetime: Option<i64>) -> Result<(String, Duration), String> {
        let key = Key {
            uid: spec::uid(pod).to_owned(),
            audience: audience.unwrap_or_default().to_owned(),
            lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
        };
        let now = self.clock.now();
        let known = self.lock().get(&key).cloned();
        if let Some((token, left)) =
            known.and_then(|t| Some((t.text, t.renew_at.duration_since(now).ok()?))).filter(|(_, left)| !left.is_zero())
        {
            return Ok((token, left));
        }
        let token = self.request(pod, &key).await?;
        let left = token.renew_at.duration_since(now).unwrap_or_default();
        let text = token.text.clone();
        self.lock().insert(key, token);
        Ok((text, left))
    }

    async fn request(&self, pod: &Pod, key: &Key) -> Result<Token, String> {
        let account = spec::of(pod).service_account_name.as_deref().filter(|n| !n.is_empty()).unwrap_or("default");
        let bound = BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        };
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(vec![key.audience.clone()]).filter(|_| !key.audience.is_empty()),
                bound_object_ref: Some(bound),
                expiration_seconds: Some(key.lifetime),
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), spec::namespace(pod));
        let answer = api.create_token_request(account, &PostParams::default(), &request).await;
        let status =
            answer.map_err(|e| format!("failed to fetch token: {e}"))?.status.ok_or("failed to fetch token: the answer has no status")?;
        let now = self.clock.now();
        let incomplete = || "failed to fetch token: the answer is incomplete".to_owned();
        let text = status.token.ok_or_else(incomplete)?;
        let expires = std::time::SystemTime::from(status.expiration_timestamp.ok_or_else(incomplete)?.0);
        let lifetime = expires.duration_since(now).unwrap_or_default();
        Ok(Token { text, renew_at: now + (lifetime * 4 / 5).min(MAX_AGE) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Token>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
