//! The wall clock, injected. Timers use tokio's clock, which tests pause; this one is for timestamps and ages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where "now" comes from. Cheap to clone; a manual clock is shared by its clones.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's real time.
    #[default]
    System,
    /// Time that moves only by [`Clock::advance`], in milliseconds since the epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock for tests that stands at `at` until it is advanced.
    pub fn manual(at: SystemTime) -> Self {
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Manual(Arc::new(AtomicU64::new(millis(since_epoch))))
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Manual(ms) => UNIX_EPOCH + Duration::from_millis(ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward; the system clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(ms) = self {
            ms.fetch_add(millis(by), Ordering::SeqCst);
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(UNIX_EPOCH + Duration::from_secs(5));
        let twin = clock.clone();
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(5));
        twin.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), UNIX_EPOCH + Duration::from_secs(7));
    }
}
