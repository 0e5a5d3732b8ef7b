//! How many requests may be in work at once; more get 429 and a hint when to come back.

use std::sync::Arc;

use api::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::identity::UserInfo;
use crate::request::RequestInfo;

/// The bounds.
pub struct Limits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Limits {
    /// The bounds of the configuration.
    pub fn new(config: &Config) -> Self {
        Self { reads: Arc::new(Semaphore::new(config.reads_in_flight)), writes: Arc::new(Semaphore::new(config.writes_in_flight)) }
    }

    /// A place for the request while it is in work. Watches and streams need none, and administrators always get in.
    pub fn admit(&self, info: &RequestInfo, user: &UserInfo) -> Result<Option<OwnedSemaphorePermit>, ApiError> {
        if info.is_long_running() || user.groups.iter().any(|g| g == "system:masters") {
            return Ok(None);
        }
        let reading = matches!(info.verb.as_str(), "get" | "list" | "head" | "options");
        let places = if reading { &self.reads } else { &self.writes };
        let busy = |_| ApiError::too_many_requests("Too many requests, please try again later.", 1);
        places.clone().try_acquire_owned().map(Some).map_err(busy)
    }
}
