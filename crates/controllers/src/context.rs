//! What every controller is given: its own client and event recorder, the shared informers, clock and randomness.

use std::sync::Arc;

use client::{EventRecorder, Informers};
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use stdx::{Clock, Prng};

/// Makes a client that calls as the given user name (`system:serviceaccount:kube-system:deployment-controller`).
pub type Clients = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// Issues the never-expiring tokens of `kubernetes.io/service-account-token` secrets. The API has no verb for these (a
/// TokenRequest always expires), so whoever holds the signing key lends this function.
pub type TokenMaker = Arc<dyn Fn(LegacyToken) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// What a legacy token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyToken {
    /// The account's namespace.
    pub namespace: String,
    /// The account's name.
    pub service_account: String,
    /// The account's UID.
    pub service_account_uid: String,
    /// The secret that holds the token.
    pub secret: String,
}

/// What the controllers need from whoever runs them.
#[derive(Clone)]
pub struct Config {
    /// Clients by user name.
    pub clients: Clients,
    /// The caches of this process.
    pub informers: Informers,
    /// Timestamps and ages.
    pub clock: Clock,
    /// Jitter and name suffixes.
    pub prng: Prng,
    /// The bundle that pods verify the API server with (`kube-root-ca.crt`), PEM.
    pub cluster_ca_pem: String,
    /// Fills legacy token secrets; without it they stay empty and say so in an event.
    pub legacy_tokens: Option<TokenMaker>,
}

/// One controller's view of [`Config`].
#[derive(Clone)]
pub struct Context {
    /// Calls as the controller's own service account.
    pub client: Client,
    /// The caches of this process.
    pub informers: Informers,
    /// Events about what the controller did.
    pub events: EventRecorder,
    /// Timestamps and ages.
    pub clock: Clock,
    /// Jitter and name suffixes.
    pub prng: Prng,
    /// Settings that only some controllers need.
    pub config: Arc<Config>,
}

impl Context {
    /// The context of the controller with service account `account`, whose events come from `component`. Must be called
    /// inside a tokio runtime.
    pub fn new(config: &Arc<Config>, account: &str, component: &str) -> Self {
        let client = (config.clients)(&format!("system:serviceaccount:kube-system:{account}"));
        let (clock, prng) = (config.clock.clone(), config.prng.clone());
        let events = EventRecorder::new(client.clone(), component, "", clock.clone(), prng.clone());
        Self { client, informers: config.informers.clone(), events, clock, prng, config: config.clone() }
    }

    /// The current time as the API writes it.
    pub fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.now()).unwrap_or_default()
    }
}

/// `at` as a metav1.Time, which has whole seconds.
pub fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Kubernetes' own text of a failed request, or the client's.
pub fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether the object does not exist.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether an object of that name exists already.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// Whether somebody else was faster: another version, or another object of that name.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
}

/// Whether a creation failed only because its namespace is being deleted.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// A found object is wanted gone: nothing to do if it is gone already.
pub fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}
