//! Exponential backoff as a value: how long to wait after the n-th failure.

use std::time::Duration;

/// Doubles from `first` up to `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub limit: Duration,
}

impl Backoff {
    /// A backoff from `first` to `limit`.
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit }
    }

    /// The wait after `failures` failures in a row; zero failures wait nothing.
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).map_or(self.limit, |wait| wait.min(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_and_then_stays_at_the_limit() {
        let b = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        let waits: Vec<u64> = [0, 1, 2, 3, 5, 6, 1000].iter().map(|n| b.after(*n).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 160, 300, 300]);
    }
}
