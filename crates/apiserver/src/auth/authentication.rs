//! Who somebody is: client certificates, service account tokens, static tokens, bootstrap tokens and the front proxy's word.

mod bearer;
mod bootstrap_token;
mod claims;
mod front_proxy;
mod issuer;
pub mod jws;
mod token_file;
mod x509;

use std::sync::Arc;

use api::ApiError;
use serde_json::{Value, json};
use stdx::Clock;

use super::objects::Objects;
use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, review};
use crate::identity::{Authenticator, Peer, UserInfo};
pub use front_proxy::FrontProxy;
pub use issuer::{Issuer, IssuerSettings};
pub use token_file::StaticTokens;

/// What authentication is built from.
pub struct Settings {
    /// The authorities that sign client certificates, PEM. Empty: client certificates are not accepted.
    pub client_ca_pem: String,
    /// Tokens that are simply known, for the administrator of the first hour.
    pub static_tokens: StaticTokens,
    /// A front proxy whose headers are believed.
    pub front_proxy: Option<FrontProxy>,
    /// Issues and checks service account tokens.
    pub issuer: Arc<Issuer>,
    /// The stored objects that tokens are bound to.
    pub objects: Arc<dyn Objects>,
    /// The time.
    pub clock: Clock,
}

/// Why authentication cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bundle of authorities is not usable.
    #[error("reading the certificate authorities of {whose}: {why}")]
    Authorities {
        /// Clients or the front proxy.
        whose: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A line of the token file is not usable.
    #[error("reading line {line} of the token file: {why}")]
    TokenFile {
        /// Counted from one.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A key for service account tokens is not usable.
    #[error("reading the key of service account tokens: {0}")]
    Key(String),
}

/// All ways to say who one is, in their order.
pub struct Authentication {
    certificates: Option<x509::Verifier>,
    front_proxy: Option<front_proxy::Verifier>,
    static_tokens: StaticTokens,
    issuer: Arc<Issuer>,
    objects: Arc<dyn Objects>,
    clock: Clock,
}

/// Somebody who showed a good token, and for which of the wanted audiences it is good.
struct TokenUser {
    user: UserInfo,
    audiences: Vec<String>,
}

impl Authentication {
    /// Fails if a bundle of authorities cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let pem = &settings.client_ca_pem;
        let certificates = if pem.is_empty() { None } else { Some(x509::Verifier::new(pem, "clients")?) };
        let front_proxy = settings.front_proxy.map(front_proxy::Verifier::new).transpose()?;
        Ok(Self {
            certificates,
            front_proxy,
            static_tokens: settings.static_tokens,
            issuer: settings.issuer,
            objects: settings.objects,
            clock: settings.clock,
        })
    }

    /// `Ok(None)` if nobody knows such tokens.
    fn token(&self, token: &str, audiences: &[String]) -> Result<Option<TokenUser>, String> {
        if let Some(user) = self.static_tokens.user(token) {
            return Ok(Some(TokenUser { user, audiences: self.issuer.common_audiences(audiences) }));
        }
        if let Some(checked) = self.issuer.check(token, audiences, self.objects.as_ref(), self.clock.now())? {
            return Ok(Some(TokenUser { user: checked.user, audiences: checked.audiences }));
        }
        let user = bootstrap_token::user(token, self.objects.as_ref(), self.clock.now())?;
        Ok(user.map(|user| TokenUser { user, audiences: self.issuer.common_audiences(audiences) }))
    }
}

#[async_trait::async_trait]
impl Authenticator for Authentication {
    async fn authenticate(&self, request: &http::request::Parts, peer: &Peer) -> Result<Option<UserInfo>, ApiError> {
        let mut complaints: Vec<String> = Vec::new();
        let now = self.clock.now();
        if let Some(proxy) = &self.front_proxy {
            match proxy.user(&request.headers, peer, now) {
                Ok(Some(user)) => return Ok(Some(with_group(user))),
                Ok(None) => {}
                Err(why) => complaints.push(why),
            }
        }
        if let Some(verifier) = &self.certificates
            && !peer.certificates.is_empty()
        {
            match verifier.user(&peer.certificates, now) {
                Ok(user) => return Ok(Some(with_group(user))),
                Err(why) => complaints.push(why),
            }
        }
        if let Some(token) = bearer::token(&request.headers) {
            match self.token(&token, self.issuer.api_audiences()) {
                Ok(Some(found)) => return Ok(Some(with_group(found.user))),
                Ok(None) => complaints.push("invalid bearer token".to_owned()),
                Err(why) => complaints.push(format!("invalid bearer token, {why}")),
            }
        }
        if complaints.is_empty() {
            return Ok(None);
        }
        tracing::debug!(complaints = %complaints.join("; "), "refused a caller's credentials");
        Err(ApiError::unauthorized())
    }

    async fn review_token(&self, mut review: Value) -> Result<Value, ApiError> {
        let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default().to_owned();
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let asked = review.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten();
        let asked: Vec<String> = asked.filter_map(|a| Some(a.as_str()?.to_owned())).collect();
        let audiences = if asked.is_empty() { self.issuer.api_audiences().to_vec() } else { asked };
        let status = match self.token(&token, &audiences) {
            Ok(Some(found)) => {
                json!({"authenticated": true, "user": review::user_json(&with_group(found.user)), "audiences": found.audiences})
            }
            Ok(None) => json!({"error": "invalid bearer token", "user": {}}),
            Err(why) => json!({"error": format!("[invalid bearer token, {why}]"), "user": {}}),
        };
        if let Some(o) = review.as_object_mut() {
            o.insert("status".to_owned(), status);
        }
        Ok(review)
    }
}

/// Good credentials make a member of `system:authenticated`.
fn with_group(mut user: UserInfo) -> UserInfo {
    if user.name != ANONYMOUS && !user.groups.iter().any(|g| g == AUTHENTICATED || g == UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

#[cfg(test)]
mod tests;
