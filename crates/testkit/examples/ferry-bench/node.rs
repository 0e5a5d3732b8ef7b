//! A whole node: how fast it is there, how much memory it takes to do nothing, how fast pods become ready.

use std::collections::HashMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Node;
use testkit::cluster::BUSYBOX;
use testkit::image::Image;
use testkit::{Place, peers};

use crate::client::{Client, PODS, Watch, ask, percentile, pod, rounded};

/// One at a time.
const SINGLE: usize = 20;
/// Rounds of [`AT_ONCE`] pods.
const ROUNDS: usize = 2;
const AT_ONCE: usize = 30;
/// After this a node has nothing left to do from its start.
const SETTLE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(crate) fn measure() -> Value {
    let mut node = Node::create().unwrap();
    let archive = node.folder().join("image.tar");
    Image::busybox(BUSYBOX).unwrap().write(&archive).unwrap();
    let data = node.data_dir().to_string_lossy().into_owned();
    let ferry = peers::ferry();
    node.run(Place::Node, &[&ferry.to_string_lossy(), "image", "import", "--data-dir", &data, &archive.to_string_lossy()]).ok();

    let start = Instant::now();
    node.start_server(&[]).unwrap();
    let client = until("the API server", || {
        Client::new(&node).filter(|c| c.connect().is_some_and(|mut api| api.ask("GET", "/readyz", &[], b"").is_ok()))
    });
    let mut api = client.connect().unwrap();
    let path = format!("/api/v1/nodes/{}", node.name());
    until("the node", || {
        let answer = api.ask("GET", &path, &[], b"").unwrap();
        is_ready(&serde_json::from_slice(&answer.body).unwrap_or_default()).then_some(())
    });
    let node_ready = start.elapsed();
    // The account that pods run under comes a moment after its namespace.
    until("the default service account", || {
        (api.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default", &[], b"").unwrap().status == 200).then_some(())
    });
    ready_after(&client, &["first".to_owned()]);
    let first_pod = start.elapsed();
    remove_all(&client);

    sleep(SETTLE);
    let idle = memory_mib(&node);
    let single: Vec<f64> = (0..SINGLE).flat_map(|i| ready_after(&client, &[format!("single-{i}")])).collect();
    remove_all(&client);
    let (mut together, mut seconds) = (Vec::new(), 0.0);
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..AT_ONCE).map(|i| format!("many-{round}-{i}")).collect();
        let since = Instant::now();
        together.extend(ready_after(&client, &names));
        seconds += since.elapsed().as_secs_f64();
    }
    let loaded = memory_mib(&node);
    remove_all(&client);
    let times =
        |mut values: Vec<f64>| json!({ "p50_ms": rounded(percentile(&mut values, 0.5)), "p90_ms": rounded(percentile(&mut values, 0.9)) });
    json!({
        "start_to_node_ready_s": rounded(node_ready.as_secs_f64()),
        "start_to_first_running_pod_s": rounded(first_pod.as_secs_f64()),
        "idle_resident_mib": idle,
        "resident_with_60_pods_mib": loaded,
        "create_to_ready_one_at_a_time": times(single),
        "create_to_ready_30_at_once": times(together),
        "pods_per_second_30_at_once": rounded((ROUNDS * AT_ONCE) as f64 / seconds),
    })
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(120), "{what} does not come");
        sleep(LOOK_AGAIN);
    }
}

/// Creates pods, each from a thread of its own, and waits until all are ready; milliseconds from each creation.
fn ready_after(client: &Client<'_>, names: &[String]) -> Vec<f64> {
    let mut watch = Watch::open(client.connect().unwrap(), &format!("{PODS}?watch=true&labelSelector=bench%3Dyes&resourceVersion=0"));
    let mut ready: HashMap<String, Instant> = HashMap::new();
    let created: HashMap<String, Instant> = std::thread::scope(|scope| {
        let creators: Vec<_> = names
            .iter()
            .map(|name| {
                scope.spawn(move || {
                    let mut api = client.connect().unwrap();
                    // The handshake is not part of it.
                    api.ask("GET", "/readyz", &[], b"").unwrap();
                    let since = Instant::now();
                    ask(&mut api, "POST", PODS, &pod(name));
                    (name.clone(), since)
                })
            })
            .collect();
        while ready.len() < names.len() {
            let event = watch.event();
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if is_ready(&event["object"]) && names.iter().any(|n| n == name) {
                ready.entry(name.to_owned()).or_insert_with(Instant::now);
            }
        }
        creators.into_iter().map(|c| c.join().unwrap()).collect()
    });
    names.iter().map(|name| (ready[name] - created[name]).as_secs_f64() * 1000.0).collect()
}

fn remove_all(client: &Client<'_>) {
    let mut api = client.connect().unwrap();
    ask(&mut api, "DELETE", &format!("{PODS}?labelSelector=bench%3Dyes"), &Value::Null);
    until("the end of all pods", || {
        let left: Value = serde_json::from_slice(&ask(&mut api, "GET", PODS, &Value::Null)).unwrap();
        left["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// Resident memory of the server and of its shims, the pods' own processes left out.
fn memory_mib(node: &Node) -> Value {
    let ferry = peers::ferry();
    let own = node.processes().into_iter().filter(|(p, _)| fs::read_link(format!("/proc/{}/exe", p.pid)).is_ok_and(|exe| exe == ferry));
    let sizes: Vec<(u32, f64)> = own.map(|(p, _)| (p.pid, resident_kib(p.pid) / 1024.0)).collect();
    let server = node.server().map_or(0, |s| s.pid);
    let of_server: f64 = sizes.iter().filter(|(pid, _)| *pid == server).map(|(_, s)| s).sum();
    let total: f64 = sizes.iter().map(|(_, s)| s).sum();
    // The binary's own pages are in memory once, but counted in each process's resident memory.
    let shared_once: f64 = sizes.iter().map(|(pid, _)| proportional_kib(*pid) / 1024.0).sum();
    json!({
        "total": rounded(total), "server": rounded(of_server), "shims": sizes.len().saturating_sub(1),
        "total_shared_pages_once": rounded(shared_once),
    })
}

fn resident_kib(pid: u32) -> f64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn proportional_kib(pid: u32) -> f64 {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kib(file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0.0)
}
