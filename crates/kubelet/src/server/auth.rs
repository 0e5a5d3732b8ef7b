//! Who asks, and whether they may: client certificates and tokens, and the API server's word on both.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long an answer of the API server holds, as upstream.
const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
const TOKEN: Duration = Duration::from_secs(120);
/// Answers remembered; when full, all are forgotten.
const REMEMBERED: usize = 1024;
/// Members of this group may do everything.
const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
}

impl Identity {
    /// The subject of a certificate that TLS has verified.
    pub(super) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let mut groups: Vec<String> = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        groups.push("system:authenticated".into());
        Some(Self { user, groups })
    }
}

/// What is asked for, as a request for a node's subresource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    who: Identity,
    verb: &'static str,
    subresource: &'static str,
}

type Cache<K, V> = Mutex<HashMap<K, (Instant, V)>>;

/// Asks the API server and remembers its answers for a while.
pub(crate) struct Access {
    client: Client,
    node: String,
    tokens: Cache<String, Option<Identity>>,
    answers: Cache<Question, bool>,
}

impl Access {
    pub(super) fn new(client: Client, node: String) -> Self {
        Self { client, node, tokens: Mutex::default(), answers: Mutex::default() }
    }

    /// Who a bearer token belongs to.
    pub(super) async fn of_token(&self, token: &str) -> Option<Identity> {
        if let Some(known) = recall(&self.tokens, &token.to_owned(), |_| TOKEN) {
            return known;
        }
        let review =
            TokenReview { spec: TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() }, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let status = match answer {
            Ok(review) => review.status.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(%error, "asking whose token it is");
                return None;
            }
        };
        let user = status.user.filter(|_| status.authenticated == Some(true));
        let identity = user.map(|u| Identity { user: u.username.unwrap_or_default(), groups: u.groups.unwrap_or_default() });
        remember(&self.tokens, token.to_owned(), identity.clone());
        identity
    }

    /// Whether somebody may use a path of this server.
    pub(super) async fn allows(&self, who: &Identity, method: &http::Method, path: &str) -> bool {
        if who.groups.iter().any(|g| g == MASTERS) {
            return true;
        }
        for subresource in subresources(path) {
            if self.ask(Question { who: who.clone(), verb: verb(method), subresource }).await {
                return true;
            }
        }
        false
    }

    async fn ask(&self, question: Question) -> bool {
        if let Some(known) = recall(&self.answers, &question, |allowed| if *allowed { ALLOWED } else { DENIED }) {
            return known;
        }
        let attributes = ResourceAttributes {
            verb: Some(question.verb.into()),
            version: Some("v1".into()),
            resource: Some("nodes".into()),
            subresource: Some(question.subresource.into()),
            name: Some(self.node.clone()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(question.who.user.clone()),
            groups: Some(question.who.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = Api::<SubjectAccessReview>::all(self.client.clone()).create(&PostParams::default(), &review).await;
        match answer {
            Ok(review) => {
                let allowed = review.status.is_some_and(|s| s.allowed);
                remember(&self.answers, question, allowed);
                allowed
            }
            Err(error) => {
                tracing::debug!(%error, "asking whether a request is allowed");
                false
            }
        }
    }
}

fn recall<K: Eq + std::hash::Hash, V: Clone>(cache: &Cache<K, V>, key: &K, holds: impl Fn(&V) -> Duration) -> Option<V> {
    let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.get(key).filter(|(at, value)| at.elapsed() < holds(value)).map(|(_, value)| value.clone())
}

fn remember<K: Eq + std::hash::Hash, V>(cache: &Cache<K, V>, key: K, value: V) {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= REMEMBERED {
        cache.clear();
    }
    cache.insert(key, (Instant::now(), value));
}

fn verb(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

/// The subresources of which any suffices: the fine one first (KEP-2862).
fn subresources(path: &str) -> Vec<&'static str> {
    let below = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    let fine = [("/pods", "pods"), ("/runningpods", "pods"), ("/healthz", "healthz"), ("/configz", "configz")];
    let mut found: Vec<&str> = fine.iter().filter(|(root, _)| below(root)).map(|(_, sub)| *sub).collect();
    let coarse = [("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log")];
    found.push(coarse.iter().find(|(root, _)| below(root)).map_or("proxy", |(_, sub)| *sub));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_subresources_of_the_node() {
        assert_eq!(subresources("/pods"), ["pods", "proxy"]);
        assert_eq!(subresources("/stats/summary"), ["stats"]);
        assert_eq!(subresources("/metrics/resource"), ["metrics"]);
        assert_eq!(subresources("/exec/ns/p/c"), ["proxy"]);
        assert_eq!(subresources("/podsx"), ["proxy"]);
    }
}
