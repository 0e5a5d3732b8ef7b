//! Secrets of type `kubernetes.io/service-account-token`: filled with a token that never expires, and deleted with their
//! account.

use std::sync::Arc;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};

use crate::context::{Context, LegacyToken, gone_is_fine};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Secrets worked on at the same time.
const WORKERS: usize = 2;

struct Controller {
    context: Context,
    accounts: Informer<ServiceAccount>,
    /// Only secrets of our type.
    secrets: Informer<Secret>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{doing} token secret {key}: {source}")]
    Request { doing: &'static str, key: ObjectKey, source: Box<kube::Error> },
    #[error("making the token of secret {key}: {message}")]
    Token { key: ObjectKey, message: String },
}

/// Serves token secrets until dropped.
pub async fn run(context: Context) {
    let only_ours = watcher::Config::default().fields(&format!("type={TYPE}"));
    let secrets: Informer<Secret> = Informer::start(Api::all(context.informers.client().clone()), only_ours);
    let accounts: Informer<ServiceAccount> = context.informers.of();
    accounts.synced().await;
    secrets.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::default();
    let work = queue.clone();
    secrets.on_change(move |change| {
        if let Change::Applied { new, .. } = change {
            work.add(ObjectKey::of(new.as_ref()));
        }
    });
    let (work, known) = (queue.clone(), secrets.clone());
    accounts.on_change(move |change| {
        let account = change.object();
        let news = matches!(change, Change::Deleted(_) | Change::Applied { old: None, .. });
        if news {
            let of_account = |s: &&Arc<Secret>| s.annotations().get(ACCOUNT_NAME) == account.metadata.name.as_ref();
            let all = known.list_in(&account.namespace().unwrap_or_default());
            all.iter().filter(of_account).for_each(|s| work.add(ObjectKey::of(s.as_ref())));
        }
    });
    let controller = Arc::new(Controller { context, accounts, secrets });
    run_workers("tokens", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await }
    })
    .await;
}

/// What a secret lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Right,
    /// Some of its data or its account's UID.
    Fill,
    /// Its account.
    Delete,
}

/// Compares a secret with its account as the server has it now.
pub fn plan(secret: &Secret, account: Option<&ServiceAccount>, ca: &str) -> Plan {
    let Some(account) = account else {
        return Plan::Delete;
    };
    let uid = secret.annotations().get(ACCOUNT_UID).filter(|uid| !uid.is_empty());
    if uid.is_some_and(|uid| Some(uid) != account.metadata.uid.as_ref()) {
        return Plan::Delete;
    }
    let data = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).map(|v| v.0.as_slice()).unwrap_or_default();
    let whole = uid.is_some() && !data("token").is_empty() && data("ca.crt") == ca.as_bytes() && !data("namespace").is_empty();
    if whole { Plan::Right } else { Plan::Fill }
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), Error> {
        let failed = |doing: &'static str| move |source| Error::Request { doing, key: key.clone(), source: Box::new(source) };
        let Some(secret) = self.secrets.get(key) else {
            return Ok(());
        };
        let Some(name) = secret.annotations().get(ACCOUNT_NAME).filter(|n| !n.is_empty()) else {
            return Ok(());
        };
        let ca = &self.context.config.cluster_ca_pem;
        let cached = self.accounts.get(&ObjectKey::new(key.namespace.as_str(), name));
        if plan(&secret, cached.as_deref(), ca) == Plan::Right {
            return Ok(());
        }
        // Whether an account exists is only certain at the server: a token must not go because the cache lags.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let account = accounts.get_opt(name).await.map_err(failed("reading the account of"))?;
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match (plan(&secret, account.as_ref(), ca), account) {
            (Plan::Fill, Some(account)) => {
                let Some(filled) = self.filled(key, &secret, &account).await? else {
                    return Ok(());
                };
                let written = api.replace(&key.name, &PostParams::default(), &filled).await;
                gone_is_fine(written).map_err(failed("filling"))
            }
            (Plan::Delete, _) => {
                let exactly_it = Preconditions { uid: secret.uid(), resource_version: secret.resource_version() };
                let params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::default() };
                gone_is_fine(api.delete(&key.name, &params).await).map_err(failed("deleting"))
            }
            _ => Ok(()),
        }
    }

    async fn filled(&self, key: &ObjectKey, secret: &Secret, account: &ServiceAccount) -> Result<Option<Secret>, Error> {
        let mut secret = secret.clone();
        let has_token = secret.data.as_ref().is_some_and(|d| d.get("token").is_some_and(|t| !t.0.is_empty()));
        if !has_token {
            let Some(make) = &self.context.config.legacy_tokens else {
                let message = "this server issues no tokens that never expire; ask for one with kubectl create token";
                self.context.events.event(&secret, EventType::Warning, "TokenNotIssued", message);
                return Ok(None);
            };
            let claims = LegacyToken {
                namespace: key.namespace.clone(),
                service_account: account.name_any(),
                service_account_uid: account.uid().unwrap_or_default(),
                secret: key.name.clone(),
            };
            let token = make(claims).await.map_err(|message| Error::Token { key: key.clone(), message })?;
            secret.data.get_or_insert_default().insert("token".to_owned(), ByteString(token.into_bytes()));
        }
        let data = secret.data.get_or_insert_default();
        data.insert("ca.crt".to_owned(), ByteString(self.context.config.cluster_ca_pem.clone().into_bytes()));
        data.entry("namespace".to_owned()).or_insert_with(|| ByteString(key.namespace.clone().into_bytes()));
        secret.annotations_mut().insert(ACCOUNT_UID.to_owned(), account.uid().unwrap_or_default());
        Ok(Some(secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use serde_json::json;

    #[test]
    fn a_secret_is_filled_for_its_account_and_goes_with_it() {
        let text = |t: &str| base64::engine::general_purpose::STANDARD.encode(t);
        let secret = |uid: serde_json::Value, data: serde_json::Value| -> Secret {
            serde_json::from_value(json!({"metadata": {"annotations": {ACCOUNT_NAME: "sa", ACCOUNT_UID: uid}}, "data": data})).unwrap()
        };
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "sa", "uid": "u"}})).unwrap();
        let whole = json!({"token": text("t"), "ca.crt": text("CA"), "namespace": text("ns")});
        for (uid, data, account, expected) in [
            ("u", whole.clone(), Some(&account), Plan::Right),
            ("u", json!({}), Some(&account), Plan::Fill),
            ("", whole.clone(), Some(&account), Plan::Fill),
            ("other", whole.clone(), Some(&account), Plan::Delete),
            ("u", whole.clone(), None, Plan::Delete),
        ] {
            assert_eq!(plan(&secret(json!(uid), data), account, "CA"), expected, "{uid}");
        }
    }
}
