//! Processor time that the server spends per operation, by the kernel's accounting of its process.
//!
//! The figures are those of the whole process: what controllers do about an object counts too, as it does for users.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::https::Api;
use testkit::process::Process;
use testkit::{Cluster, Options};

use crate::client::{Client, PODS, Watch, ask, rounded};

const OBJECTS: usize = 5_000;
/// Objects that the selector finds.
const SELECTED: usize = 50;
const GETS: usize = 20_000;
const LISTS: usize = 20;
const SELECTS: usize = 1_000;
const PATCHES: usize = 3_000;
const WATCHERS: usize = 50;
const UPDATES: usize = 1_000;
/// So that 5,000 objects are 25 MB, as real ones with status and managers are.
const PADDING_BYTES: usize = 3_600;
/// The kernel counts in this unit.
const TICK_MS: f64 = 10.0;
/// Until the server is done with what came before.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) fn measure() -> Value {
    let options = Options { flags: vec!["--disable-agent".to_owned()], node: false, ..Options::default() };
    let cluster = Cluster::start_with(options);
    let server = cluster.node.server().unwrap();
    let client = Client::new(&cluster.node).unwrap();
    let mut api = client.connect().unwrap();
    cluster_is_settled(&mut api);

    let create = per_operation(server, "create", OBJECTS, |i| drop(ask(&mut api, "POST", PODS, &object(i))));
    let get = per_operation(server, "get", GETS, |i| drop(ask(&mut api, "GET", &name(i % OBJECTS), &Value::Null)));
    let mut bytes = 0;
    let list = per_operation(server, "list", LISTS, |_| bytes = ask(&mut api, "GET", PODS, &Value::Null).len());
    let selector = format!("{PODS}?labelSelector=group%3Dg7");
    let select = per_operation(server, "selector list", SELECTS, |_| drop(ask(&mut api, "GET", &selector, &Value::Null)));
    let patch = per_operation(server, "merge patch", PATCHES, |i| update(&mut api, i, &format!("patched-{i}")));
    let fan_out = fan_out(server, &client, &mut api, patch);
    json!({
        "server_cpu_ms": {
            "create": rounded(create), "get": rounded(get), "list_5000": rounded(list),
            "list_selector_50_of_5000": rounded(select), "merge_patch": rounded(patch),
        },
        "list_5000_mb": rounded(bytes as f64 / 1e6),
        "watch_fan_out": fan_out,
    })
}

/// Waits until namespace and account are made, so that their making is not counted.
fn cluster_is_settled(api: &mut Api) {
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    while api.ask("GET", path, &[], b"").unwrap().status != 200 {
        sleep(Duration::from_millis(50));
    }
    sleep(SETTLE);
}

fn name(i: usize) -> String {
    format!("{PODS}/object-{i}")
}

fn object(i: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("object-{i}"),
            "labels": { "app": "bench", "group": format!("g{}", i % (OBJECTS / SELECTED)) },
            "annotations": { "padding": "x".repeat(PADDING_BYTES) },
        },
        "spec": {
            // Nobody's, so that no scheduler looks for a node in vain.
            "schedulerName": "nobody",
            "containers": [{ "name": "main", "image": "ferry.test/none:1", "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } } }],
        },
    })
}

/// A value that the object has not yet, since a patch without change is no event.
fn update(api: &mut Api, i: usize, value: &str) {
    ask(api, "PATCH", &name(i % OBJECTS), &json!({ "metadata": { "annotations": { "value": value } } }));
}

/// Milliseconds of processor time per call.
fn per_operation(server: Process, what: &str, count: usize, mut operation: impl FnMut(usize)) -> f64 {
    let (since, before) = (Instant::now(), ticks(server));
    for i in 0..count {
        operation(i);
    }
    let spent = (ticks(server) - before) as f64 * TICK_MS / count as f64;
    eprintln!(
        "bench: {what}: {spent:.3} ms of processor time, {:.3} ms on the clock",
        since.elapsed().as_secs_f64() * 1000.0 / count as f64
    );
    spent
}

fn ticks(server: Process) -> u64 {
    server.cpu_ticks().expect("the server runs")
}

/// Watchers that all see all updates. The updates' own cost is that of patches, so it is taken off.
fn fan_out(server: Process, client: &Client<'_>, api: &mut Api, patch_ms: f64) -> Value {
    let list: Value = serde_json::from_slice(&ask(api, "GET", &format!("{PODS}?limit=1"), &Value::Null)).unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{PODS}?watch=true&resourceVersion={version}");
    let mut watches: Vec<Watch> = (0..WATCHERS).map(|_| Watch::open(client.connect().unwrap(), &path)).collect();
    sleep(SETTLE);
    let before = ticks(server);
    let complete = std::thread::scope(|scope| {
        let readers: Vec<_> = watches
            .iter_mut()
            .map(|watch| scope.spawn(move || (0..UPDATES).filter(|_| watch.line().starts_with(br#"{"type":"MODIFIED""#)).count()))
            .collect();
        for i in 0..UPDATES {
            update(api, i, &format!("watched-{i}"));
        }
        readers.into_iter().filter_map(|r| r.join().ok()).filter(|seen| *seen == UPDATES).count()
    });
    let spent = (ticks(server) - before) as f64 * TICK_MS;
    let events_thousands = (WATCHERS * UPDATES) as f64 / 1000.0;
    json!({
        "watchers": WATCHERS, "updates": UPDATES, "watchers_that_saw_all": complete,
        "server_cpu_ms_per_1000_events": rounded((spent - patch_ms * UPDATES as f64).max(0.0) / events_thousands),
        "with_the_updates_themselves": rounded(spent / events_thousands),
    })
}
