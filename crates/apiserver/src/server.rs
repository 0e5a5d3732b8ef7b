//! The server as a value: everything that requests share.

use std::sync::Arc;

use api::ApiError;
use futures::future::BoxFuture;
use http::{Request, Response};
use serde_json::Value;
use stdx::{Clock, Prng};

use crate::admission::{self, Chain};
use crate::allocate::Allocator;
use crate::body::Body;
use crate::bootstrap;
use crate::cache::Page;
use crate::catalog::Catalog;
use crate::components::Components;
use crate::config::{Config, Deps};
use crate::identity::{Authenticator, Authorizer, TokenIssuer, UserInfo};
use crate::in_process::InProcess;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::pipeline::{self, Caller};
use crate::storage::Storage;

/// An API server.
pub struct Server {
    /// Settings.
    pub config: Config,
    /// The objects.
    pub storage: Arc<Storage>,
    /// The resources.
    pub catalog: Catalog,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Who makes tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// The wall clock.
    pub clock: Clock,
    /// Randomness for names and UIDs.
    pub prng: Prng,
    /// Admission plugins.
    pub admission: Chain,
    /// Addresses and ports of Services.
    pub allocator: Allocator,
    /// Bounds on requests in work.
    pub limits: Limits,
    /// Counters.
    pub metrics: Metrics,
    /// Components in this process.
    pub components: Components,
}

impl Server {
    /// A server over open storage. It also writes what every cluster has from the start (`default` and its like).
    pub async fn build(config: Config, deps: Deps) -> Result<Arc<Self>, ApiError> {
        let services = deps.storage.cache("/registry/services/specs/");
        let page = Page { prefix: "/registry/services/specs/", from: "", limit: 0, at: None };
        let stored =
            services.picture(&page, deps.storage.applied(), |_| true).map_err(|_| ApiError::internal("services have no history"))?;
        let trees: Vec<Value> = stored.objects.iter().map(|o| o.tree()).collect();
        let catalog = Catalog::builtin();
        let server = Arc::new(Self {
            allocator: Allocator::new(&config, deps.prng.clone(), trees.iter()),
            limits: Limits::new(&config),
            catalog,
            storage: deps.storage,
            authenticator: deps.authenticator,
            authorizer: deps.authorizer,
            tokens: deps.tokens,
            clock: deps.clock,
            prng: deps.prng,
            admission: admission::builtin(),
            metrics: Metrics::default(),
            components: Components::default(),
            config,
        });
        bootstrap::run(&server).await?;
        Ok(server)
    }

    /// Answers one request.
    pub fn handle(self: &Arc<Self>, request: Request<Body>, caller: Caller) -> BoxFuture<'static, Response<Body>> {
        Box::pin(pipeline::handle(self.clone(), request, caller))
    }

    /// A service for a component in this process that acts as `user`: no socket, no TLS.
    pub fn in_process(self: &Arc<Self>, user: UserInfo) -> InProcess {
        InProcess::new(self.clone(), user)
    }

    /// An object of a built-in resource, from the cache.
    pub fn find(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let resource = self.catalog.any_version(group, plural)?;
        self.storage.cache(&resource.prefix).get(&resource.key(namespace, name))
    }

    /// All objects of a built-in resource (in a namespace, unless it is empty), from the cache.
    pub fn all(&self, group: &str, plural: &str, namespace: &str) -> Vec<Arc<Object>> {
        let Some(resource) = self.catalog.any_version(group, plural) else { return Vec::new() };
        let prefix = resource.key_prefix(namespace);
        let page = Page { prefix: &prefix, from: "", limit: 0, at: None };
        let picture = self.storage.cache(&resource.prefix).picture(&page, self.storage.applied(), |_| true);
        picture.map(|p| p.objects).unwrap_or_default()
    }
}
