use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::plan::Verdict;
use crate::plan::tests::{Fixed, pod, view};

fn compute(pod: &Pod, view: &View, old: &PodStatus, verdicts: &Fixed, stage: Stage) -> Value {
    let waiting = HashMap::from([("crash".to_owned(), Waiting { reason: "CrashLoopBackOff".into(), message: "back-off 10s".into() })]);
    let facts = Facts {
        pod,
        view,
        old,
        waiting: &waiting,
        verdicts,
        host_ips: &["192.0.2.1".to_owned()],
        runtime: "ferry",
        stage,
        imposed: None,
        now: crate::time::now(&stdx::Clock::manual(std::time::UNIX_EPOCH + std::time::Duration::from_secs(10))),
    };
    serde_json::to_value(generate(&facts)).unwrap()
}

fn summary(status: &Value) -> String {
    let conditions = status["conditions"].as_array().unwrap().iter();
    let word = |c: &Value| {
        format!(
            "{}={}{}",
            c["type"].as_str().unwrap(),
            c["status"].as_str().unwrap(),
            c["reason"].as_str().map(|r| format!("({r})")).unwrap_or_default()
        )
    };
    let conditions: Vec<String> = conditions.map(word).collect();
    format!("{} {}", status["phase"].as_str().unwrap(), conditions.join(" "))
}

#[test]
fn the_life_of_a_pod() {
    let p = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    let none = PodStatus::default();
    let probes = Fixed::default();
    let rows = [
        (
            View::default(),
            Stage::Alive,
            "Pending PodReadyToStartContainers=False Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True",
        ),
        (
            view(&p, &["a running"]),
            Stage::Alive,
            "Running PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True PodScheduled=True",
        ),
        (
            view(&p, &["a exited 0"]),
            Stage::Ended,
            "Succeeded PodReadyToStartContainers=True Initialized=True(PodCompleted) Ready=False(PodCompleted) ContainersReady=False(PodCompleted) PodScheduled=True",
        ),
        (
            view(&p, &["a exited 3"]),
            Stage::Ended,
            "Failed PodReadyToStartContainers=True Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed) PodScheduled=True",
        ),
        // A terminal phase is not told while containers may run.
        (
            view(&p, &["a exited 3"]),
            Stage::Ending,
            "Pending PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True",
        ),
    ];
    for (view, stage, expected) in rows {
        assert_eq!(summary(&compute(&p, &view, &none, &probes, stage)), expected);
    }
}

#[test]
fn a_running_pod_has_addresses_and_identifiers() {
    let p = pod(json!({"containers": [{"name": "a", "image": "i"}]}));
    let status = compute(&p, &view(&p, &["a running"]), &PodStatus::default(), &Fixed::default(), Stage::Alive);
    assert_eq!(status["podIP"], "10.0.0.1");
    assert_eq!(status["hostIPs"], json!([{"ip": "192.0.2.1"}]));
    assert_eq!(status["qosClass"], "BestEffort");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["containerID"], "ferry://a-id");
    assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
    assert!(container["state"]["running"].is_object());
}

#[test]
fn waiting_containers_say_why_and_keep_their_end() {
    let p = pod(json!({"containers": [{"name": "crash"}]}));
    let status = compute(&p, &view(&p, &["crash exited 2"]), &PodStatus::default(), &Fixed::default(), Stage::Alive);
    assert_eq!(status["phase"], "Running");
    let container = &status["containerStatuses"][0];
    assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 2);
}

#[test]
fn readiness_and_startup_hold_the_pod_back() {
    let p = pod(
        json!({"containers": [{"name": "a", "readinessProbe": {"tcpSocket": {"port": 1}}, "startupProbe": {"tcpSocket": {"port": 1}}}]}),
    );
    let v = view(&p, &["a running"]);
    let mut probes = Fixed::default();
    let at = |probes: &Fixed| {
        let s = compute(&p, &v, &PodStatus::default(), probes, Stage::Alive);
        (s["containerStatuses"][0]["started"] == true, s["containerStatuses"][0]["ready"] == true)
    };
    assert_eq!(at(&probes), (false, false));
    probes.startup.insert("a-id".into(), Verdict::Success);
    assert_eq!(at(&probes), (true, false));
    probes.readiness.insert("a-id".into(), Verdict::Success);
    assert_eq!(at(&probes), (true, true));
}

#[test]
fn init_containers_hold_the_others_back() {
    let p = pod(json!({"initContainers": [{"name": "init1"}, {"name": "init2"}], "containers": [{"name": "a"}]}));
    let s = compute(&p, &view(&p, &["init1 running"]), &PodStatus::default(), &Fixed::default(), Stage::Alive);
    assert_eq!(s["phase"], "Pending");
    let initialized = s["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Initialized").unwrap().clone();
    assert_eq!(initialized["message"], "containers with incomplete status: [init1 init2]");
    assert_eq!(s["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let failed = pod(json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    assert_eq!(
        compute(&failed, &view(&failed, &["i exited 1"]), &PodStatus::default(), &Fixed::default(), Stage::Ended)["phase"],
        "Failed"
    );
}

#[test]
fn a_deleted_pod_that_still_ran_has_failed() {
    let p = pod(json!({"containers": [{"name": "a"}]}));
    let old: PodStatus = serde_json::from_value(json!({"phase": "Running", "containerStatuses": [
        {"name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}))
    .unwrap();
    let s = compute(&p, &View::default(), &old, &Fixed::default(), Stage::Ended);
    assert_eq!(s["phase"], "Failed");
    assert_eq!(s["containerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
    let done = compute(&p, &view(&p, &["a exited 0"]), &old, &Fixed::default(), Stage::Ended);
    assert_eq!(done["phase"], "Succeeded");
}
