//! Ferry's side of the table of figures, as JSON on standard output; progress goes to standard error.
//!
//! Processor time per operation is the steady figure on a machine with other work; absolute times are not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod api;
mod client;
mod node;

use serde_json::{Value, json};

fn main() {
    // `node` or `api` measures only that half.
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let half = |name: &str, what: &str, measure: fn() -> Value| {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            return Value::Null;
        }
        eprintln!("bench: {what}");
        measure()
    };
    let node = half("node", "a node: start, idle memory, pods", node::measure);
    let api = half("api", "a control plane: processor time per operation", api::measure);
    let machine = json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "load": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
    });
    let figures = json!({ "machine": machine, "node": node, "api": api });
    println!("{}", serde_json::to_string_pretty(&figures).unwrap());
}
