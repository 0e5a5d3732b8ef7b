//! The wait before a crashed container starts again: 10 s, doubled with every crash up to 5 minutes.

use std::collections::HashMap;
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(300);
/// A container that ran this long starts over without a wait.
const RESET: Duration = Duration::from_secs(600);

struct Entry {
    wait: Duration,
    /// The end, in nanoseconds since the epoch, after which `wait` counts.
    since: i64,
}

/// The waits of one pod's containers, by name and specification hash.
#[derive(Default)]
pub(super) struct Crashes(HashMap<String, Entry>);

/// Whether a container may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once.
    Now,
    /// After `left` of the whole `wait`.
    Later { wait: Duration, left: Duration },
}

impl Crashes {
    /// Asks for a container that ended at `finished_at` (nanoseconds since the epoch); a permitted start is taken note of.
    pub(super) fn turn(&mut self, key: &str, finished_at: i64, now: i64) -> Turn {
        let span = |from: i64, to: i64| Duration::from_nanos(u64::try_from(to.saturating_sub(from)).unwrap_or(0));
        let Some(entry) = self.0.get_mut(key) else {
            self.0.insert(key.to_owned(), Entry { wait: FIRST, since: finished_at });
            return Turn::Now;
        };
        let passed = span(finished_at, now);
        // An end that is already accounted for and one long after the last need no wait.
        if span(entry.since, finished_at) > RESET {
            *entry = Entry { wait: FIRST, since: finished_at };
            return Turn::Now;
        }
        if passed < entry.wait {
            return Turn::Later { wait: entry.wait, left: entry.wait - passed };
        }
        entry.wait = (entry.wait * 2).min(LIMIT);
        entry.since = finished_at;
        Turn::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_forgotten_after_a_long_run() {
        let at = |seconds: i64| seconds * 1_000_000_000;
        let mut crashes = Crashes::default();
        assert_eq!(crashes.turn("c", at(100), at(100)), Turn::Now, "the first restart is immediate");
        let later = |wait, left| Turn::Later { wait: Duration::from_secs(wait), left: Duration::from_secs(left) };
        assert_eq!(crashes.turn("c", at(101), at(103)), later(10, 8));
        assert_eq!(crashes.turn("c", at(101), at(111)), Turn::Now);
        assert_eq!(crashes.turn("c", at(112), at(112)), later(20, 20));
        assert_eq!(crashes.turn("c", at(112), at(132)), Turn::Now);
        assert_eq!(crashes.turn("c", at(2000), at(2000)), Turn::Now);
        assert_eq!(crashes.turn("c", at(2001), at(2001)), later(10, 10));
    }
}
