//! Rights: each test sees the kernel refuse.

use cri::v1;
use v1::security_profile::ProfileType;

use crate::node::{Node, secured, shell_config};

fn profile(kind: ProfileType, path: &str) -> Option<v1::SecurityProfile> {
    Some(v1::SecurityProfile { profile_type: kind.into(), localhost_ref: path.into() })
}

pub async fn the_default_filter_refuses(node: &Node) {
    let sandbox = node.sandbox("web").await;
    // A user namespace needs no capability, so only the filter can be what refuses it.
    let script = "unshare -U true; echo $?; mkdir /data/m; mount -t tmpfs x /data/m; echo $?; grep Seccomp: /proc/self/status";
    let all = |s: &mut v1::LinuxContainerSecurityContext, kind| {
        s.seccomp = profile(kind, "");
        s.capabilities = None;
    };
    let (_, text) = node.run(&sandbox, secured(script, |s| all(s, ProfileType::RuntimeDefault))).await;
    assert!(text.contains("unshare: unshare(0x10000000): Operation not permitted"), "{text}");
    assert!(text.contains("Seccomp:\t2"), "{text}");
    let (code, text) = node.run(&sandbox, secured("unshare -U true", |s| all(s, ProfileType::Unconfined))).await;
    assert_eq!(code, 0, "{text}");
    let file = node.dir.path().join("profile.json");
    std::fs::write(
        &file,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#,
    )
    .unwrap();
    for no_new_privs in [false, true] {
        let config = secured("mkdir /data/x", |s| {
            s.seccomp = profile(ProfileType::Localhost, file.to_str().unwrap());
            s.no_new_privs = no_new_privs;
        });
        let (code, text) = node.run(&sandbox, config).await;
        assert!(code == 1 && text.contains("Operation not supported"), "{text}");
    }
    // An exec is under the same filter.
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    assert_ne!(node.exec(&id, "unshare -U true").await.exit_code, 0);
}

pub async fn capabilities_and_no_new_privs(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let script = "grep -E 'Cap(Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | tr -d '\\t'; chown 1:1 /data; echo $?";
    let (_, text) = node.run(&sandbox, secured(script, |_| ())).await;
    assert!(
        text.contains("CapEff:00000000a80425fb") && text.contains("CapBnd:00000000a80425fb") && text.contains("NoNewPrivs:0"),
        "{text}"
    );
    assert!(text.ends_with("\n0\n"), "{text}");
    let (_, text) = node
        .run(
            &sandbox,
            secured(script, |s| {
                s.no_new_privs = true;
                s.capabilities = Some(v1::Capability { drop_capabilities: vec!["ALL".into()], ..Default::default() });
            }),
        )
        .await;
    assert!(
        text.contains("CapEff:0000000000000000") && text.contains("CapBnd:0000000000000000") && text.contains("NoNewPrivs:1"),
        "{text}"
    );
    assert!(text.contains("Operation not permitted"), "{text}");
    let (_, text) = node
        .run(
            &sandbox,
            secured(script, |s| {
                s.run_as_user = Some(v1::Int64Value { value: 1000 });
                s.capabilities = Some(v1::Capability { add_ambient_capabilities: vec!["NET_BIND_SERVICE".into()], ..Default::default() });
            }),
        )
        .await;
    assert!(text.contains("CapEff:0000000000000400") && text.contains("CapAmb:0000000000000400"), "{text}");
    let (code, text) =
        node.run(&sandbox, secured("mkdir /data/m && mount -t tmpfs x /data/m && ls /dev/full", |s| s.privileged = true)).await;
    assert_eq!(code, 0, "{text}");
}

pub async fn users_and_groups(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let config = secured("id; echo $HOME; echo err >/dev/stderr", |s| {
        s.run_as_user = Some(v1::Int64Value { value: 1000 });
        s.supplemental_groups = vec![4321];
    });
    let id = node.start(&sandbox, config).await;
    let status = node.ended(&id).await;
    let text = crate::node::log_text(&status.log_path);
    assert!(text.contains("uid=1000(app) gid=1000(app) groups=10(wheel),1000(app),4321"), "{text}");
    assert!(text.contains("/home/app\n") && text.contains("err\n"), "{text}");
    let user = status.user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (1000, 1000, vec![10, 1000, 4321]));
    let named = secured("id -u", |s| s.run_as_username = "app".into());
    assert_eq!(node.run(&sandbox, named).await.1, "1000\n");
}

pub async fn a_read_only_root(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let (code, text) = node.run(&sandbox, secured("touch /x; echo $?; touch /dev/shm/ok", |s| s.readonly_rootfs = true)).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    assert_eq!(node.run(&sandbox, shell_config("touch /x")).await.0, 0);
}

pub async fn devices_are_limited(node: &Node) {
    let sandbox = node.sandbox("web").await;
    // The kernel log's device is on every machine and on nobody's list.
    let (_, text) = node
        .run(
            &sandbox,
            shell_config(
                "mknod /data/kmsg c 1 11 && head -c 1 /data/kmsg; echo $?; mknod /data/null c 1 3 && echo x > /data/null && echo fine",
            ),
        )
        .await;
    if std::path::Path::new("/sys/fs/cgroup/devices").exists() {
        assert!(text.contains("Operation not permitted"), "{text}");
    }
    assert!(text.contains("fine"), "{text}");
}
