//! Namespaces, limits and mounts.

use std::fs;

use cri::{RuntimeService, v1};

use crate::node::{Node, sandbox_config, shell_config};

pub async fn namespaces_are_separate(node: &Node) {
    let sandbox = node.sandbox("web-0").await;
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    for kind in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let inside = node.stdout(&id, &format!("readlink /proc/1/ns/{kind}")).await;
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(inside, outside.to_str().unwrap(), "{kind}");
    }
    assert_eq!(node.stdout(&id, "hostname; cat /etc/hostname").await, "web-0\nweb-0");
    assert_eq!(node.stdout(&id, "cat /etc/resolv.conf").await, "search svc.local\nnameserver 10.43.0.10");
    assert_eq!(node.stdout(&id, "cat /proc/1/comm").await, "sleep");
    assert_eq!(node.stdout(&id, "cat /proc/1/cgroup | cut -d: -f3 | grep -v '^/process_api' | sort -u").await, "/");
    assert_eq!(
        node.stdout(&id, "ls /").await.split_whitespace().collect::<Vec<_>>(),
        ["bin", "data", "dev", "etc", "evil", "proc", "sys", "tmp"]
    );
}

pub async fn containers_of_a_pod_share_what_they_should(node: &Node) {
    let sandbox = node.sandbox("own").await;
    let a = node.shell(&sandbox, "exec sleep 1000").await;
    let b = node.shell(&sandbox, "exec sleep 1000").await;
    for (kind, shared) in [("net", true), ("ipc", true), ("uts", true), ("pid", false), ("mnt", false)] {
        let read = format!("readlink /proc/1/ns/{kind}");
        assert_eq!(node.stdout(&a, &read).await == node.stdout(&b, &read).await, shared, "{kind}");
    }
    node.stdout(&a, "echo shared > /dev/shm/x").await;
    assert_eq!(node.stdout(&b, "cat /dev/shm/x").await, "shared");
    let mut config = sandbox_config("one-pid", node.dir.path());
    let options = v1::NamespaceOption { pid: v1::NamespaceMode::Pod.into(), ..Default::default() };
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options = Some(options.clone());
    let sandbox = node.sandbox_with(config).await;
    let with = |script: &str| crate::node::secured(script, |s| s.namespace_options = Some(options.clone()));
    let a = node.start(&sandbox, with("exec sleep 1111")).await;
    let b = node.start(&sandbox, with("exec sleep 2222")).await;
    assert!(node.stdout(&b, "ps").await.contains("sleep 1111"));
    // An orphan lands with the pod's first process, and a container's end takes its own processes only.
    node.runtime().stop_container(v1::StopContainerRequest { container_id: a.clone(), timeout: 0 }).await.unwrap();
    let left = node.stdout(&b, "ps").await;
    assert!(!left.contains("sleep 1111") && left.contains("sleep 2222"), "{left}");
}

fn limited(script: &str, resources: v1::LinuxContainerResources) -> v1::ContainerConfig {
    let mut config = shell_config(script);
    config.linux.as_mut().unwrap().resources = Some(resources);
    config
}

pub async fn limits_are_written_and_enforced(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let resources = v1::LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        cpu_quota: 20_000,
        cpu_period: 100_000,
        cpu_shares: 512,
        oom_score_adj: 900,
        ..Default::default()
    };
    let id = node.start(&sandbox, limited("exec sleep 1000", resources.clone())).await;
    assert_eq!(node.stdout(&id, "cat /proc/self/oom_score_adj").await, "900");
    let read =
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu*/cpu.cfs_quota_us cpu*/cpu.shares memory.max cpu.max 2>/dev/null; true";
    let text = node.stdout(&id, read).await;
    assert!(text.lines().any(|l| l == (32 << 20).to_string()) && text.contains("20000"), "{text}");
    let update = v1::LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() };
    let request = v1::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(update), ..Default::default() };
    node.runtime().update_container_resources(request).await.unwrap();
    assert!(node.stdout(&id, read).await.lines().any(|l| l == (64 << 20).to_string()));
    let stats = node.runtime().container_stats(v1::ContainerStatsRequest { container_id: id.clone() }).await.unwrap().stats.unwrap();
    assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0);
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
    // The kernel ends what takes more than its share, and the status says why.
    let greedy = node.start(&sandbox, limited("head -c 200m /dev/zero | tail", resources)).await;
    let status = node.ended(&greedy).await;
    assert_eq!(status.reason, "OOMKilled", "{status:?}");
}

pub async fn mounts_are_as_asked(node: &Node) {
    let host = node.dir.path().join("volume");
    fs::create_dir_all(host.join("sub")).unwrap();
    fs::write(host.join("file"), "from the host").unwrap();
    let mount = |target: &str, readonly, recursive| v1::Mount {
        container_path: target.into(),
        host_path: host.display().to_string(),
        readonly,
        recursive_read_only: recursive,
        ..Default::default()
    };
    let file = v1::Mount { host_path: host.join("file").display().to_string(), ..mount("/new/deep/file", true, false) };
    let config = v1::ContainerConfig {
        mounts: vec![mount("/rw", false, false), mount("/ro", true, false), mount("/rro", true, true), file],
        ..shell_config("exec sleep 1000")
    };
    let sandbox = node.sandbox("web").await;
    let id = node.start(&sandbox, config).await;
    node.stdout(&id, "echo x > /rw/written").await;
    assert_eq!(fs::read_to_string(host.join("written")).unwrap(), "x\n");
    for refused in ["/ro/y", "/rro/y", "/new/deep/file", "/proc/sys/kernel/hostname", "/sys/y", "/sys/fs/cgroup/y"] {
        assert_ne!(node.exec(&id, &format!("echo y > {refused}")).await.exit_code, 0, "{refused}");
    }
    assert_eq!(node.stdout(&id, "cat /new/deep/file").await, "from the host");
    assert_eq!(node.stdout(&id, "wc -c < /proc/keys; ls /sys/firmware | wc -l").await, "0\n0");
    assert_eq!(
        node.stdout(&id, "echo a > /dev/null; head -c 3 /dev/urandom | wc -c; test -c /dev/ptmx -a -d /dev/pts && echo ok").await,
        "3\nok"
    );
    let missing =
        v1::ContainerConfig { mounts: vec![v1::Mount { host_path: "/no/such".into(), ..mount("/x", false, false) }], ..shell_config("") };
    let id = node.create(&sandbox, missing).await.unwrap();
    let error = node.runtime().start_container(v1::StartContainerRequest { container_id: id }).await.unwrap_err();
    assert!(error.to_string().contains("/no/such"), "{error}");
}

pub async fn links_in_an_image_lead_nowhere(node: &Node) {
    let mark = format!("ferry-escape-{}", std::process::id());
    let mount = v1::Mount { container_path: format!("/evil/{mark}"), host_path: "/etc/hostname".into(), ..Default::default() };
    let sandbox = node.sandbox("web").await;
    let (code, text) = node.run(&sandbox, v1::ContainerConfig { mounts: vec![mount], ..shell_config("ls /tmp") }).await;
    assert_eq!((code, text.trim()), (0, mark.as_str()));
    assert!(!std::path::Path::new("/tmp").join(&mark).exists(), "the mount target was made on the host");
}
