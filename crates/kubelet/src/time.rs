//! Times as the API writes them: whole seconds, UTC; and Go's way of writing durations, which clients read in messages.

use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use stdx::Clock;

/// The current time, to the second.
pub fn now(clock: &Clock) -> Time {
    from_system(clock.now())
}

/// A system time, to the second.
pub fn from_system(at: SystemTime) -> Time {
    let seconds = Timestamp::try_from(at).map_or(0, Timestamp::as_second);
    Time(Timestamp::from_second(seconds).unwrap_or_default())
}

/// Nanoseconds since the epoch, as the CRI has them, to the second; 0 means "never".
pub fn from_nanos(nanos: i64) -> Option<Time> {
    if nanos <= 0 {
        return None;
    }
    Some(Time(Timestamp::from_second(nanos.div_euclid(1_000_000_000)).unwrap_or_default()))
}

/// The time as nanoseconds since the epoch.
pub fn nanos(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`, `2h0m0s`, `1.5s`, `12ms`.
pub fn go(duration: Duration) -> String {
    let total = duration.as_secs();
    if total == 0 {
        return if duration.is_zero() { "0s".into() } else { format!("{}ms", duration.as_millis()) };
    }
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let millis = duration.subsec_millis();
    let seconds = if millis == 0 { seconds.to_string() } else { format!("{seconds}.{}", format!("{millis:03}").trim_end_matches('0')) };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_go() {
        let rows = [(0, "0s"), (12, "12ms"), (1500, "1.5s"), (10_000, "10s"), (80_000, "1m20s"), (300_000, "5m0s"), (7_200_000, "2h0m0s")];
        for (millis, text) in rows {
            assert_eq!(go(Duration::from_millis(millis)), text);
        }
    }
}
