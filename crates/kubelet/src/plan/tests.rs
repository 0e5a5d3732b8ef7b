use std::collections::HashMap;

use serde_json::json;

use super::*;
use crate::labels;
use crate::view::Sandbox;

#[derive(Default)]
pub(crate) struct Fixed {
    pub(crate) liveness: HashMap<String, Verdict>,
    pub(crate) startup: HashMap<String, Verdict>,
    pub(crate) readiness: HashMap<String, Verdict>,
}

impl Verdicts for Fixed {
    fn liveness(&self, id: &str) -> Option<Verdict> {
        self.liveness.get(id).copied()
    }
    fn startup(&self, id: &str) -> Option<Verdict> {
        self.startup.get(id).copied()
    }
    fn readiness(&self, id: &str) -> Option<Verdict> {
        self.readiness.get(id).copied()
    }
}

pub(crate) fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec})).unwrap()
}

/// A view from lines such as `web running`, `init exited 0`; newest first.
pub(crate) fn view(pod: &Pod, lines: &[&str]) -> View {
    let containers = lines.iter().enumerate().map(|(at, line)| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let state = match words.next().unwrap() {
            "running" => RunState::Running,
            "exited" => RunState::Exited,
            "created" => RunState::Created,
            _ => RunState::Unknown,
        };
        let exit_code = words.next().map_or(0, |w| w.parse().unwrap());
        let hash = spec::find(spec::of(pod), name).map(|(_, c)| labels::hash(&c)).unwrap_or_default();
        Seen {
            id: format!("{name}-id"),
            name: name.into(),
            state,
            created_at: 100 - at as i64,
            started_at: 1,
            finished_at: 2,
            exit_code,
            reason: String::new(),
            message: String::new(),
            image: "i".into(),
            image_ref: "i@1".into(),
            noted: labels::Noted { hash, ..labels::Noted::default() },
            log_path: String::new(),
            mounts: vec![],
            resources: None,
            user: None,
        }
    });
    let sandbox = Sandbox { id: "s".into(), ready: true, attempt: 0, created_at: 1, ips: vec!["10.0.0.1".into()] };
    View { sandboxes: vec![sandbox], containers: containers.collect() }
}

fn decide(pod: &Pod, lines: &[&str]) -> Plan {
    plan(pod, &view(pod, lines), &Fixed::default())
}

fn show(plan: &Plan) -> String {
    let kills: Vec<&str> = plan.kill.iter().map(|k| k.name.as_str()).collect();
    format!("{:?} kill{kills:?} init{:?} run{:?}", plan.sandbox, plan.start_init, plan.start)
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_first_step() {
    let plain = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let empty = View::default();
    assert_eq!(show(&plan(&plain, &empty, &Fixed::default())), "Create(0) kill[] init[] run[0, 1]");
    let with_init = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    assert_eq!(show(&plan(&with_init, &empty, &Fixed::default())), "Create(0) kill[] init[0] run[]");
}

#[test]
fn containers_are_restarted_by_policy() {
    let rows = [
        ("Always", "a exited 0", r#"Keep("s") kill[] init[] run[0]"#),
        ("OnFailure", "a exited 0", "End kill[] init[] run[]"),
        ("OnFailure", "a exited 1", r#"Keep("s") kill[] init[] run[0]"#),
        ("Never", "a exited 1", "End kill[] init[] run[]"),
        ("Never", "a running", r#"Keep("s") kill[] init[] run[]"#),
        ("Always", "a unknown", r#"Keep("s") kill["a"] init[] run[0]"#),
    ];
    for (policy, line, expected) in rows {
        let p = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        assert_eq!(show(&decide(&p, &[line])), expected, "{policy} {line}");
    }
}

#[test]
fn init_containers_run_in_order() {
    let p = pod(json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}));
    let rows: [(&[&str], &str); 6] = [
        (&[], r#"Keep("s") kill[] init[0] run[]"#),
        (&["i running"], r#"Keep("s") kill[] init[] run[]"#),
        (&["i exited 0"], r#"Keep("s") kill[] init[1] run[]"#),
        (&["j exited 0", "i exited 0"], r#"Keep("s") kill[] init[] run[0]"#),
        (&["j exited 1", "i exited 0"], r#"Keep("s") kill[] init[1] run[]"#),
        (&["a running"], r#"Keep("s") kill[] init[] run[]"#),
    ];
    for (lines, expected) in rows {
        assert_eq!(show(&decide(&p, lines)), expected, "{lines:?}");
    }
    let never = pod(json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    assert_eq!(show(&decide(&never, &["i exited 1"])), "End kill[] init[] run[]");
}

#[test]
fn sidecars_start_before_and_are_kept_running() {
    let p = pod(json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": [{"name": "a"}]}));
    assert_eq!(show(&decide(&p, &["s running"])), r#"Keep("s") kill[] init[1] run[]"#);
    assert_eq!(show(&decide(&p, &["i exited 0", "s running"])), r#"Keep("s") kill[] init[] run[0]"#);
    assert_eq!(show(&decide(&p, &["a running", "i exited 0", "s exited 1"])), r#"Keep("s") kill[] init[0] run[]"#);
    let probed = pod(
        json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}], "containers": [{"name": "a"}]}),
    );
    assert_eq!(show(&decide(&probed, &["s running"])), r#"Keep("s") kill[] init[] run[]"#);
    let started = Fixed { startup: HashMap::from([("s-id".into(), Verdict::Success)]), ..Fixed::default() };
    assert_eq!(show(&plan(&probed, &view(&probed, &["s running"]), &started)), r#"Keep("s") kill[] init[] run[0]"#);
}

#[test]
fn failed_probes_and_changed_definitions_kill() {
    let p = pod(json!({"containers": [{"name": "a"}]}));
    let failed = Fixed { liveness: HashMap::from([("a-id".into(), Verdict::Failure)]), ..Fixed::default() };
    let decided = plan(&p, &view(&p, &["a running"]), &failed);
    assert_eq!(decided.kill[0].message, "Container a failed liveness probe, will be restarted");
    assert_eq!(decided.start, [0]);
    let mut changed = view(&p, &["a running"]);
    changed.containers[0].noted.hash = "old".into();
    let decided = plan(&p, &changed, &Fixed::default());
    assert_eq!(decided.kill[0].message, "Container a definition changed, will be restarted");
}

#[test]
fn a_lost_sandbox_is_made_anew_unless_the_pod_runs_once() {
    let p = pod(json!({"containers": [{"name": "a"}]}));
    let mut lost = view(&p, &["a exited 137"]);
    lost.sandboxes[0].ready = false;
    assert_eq!(show(&plan(&p, &lost, &Fixed::default())), "Create(1) kill[] init[] run[0]");
    let once = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    assert_eq!(show(&plan(&once, &lost, &Fixed::default())), "End kill[] init[] run[]");
}
