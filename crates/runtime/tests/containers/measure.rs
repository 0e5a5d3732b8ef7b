//! Figures, not a test: `cargo test -p runtime --test containers -- --measure` prints them as JSON.

use std::time::{Duration, Instant};

use cri::{RuntimeService, v1};

use crate::node::{Node, shell_config};

const ROUNDS: usize = 50;

pub async fn print(node: Node) {
    let mut sandbox_ms = Vec::new();
    let mut create_ms = Vec::new();
    let mut start_ms = Vec::new();
    let mut exec_ms = Vec::new();
    let mut remove_ms = Vec::new();
    for round in 0..ROUNDS {
        let at = Instant::now();
        let sandbox = node.sandbox(&format!("m{round}")).await;
        sandbox_ms.push(at.elapsed());
        let at = Instant::now();
        let id = node.create(&sandbox, shell_config("exec sleep 1000")).await.unwrap();
        create_ms.push(at.elapsed());
        let at = Instant::now();
        node.runtime().start_container(v1::StartContainerRequest { container_id: id.clone() }).await.unwrap();
        start_ms.push(at.elapsed());
        let at = Instant::now();
        node.exec(&id, "true").await;
        exec_ms.push(at.elapsed());
        let at = Instant::now();
        node.runtime().remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
        remove_ms.push(at.elapsed());
    }
    let p50 = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2].as_secs_f64() * 1000.0
    };
    let figures = serde_json::json!({
        "sandbox_ms_p50": p50(sandbox_ms), "create_ms_p50": p50(create_ms), "start_ms_p50": p50(start_ms),
        "exec_ms_p50": p50(exec_ms), "remove_ms_p50": p50(remove_ms), "resting_shim": shim_memory(&node).await,
    });
    println!("{figures}");
    node.close().await;
}

/// Resident and private memory of a shim with one container that rests, in KiB.
async fn shim_memory(node: &Node) -> serde_json::Value {
    let sandbox = node.sandbox("rest").await;
    node.shell(&sandbox, "exec sleep 1000").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut found = serde_json::Value::Null;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains(&sandbox) {
            let text = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap();
            let kib = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(|l| l.trim().trim_end_matches(" kB").to_owned());
            found = serde_json::json!({ "rss_kib": kib("Rss:"), "private_dirty_kib": kib("Private_Dirty:") });
        }
    }
    found
}
