//! What a service account token says, and whether that is still so (upstream `pkg/serviceaccount/claims.go`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::auth::objects::{Objects, SameMeta, keys, sameness};
use crate::identity::UserInfo;

/// Clocks may differ by so much.
const LEEWAY: Duration = Duration::from_secs(60);

/// The claims, in the order in which Kubernetes writes them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Claims {
    #[serde(default, deserialize_with = "one_or_many")]
    pub(super) aud: Vec<String>,
    #[serde(default)]
    pub(super) exp: i64,
    #[serde(default)]
    pub(super) iat: i64,
    pub(super) iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io", default)]
    pub(super) kubernetes: Kubernetes,
    #[serde(default)]
    pub(super) nbf: i64,
    #[serde(default)]
    pub(super) sub: String,
}

/// The part that only Kubernetes knows.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Kubernetes {
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Ref>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Ref>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Ref>,
    pub(super) serviceaccount: Ref,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warnafter: Option<i64>,
}

/// An object at the time of issue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Ref {
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audiences {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audiences::deserialize(d)? {
        Audiences::One(one) => vec![one],
        Audiences::Many(many) => many,
    })
}

/// Seconds since the epoch.
pub(super) fn seconds(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

impl Claims {
    /// Whether now is the token's time.
    pub(super) fn in_time(&self, now: SystemTime) -> Result<(), &'static str> {
        let (now, leeway) = (seconds(now), i64::try_from(LEEWAY.as_secs()).unwrap_or(0));
        if now.saturating_add(leeway) < self.nbf {
            return Err("service account token is not valid yet");
        }
        if now.saturating_sub(leeway) > self.exp {
            return Err("service account token has expired");
        }
        if now.saturating_add(leeway) < self.iat {
            return Err("service account token is issued in the future");
        }
        Ok(())
    }

    /// The user, if the service account and whatever the token is bound to are still the same objects.
    pub(super) fn user(&self, objects: &dyn Objects, now: SystemTime) -> Result<UserInfo, String> {
        const GONE: &str = "service account token has been invalidated";
        let k = &self.kubernetes;
        let (namespace, account) = (&k.namespace, &k.serviceaccount);
        let key = |prefix: &str, name: &str| format!("{prefix}{namespace}/{name}");
        let stored = sameness(objects, &key(keys::SERVICE_ACCOUNTS, &account.name))
            .ok_or_else(|| format!("serviceaccounts {:?} not found", account.name))?;
        same("service account", &stored, &account.uid)?;
        if deleted(&stored, now) {
            return Err(format!("service account {namespace}/{} has been deleted", account.name));
        }
        let mut bound: Vec<(&str, String, &Ref)> = Vec::new();
        if let Some(secret) = &k.secret {
            bound.push(("secret", key(keys::SECRETS, &secret.name), secret));
        }
        match (&k.pod, &k.node) {
            (Some(pod), _) => bound.push(("pod", key(keys::PODS, &pod.name), pod)),
            (None, Some(node)) => bound.push(("node", format!("{}{}", keys::NODES, node.name), node)),
            (None, None) => {}
        }
        for (what, key, reference) in bound {
            let stored = sameness(objects, &key).ok_or(GONE)?;
            same(what, &stored, &reference.uid)?;
            if deleted(&stored, now) {
                return Err(GONE.to_owned());
            }
        }
        Ok(self.named_user())
    }

    fn named_user(&self) -> UserInfo {
        let k = &self.kubernetes;
        let namespace = &k.namespace;
        let mut user = UserInfo {
            name: format!("system:serviceaccount:{namespace}:{}", k.serviceaccount.name),
            uid: k.serviceaccount.uid.clone(),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
            ..UserInfo::default()
        };
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        if let Some(pod) = &k.pod {
            add("pod-name", &pod.name);
            add("pod-uid", &pod.uid);
        }
        if let Some(node) = &k.node {
            add("node-name", &node.name);
            add("node-uid", &node.uid);
        }
        if !self.jti.is_empty() {
            add("credential-id", &format!("JTI={}", self.jti));
        }
        user
    }
}

fn same(what: &str, stored: &SameMeta, claimed: &str) -> Result<(), String> {
    if stored.uid == claimed {
        return Ok(());
    }
    Err(match what {
        "service account" => format!("service account UID ({}) does not match claim ({claimed})", stored.uid),
        _ => format!("{what} UID ({}) does not match service account {what} ref claim ({claimed})", stored.uid),
    })
}

/// Deletion counts from the moment when it takes effect, not from the request.
fn deleted(stored: &SameMeta, now: SystemTime) -> bool {
    let Some(at) = stored.deletion_timestamp else { return false };
    at.as_second() < seconds(now.checked_sub(LEEWAY).unwrap_or(UNIX_EPOCH))
}
