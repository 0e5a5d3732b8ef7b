//! One request about a resource, as the registry sees it.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::catalog::Resource;
use crate::identity::UserInfo;
use crate::negotiate::Accept;
use crate::request::{Query, RequestInfo};
use crate::server::Server;

/// One request about a resource.
pub struct Call {
    /// The server.
    pub server: Arc<Server>,
    /// The resource.
    pub resource: Arc<Resource>,
    /// What the request is about.
    pub info: RequestInfo,
    /// Who asks (after impersonation).
    pub user: UserInfo,
    /// The query.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// What the client wants to read.
    pub accept: Accept,
    /// Whether the answer travels over a wire on which compression pays.
    pub far: bool,
    warnings: Mutex<Vec<String>>,
}

/// The most warnings in one answer; more are left out, as upstream does.
const MOST_WARNINGS: usize = 20;

impl Call {
    /// A call.
    #[expect(clippy::too_many_arguments, reason = "one value per fact of the request")]
    pub fn new(
        server: Arc<Server>,
        resource: Arc<Resource>,
        info: RequestInfo,
        user: UserInfo,
        query: Query,
        headers: HeaderMap,
        accept: Accept,
        far: bool,
    ) -> Self {
        Self { server, resource, info, user, query, headers, accept, far, warnings: Mutex::default() }
    }

    /// The same request about another resource: how subresources look at their parents.
    pub fn about(&self, resource: Arc<Resource>, info: RequestInfo) -> Self {
        let (query, headers) = (self.query.clone(), self.headers.clone());
        Self::new(self.server.clone(), resource, info, self.user.clone(), query, headers, self.accept, self.far)
    }

    /// Adds a sentence to the answer's warnings.
    pub fn warn(&self, sentence: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let sentence = sentence.into();
        if warnings.len() < MOST_WARNINGS && !warnings.contains(&sentence) {
            warnings.push(sentence);
        }
    }

    /// The sentences so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The group of the resource.
    pub fn group(&self) -> &str {
        self.resource.group()
    }

    /// The plural of the resource.
    pub fn plural(&self) -> &str {
        self.resource.plural()
    }

    /// The key of the object that the request names.
    pub fn key(&self) -> Arc<str> {
        self.resource.key(&self.info.namespace, &self.info.name)
    }
}
