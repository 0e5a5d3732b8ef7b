//! Counters for `/metrics`, in Prometheus' text form.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// The most label sets that are kept apart; requests beyond count as `other`.
const MOST_SERIES: usize = 4096;

/// Counts requests.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
}

impl Metrics {
    /// Counts one answered request.
    pub fn count(&self, verb: &str, resource: &str, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut series = (verb.to_owned(), resource.to_owned(), code);
        if requests.len() >= MOST_SERIES && !requests.contains_key(&series) {
            series = ("other".to_owned(), "other".to_owned(), code);
        }
        let count = requests.entry(series).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, resource and HTTP response code.\n\
             # TYPE apiserver_request_total counter\n",
        );
        for ((verb, resource, code), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let verb = verb.to_uppercase();
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",resource=\"{}\",verb=\"{}\"}} {count}",
                escaped(resource),
                escaped(&verb)
            );
        }
        if let Some(bytes) = resident_memory() {
            out.push_str(
                "# HELP process_resident_memory_bytes Resident memory size in bytes.\n# TYPE process_resident_memory_bytes gauge\n",
            );
            let _ = writeln!(out, "process_resident_memory_bytes {bytes}");
        }
        out
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}
