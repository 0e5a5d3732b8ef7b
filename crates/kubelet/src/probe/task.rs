//! One probe of one running container.

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use k8s_openapi::api::core::v1::Probe;
use tokio::sync::Notify;

use super::check::{self, Outcome, Target};
use super::{Purpose, Results};
use crate::plan::Verdict;
use crate::time;

/// How often a probe that could not be made at all is tried again at once.
const RETRIES: usize = 3;
/// A container that was not ready at once is looked at again this soon, without counting, so that fast starters need not
/// wait for a whole period.
const EARLY: [Duration; 5] = [
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

pub(super) struct Task {
    pub(super) target: Target,
    pub(super) purpose: Purpose,
    pub(super) probe: Probe,
    /// When the container started, in nanoseconds since the epoch.
    pub(super) started_at: i64,
    pub(super) results: Arc<Results>,
    pub(super) wake: Arc<Notify>,
}

/// Results in a row, against the thresholds.
#[derive(Default)]
struct Row {
    last: Option<Verdict>,
    length: i32,
}

impl Row {
    /// The verdict, once enough results agree.
    fn add(&mut self, verdict: Verdict, probe: &Probe) -> Option<Verdict> {
        if self.last == Some(verdict) {
            self.length = self.length.saturating_add(1);
        } else {
            (self.last, self.length) = (Some(verdict), 1);
        }
        let threshold = match verdict {
            Verdict::Success => probe.success_threshold.unwrap_or(1),
            Verdict::Failure => probe.failure_threshold.unwrap_or(3),
        };
        (self.length >= threshold).then_some(verdict)
    }
}

impl Task {
    pub(super) async fn run(self) {
        let period = Duration::from_secs(seconds(self.probe.period_seconds, 10).max(1));
        let since = time::nanos(self.target.machine.config.clock.now()).saturating_sub(self.started_at);
        let since = Duration::from_nanos(u64::try_from(since).unwrap_or(0));
        tokio::time::sleep(first_look(self.purpose, &self.probe, period).saturating_sub(since)).await;
        if self.purpose == Purpose::Readiness && self.probe.exec.is_none() && self.early().await {
            tokio::time::sleep(period).await;
        }
        let mut row = Row::default();
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(result) = self.once().await else { continue };
            let Some(verdict) = row.add(result, &self.probe) else { continue };
            if self.results.set(&self.target.id, self.purpose, verdict) {
                self.wake.notify_one();
            }
            // The container is restarted, or has started: there is nothing more to find out.
            if self.purpose == Purpose::Startup || (self.purpose == Purpose::Liveness && verdict == Verdict::Failure) {
                return;
            }
        }
    }

    /// Looks a few times in quick succession; answers whether the container became ready.
    async fn early(&self) -> bool {
        if self.probe.success_threshold.unwrap_or(1) > 1 {
            return false;
        }
        for wait in EARLY {
            if check::run(&self.target, &self.probe).await == Outcome::Success {
                if self.results.set(&self.target.id, self.purpose, Verdict::Success) {
                    self.wake.notify_one();
                }
                return true;
            }
            tokio::time::sleep(wait).await;
        }
        false
    }

    /// One counted probe, with its event; `None` when it could not be made.
    async fn once(&self) -> Option<Verdict> {
        let word = self.purpose.word();
        let mut outcome = check::run(&self.target, &self.probe).await;
        for _ in 1..RETRIES {
            if !matches!(outcome, Outcome::Error(_)) {
                break;
            }
            outcome = check::run(&self.target, &self.probe).await;
        }
        let event = |reason: &str, message: String| {
            let target = &self.target;
            target.machine.container_event(&target.pod, target.kind, &target.container.name, EventType::Warning, reason, message);
        };
        match outcome {
            Outcome::Success => Some(Verdict::Success),
            Outcome::Warning(text) => {
                event("ProbeWarning", format!("{word} probe warning: {text}"));
                Some(Verdict::Success)
            }
            Outcome::Failure(text) => {
                event("Unhealthy", format!("{word} probe failed: {text}"));
                Some(Verdict::Failure)
            }
            Outcome::Error(text) => {
                event("Unhealthy", format!("{word} probe errored and resulted in unknown state: {text}"));
                None
            }
        }
    }
}

/// How long after its start a container is probed for the first time. Liveness, which can only do harm while the
/// container is starting, waits a whole period, as users of other kubelets are used to.
fn first_look(purpose: Purpose, probe: &Probe, period: Duration) -> Duration {
    let stated = Duration::from_secs(seconds(probe.initial_delay_seconds, 0));
    match purpose {
        Purpose::Liveness => stated.max(period),
        Purpose::Readiness | Purpose::Startup => stated,
    }
}

fn seconds(stated: Option<i32>, default: u64) -> u64 {
    stated.and_then(|s| u64::try_from(s).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liveness_lets_a_container_start_first() {
        let after = |purpose, delay| {
            let probe = Probe { initial_delay_seconds: delay, ..Probe::default() };
            first_look(purpose, &probe, Duration::from_secs(10)).as_secs()
        };
        assert_eq!([None, Some(3), Some(30)].map(|delay| after(Purpose::Liveness, delay)), [10, 10, 30]);
        assert_eq!([None, Some(3)].map(|delay| after(Purpose::Readiness, delay)), [0, 3]);
    }

    #[test]
    fn verdicts_need_their_thresholds() {
        let probe = Probe { failure_threshold: Some(2), success_threshold: Some(1), ..Probe::default() };
        let mut row = Row::default();
        let got: Vec<Option<Verdict>> =
            "fsffs".chars().map(|c| row.add(if c == 'f' { Verdict::Failure } else { Verdict::Success }, &probe)).collect();
        assert_eq!(got, [None, Some(Verdict::Success), None, Some(Verdict::Failure), Some(Verdict::Success)]);
    }
}
