//! Durations for people.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::codec::moment::Moment;

const UNKNOWN: &str = "<unknown>";

/// A duration of whole seconds as Kubernetes shows ages: `5s`, `3m20s`, `47h`, `12d`, `2y45d`. Up to one second before zero
/// counts as zero, since clocks differ; more is `<invalid>`.
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small}{small_unit}") }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, "m", seconds % 60, "s"),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 24 * 8 => pair(days, "d", hours % 24, "h"),
        () if hours < 24 * 365 * 2 => format!("{days}d"),
        () if hours < 24 * 365 * 8 => pair(years, "y", days % 365, "d"),
        () => format!("{years}y"),
    }
}

/// A point in time as nanoseconds since 1970.
pub(super) fn nanos(now: SystemTime) -> i128 {
    match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |n| -n),
    }
}

pub(super) fn parse(text: &str) -> Option<i128> {
    let moment = Moment::parse(text).ok().filter(|m| !m.is_go_zero())?;
    Some(i128::from(moment.seconds) * 1_000_000_000 + i128::from(moment.nanos))
}

/// How long ago a moment was; `<unknown>` for none.
pub(super) fn since(text: &str, now: i128) -> String {
    parse(text).map_or_else(|| UNKNOWN.to_owned(), |then| between(then, now))
}

/// The time from one moment to another.
pub(super) fn between(from: i128, to: i128) -> String {
    human_duration(i64::try_from((to - from) / 1_000_000_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_kubernetes_shows_them() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, want) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (179 * 60 + 59, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 60, "3h1m"),
            (8 * HOUR + 60, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (8 * 365 * DAY + DAY, "8y"),
        ] {
            assert_eq!(human_duration(seconds), want);
        }
        assert_eq!(since("", 0), "<unknown>");
        assert_eq!(since("1970-01-01T00:00:00Z", 5_900_000_000), "5s");
    }
}
