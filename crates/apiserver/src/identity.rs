//! Who asks, and the seams to those who know: authentication, authorization, token issue and review.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use api::ApiError;
use serde_json::Value;

/// Who a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name that RBAC sees.
    pub name: String,
    /// A unique id, or empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// More facts, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user by name and groups.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..Self::default() }
    }
}

/// The other end of the connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address; `None` for a caller in the same process.
    pub address: Option<SocketAddr>,
    /// The certificates it showed, its own first, in DER. The handshake proved that it holds the key; nobody has checked the chain yet.
    pub certificates: Vec<Vec<u8>>,
}

/// The questions about who asks.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The caller's identity by client certificate or bearer token; `Ok(None)` when it showed nothing.
    /// Wrong credentials are `Err` with [`ApiError::unauthorized`].
    async fn authenticate(&self, request: &http::request::Parts, peer: &Peer) -> Result<Option<UserInfo>, ApiError>;

    /// Answers a `TokenReview`: fills `status` of the given object.
    async fn review_token(&self, review: Value) -> Result<Value, ApiError>;
}

/// Makes service account tokens.
#[async_trait::async_trait]
pub trait TokenIssuer: Send + Sync + 'static {
    /// Answers a (defaulted) `TokenRequest` for the service account (its whole object) by filling `status`.
    /// `bound` is the object that `spec.boundObjectRef` names, already found and checked by UID.
    async fn issue(&self, request: Value, service_account: &Value, bound: Option<&Value>) -> Result<Value, ApiError>;

    /// `/.well-known/openid-configuration` as JSON.
    fn discovery_document(&self) -> Value;

    /// `/openid/v1/jwks` as JSON.
    fn key_set(&self) -> Value;
}

/// What is asked for; resource or path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: UserInfo,
    /// `get`, `list`, `create`, … or the lower-case HTTP method for paths.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource's plural; empty for a path.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The path of a request that is about no resource.
    pub path: String,
    /// The equalities of a list's or watch's field selector, by field: kubelets may list only their own pods.
    pub field_equals: BTreeMap<String, String>,
}

/// An answer to a question about rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and why.
    Allow(String),
    /// Nobody says yes; the reason may be empty.
    NoOpinion(String),
    /// Somebody says no.
    Deny(String),
}

/// The questions about who may do what.
#[async_trait::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// May this be done?
    async fn authorize(&self, attributes: &Attributes) -> Decision;

    /// The `status` of a `SelfSubjectRulesReview`: what the user may do in the namespace.
    async fn rules(&self, user: &UserInfo, namespace: &str) -> Value;

    /// Refuses (403) a write that would give away rights which the user lacks. `old` is the stored object of an update.
    fn may_grant(&self, user: &UserInfo, kind: &str, namespace: &str, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let _ = (user, kind, namespace, new, old);
        Ok(())
    }
}
