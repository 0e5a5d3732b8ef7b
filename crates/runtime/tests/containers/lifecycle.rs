//! Start, end, stop, restart of the daemon, and what is left.

use std::fs;
use std::path::Path;

use cri::{ImageService, RuntimeService, v1};
use futures::StreamExt as _;
use runtime::Builtin;

use crate::node::{Node, PATIENCE, log_text, mounts_below, shell_config};

pub async fn a_container_runs_logs_and_ends(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let config = v1::ContainerConfig {
        envs: vec![v1::KeyValue { key: "NAME".into(), value: b"ferry".to_vec() }],
        working_dir: "/made/here".into(),
        ..shell_config("echo hello $NAME; pwd; echo oops >&2; exit 3")
    };
    let id = node.start(&sandbox, config).await;
    let status = node.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at, "{status:?}");
    assert_eq!(status.image_ref, "busybox@sha256:b");
    let raw = fs::read_to_string(&status.log_path).unwrap();
    assert_eq!(log_text(&status.log_path).lines().filter(|l| *l != "oops").collect::<Vec<_>>(), ["hello ferry", "/made/here"]);
    assert!(raw.lines().any(|l| l.contains(" stderr F oops")), "{raw}");
    assert!(raw.lines().all(|l| l.split(' ').next().unwrap().parse::<jiff::Timestamp>().is_ok()), "{raw}");
    let pod = node.runtime().pod_sandbox_status(v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox, verbose: false }).await.unwrap();
    let pod = pod.status.unwrap();
    assert_eq!((pod.state(), pod.network.unwrap().ip.as_str()), (v1::PodSandboxState::SandboxReady, "10.42.0.9"));
}

pub async fn a_restarted_daemon_finds_what_runs(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let lives = node.shell(&sandbox, "echo up; exec sleep 1000").await;
    let ends = node.shell(&sandbox, "exit 7").await;
    node.ended(&ends).await;
    let ends_meanwhile = node.shell(&sandbox, "while [ ! -e /data/go ]; do sleep 0.01; done; exit 9").await;
    let started = node.status(&lives).await.started_at;
    let upper = node.config.data_dir.join("runtime/sandboxes").join(&sandbox).join("containers").join(&ends_meanwhile).join("upper");
    // Another daemon on the same folder, as after a crash; the first one is not asked any more.
    fs::create_dir_all(upper.join("data")).unwrap();
    node.exec(&ends_meanwhile, "touch /data/go").await;
    // What a power cut may leave of another sandbox.
    let torn = node.config.data_dir.join("runtime/sandboxes/torn");
    fs::create_dir_all(torn.join("containers")).unwrap();
    fs::write(torn.join("sandbox.json"), "").unwrap();
    let again = Builtin::open(node.config.clone()).await.unwrap();
    assert!(!torn.exists(), "nothing runs in it, so it goes");
    let status = |id: &str| again.container_status(v1::ContainerStatusRequest { container_id: id.into(), verbose: false });
    let found = status(&lives).await.unwrap().status.unwrap();
    assert_eq!((found.state(), found.started_at), (v1::ContainerState::ContainerRunning, started), "it was not restarted");
    assert_eq!(status(&ends).await.unwrap().status.unwrap().exit_code, 7);
    let wait = async {
        while status(&ends_meanwhile).await.unwrap().status.unwrap().state() != v1::ContainerState::ContainerExited {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(status(&ends_meanwhile).await.unwrap().status.unwrap().exit_code, 9);
    let cmd = ["/bin/echo", "still"].map(str::to_owned).to_vec();
    let said = again.exec_sync(v1::ExecSyncRequest { container_id: lives.clone(), cmd, timeout: 30 }).await.unwrap();
    assert_eq!(said.stdout, b"still\n");
    again.stop_container(v1::StopContainerRequest { container_id: lives.clone(), timeout: 0 }).await.unwrap();
    assert_eq!(status(&lives).await.unwrap().status.unwrap().exit_code, 137);
}

pub async fn a_dead_shim_ends_its_pod(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    let pid: i32 = started_pid(node, &sandbox, &id);
    let parent = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let shim: i32 = parent.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(node.ended(&id).await.exit_code, 255);
    assert!(!Path::new(&format!("/proc/{pid}/ns")).exists() || fs::read_link(format!("/proc/{pid}/exe")).is_err());
    let pods = node.runtime().list_pod_sandbox(v1::ListPodSandboxRequest::default()).await.unwrap().items;
    assert_eq!(pods[0].state(), v1::PodSandboxState::SandboxNotready);
}

fn started_pid(node: &Node, sandbox: &str, id: &str) -> i32 {
    let path = node.config.data_dir.join("runtime/sandboxes").join(sandbox).join("containers").join(id).join("started.json");
    let text: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    i32::try_from(text["pid"].as_i64().unwrap()).unwrap()
}

pub async fn stop_asks_and_then_kills(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let stop = |id: &str, timeout| node.runtime().stop_container(v1::StopContainerRequest { container_id: id.into(), timeout });
    let polite = node.shell(&sandbox, "trap 'exit 5' TERM; touch /data/ready; while :; do sleep 0.01; done").await;
    ready(node, &polite).await;
    stop(&polite, 60).await.unwrap();
    assert_eq!(node.status(&polite).await.exit_code, 5);
    let deaf = node.shell(&sandbox, "trap '' TERM; touch /data/ready; while :; do sleep 0.01; done").await;
    ready(node, &deaf).await;
    stop(&deaf, 1).await.unwrap();
    assert_eq!(node.status(&deaf).await.exit_code, 137);
    let other = v1::ContainerConfig {
        stop_signal: v1::Signal::Sigusr1.into(),
        ..shell_config("trap 'exit 6' USR1; touch /data/ready; while :; do sleep 0.01; done")
    };
    let other = node.start(&sandbox, other).await;
    ready(node, &other).await;
    stop(&other, 60).await.unwrap();
    assert_eq!(node.status(&other).await.exit_code, 6);
    stop(&other, 0).await.unwrap();
    stop("no-such-container", 0).await.unwrap();
}

async fn ready(node: &Node, id: &str) {
    node.stdout(id, "while [ ! -e /data/ready ]; do sleep 0.01; done").await;
}

pub async fn a_missing_program_is_a_start_error(node: &Node) {
    let sandbox = node.sandbox("web").await;
    for (command, said) in
        [("nope", "executable file not found in $PATH"), ("/bin/nope", "no such file or directory"), ("/etc/passwd", "permission denied")]
    {
        let config = v1::ContainerConfig { command: vec![command.into()], ..shell_config("") };
        let id = node.create(&sandbox, config).await.unwrap();
        let error = node.runtime().start_container(v1::StartContainerRequest { container_id: id.clone() }).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        let status = node.status(&id).await;
        assert_eq!((status.state(), status.exit_code, status.reason.as_str()), (v1::ContainerState::ContainerExited, 128, "StartError"));
        assert!(status.message.contains(said), "{}", status.message);
    }
    let unknown = v1::ContainerConfig { image: Some(v1::ImageSpec { image: "other".into(), ..Default::default() }), ..shell_config("") };
    assert!(node.create(&sandbox, unknown).await.unwrap_err().is_not_found());
}

pub async fn nothing_is_left_behind(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "sleep 1000 & exec sleep 1000").await;
    assert_eq!(mounts_below(node.dir.path()).len(), 2, "the namespace and the shared memory, and no root filesystem");
    assert!(
        node.runtime()
            .remove_image(v1::RemoveImageRequest { image: Some(v1::ImageSpec { image: "busybox".into(), ..Default::default() }) })
            .await
            .is_err()
    );
    node.runtime().remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.clone() }).await.unwrap();
    assert!(mounts_below(node.dir.path()).is_empty());
    assert!(!node.config.data_dir.join("runtime/sandboxes").join(&sandbox).exists());
    assert!(!node.config.data_dir.join("netns").join(&sandbox).exists());
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        assert!(!hierarchy.path().join(node.cgroup_root.trim_start_matches('/')).join(&sandbox).exists(), "{:?}", hierarchy.path());
    }
    let gone = node.runtime().container_status(v1::ContainerStatusRequest { container_id: id, verbose: false }).await;
    assert!(gone.unwrap_err().is_not_found());
    node.runtime().remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
}

pub async fn events_tell_the_life(node: &Node) {
    let mut events = node.runtime().container_events().await.unwrap();
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "exit 0").await;
    node.ended(&id).await;
    node.runtime().remove_container(v1::RemoveContainerRequest { container_id: id.clone() }).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        if event.container_id == id {
            kinds.push(event.container_event_type());
        }
    }
    kinds.sort();
    use v1::ContainerEventType as T;
    assert_eq!(kinds, [T::ContainerCreatedEvent, T::ContainerStartedEvent, T::ContainerStoppedEvent, T::ContainerDeletedEvent]);
}
