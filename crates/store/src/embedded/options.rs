//! How an embedded store is opened.

use std::time::Duration;

use stdx::Clock;

use super::state::Limits;

/// The sizes and times of a store; the defaults suit a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the ages of changes and times to live come from.
    pub clock: Clock,
    /// How long a change stays readable, unless `history_max_bytes` is reached before.
    pub history: Duration,
    /// What the history may take in memory. When it is full, the oldest changes go, however young.
    pub history_max_bytes: usize,
    /// The largest value; a larger one is refused. At most [`Options::VALUE_LIMIT`].
    pub max_value_bytes: usize,
    /// The log grows to this, or to the size of the last checkpoint if that is larger, before the next checkpoint.
    pub checkpoint_min_bytes: u64,
    /// A new log segment begins at this size. It bounds what is read at once when the store opens.
    pub segment_bytes: u64,
    /// How often an idle store looks for history and times to live that have run out.
    pub tick: Duration,
}

impl Options {
    /// No value may be larger than this, whatever the options say: a commit must fit into a frame of the log.
    pub const VALUE_LIMIT: usize = 8 << 20;

    pub(crate) fn limits(&self) -> Limits {
        Limits { window: self.history, bytes: self.history_max_bytes }
    }

    pub(crate) fn value_limit(&self) -> usize {
        self.max_value_bytes.min(Self::VALUE_LIMIT)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::System,
            history: Duration::from_secs(600),
            history_max_bytes: 32 << 20,
            // What etcd takes in one request (its --max-request-bytes).
            max_value_bytes: 3 << 19,
            checkpoint_min_bytes: 16 << 20,
            segment_bytes: 16 << 20,
            tick: Duration::from_secs(1),
        }
    }
}
