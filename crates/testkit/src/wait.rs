//! Waiting for what must come true, without a word on how fast.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far above what anything here takes, so that only what never comes fails.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Looks until `look` finds something and returns it. `look` tells what it saw instead, for the message.
///
/// # Panics
/// If nothing is found for two minutes; the message says what was waited for and what was seen last.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// As [`eventually`], with a patience of its own.
///
/// # Panics
/// As for [`eventually`].
#[track_caller]
pub fn eventually_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if since.elapsed() > patience => panic!("{what} did not come true in {patience:?}; last seen:\n{seen}"),
            Err(_) => sleep(LOOK_AGAIN),
        }
    }
}
