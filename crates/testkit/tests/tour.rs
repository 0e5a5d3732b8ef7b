//! A tour of kubectl: each verb once, with the texts that people and scripts rely on.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use testkit::cluster::BUSYBOX;
use testkit::terminal::Terminal;
use testkit::{Cluster, Place, eventually};

fn shell_pod(name: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, '{script}']\n"
    )
}

fn ready(cluster: &Cluster, pod: &str) {
    cluster.kubectl_ok(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=120s"]);
}

fn deployment(cluster: &Cluster) {
    cluster.kubectl_ok(&[
        "create",
        "deployment",
        "web",
        "--image",
        BUSYBOX,
        "--replicas=2",
        "--",
        "sh",
        "-c",
        "trap 'exit 0' TERM; sleep 100000 & wait",
    ]);
    cluster.rolled_out("deployment/web");
}

/// Asserts that each text occurs in what was said.
#[track_caller]
fn says(said: &str, texts: &[&str]) {
    for text in texts {
        assert!(said.contains(text), "no {text:?} in:\n{said}");
    }
}

/// The words of a table's line, since its columns are as wide as their widest word.
fn words(table: &str, line: usize) -> Vec<&str> {
    table.lines().nth(line).unwrap_or_default().split_whitespace().collect()
}

#[test]
fn get_in_every_form() {
    let cluster = Cluster::start();
    deployment(&cluster);
    let table = cluster.kubectl_ok(&["get", "pods"]);
    assert_eq!(words(&table, 0), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(words(&table, 1)[1..4], ["1/1", "Running", "0"]);
    let wide = cluster.kubectl_ok(&["get", "pods", "-o", "wide"]);
    assert!(
        wide.lines().next().unwrap().ends_with("IP          NODE             NOMINATED NODE   READINESS GATES")
            || wide.contains("NOMINATED NODE   READINESS GATES")
    );
    assert_eq!(words(&cluster.kubectl_ok(&["get", "deployments", "-o", "wide"]), 1)[..4], ["web", "2/2", "2", "2"]);
    assert_eq!(words(&cluster.kubectl_ok(&["get", "rs"]), 0), ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]);
    let services = cluster.kubectl_ok(&["get", "services"]);
    assert_eq!(words(&services, 0), ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    assert_eq!(words(&services, 1)[..5], ["kubernetes", "ClusterIP", "10.43.0.1", "<none>", "443/TCP"]);
    let nodes = cluster.kubectl_ok(&["get", "nodes", "-o", "wide"]);
    assert_eq!(words(&nodes, 0)[..7], ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP"]);
    assert_eq!(words(&nodes, 1)[1], "Ready");
    assert_eq!(words(&nodes, 1)[5..7], ["10.200.0.2", "<none>"]);
    says(&cluster.kubectl_ok(&["get", "namespaces"]), &["default", "kube-node-lease", "kube-public", "kube-system", "Active"]);

    says(
        &cluster.kubectl_ok(&["get", "deployment", "web", "-o", "yaml"]),
        &["apiVersion: apps/v1\n", "kind: Deployment\n", "  replicas: 2\n", "  readyReplicas: 2\n"],
    );
    assert_eq!(cluster.get(&["deployment", "web"])["spec"]["replicas"], 2);
    assert_eq!(cluster.get(&["pods"])["kind"], "List");
    assert_eq!(cluster.kubectl_ok(&["get", "deployment", "-o", "name"]), "deployment.apps/web\n");
    assert_eq!(cluster.kubectl_ok(&["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"]), BUSYBOX);
    assert_eq!(cluster.kubectl_ok(&["get", "deploy", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas"]), "N     R\nweb   2\n");
    let all = cluster.kubectl_ok(&["get", "configmaps", "-A"]);
    assert_eq!(words(&all, 0), ["NAMESPACE", "NAME", "DATA", "AGE"]);
    says(&all, &["kube-system", "kube-root-ca.crt"]);
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "-l", "app=web", "-o", "name"]).lines().count(), 2);
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "-l", "app in (web,other),!gone", "-o", "name"]).lines().count(), 2);
    assert_eq!(cluster.kubectl(&["get", "pods", "-l", "app=nobody"]).stderr, "No resources found in default namespace.\n");
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "--field-selector", "status.phase=Running", "-o", "name"]).lines().count(), 2);
    says(&cluster.kubectl_ok(&["get", "all"]), &["pod/web-", "service/kubernetes", "deployment.apps/web", "replicaset.apps/web-"]);
    assert_eq!(cluster.kubectl(&["get", "pod", "nobody"]).failed(), "Error from server (NotFound): pods \"nobody\" not found\n");
    assert!(cluster.kubectl(&["get", "gizmos"]).failed().starts_with("error: the server doesn't have a resource type \"gizmos\""));
}

#[test]
fn watching_shows_changes_as_they_come() {
    let cluster = Cluster::start();
    let watch = Terminal::open(&mut cluster.kubectl_command(&["get", "pods", "-w"]), 40, 200).unwrap();
    cluster.apply(&shell_pod("seen", "sleep 100000"));
    for text in ["seen   0/1     Pending", "seen   0/1     ContainerCreating", "seen   1/1     Running"] {
        watch.expect(text);
    }
    cluster.kubectl_ok(&["delete", "pod", "seen"]);
    watch.expect("seen   1/1     Terminating");
}

#[test]
fn describe_and_events_tell_the_story() {
    let cluster = Cluster::start();
    deployment(&cluster);
    let pod = cluster.pods("app=web")[0].clone();
    let node = cluster.node.name().to_owned();
    let pod_story = || {
        let said = cluster.kubectl_ok(&["describe", "pod", &pod]);
        let assigned = format!("Successfully assigned default/{pod} to {node}");
        let texts = [
            "Status:           Running",
            "Controlled By:  ReplicaSet/web-",
            "QoS Class:                   BestEffort",
            &assigned,
            "Started",
            "Image ID:",
            "Ready             True",
        ];
        texts.iter().find(|t| !said.contains(**t)).map_or(Ok(()), |t| Err(format!("no {t:?} in:\n{said}")))
    };
    eventually("the pod's story", pod_story);
    let said = cluster.kubectl_ok(&["describe", "deployment", "web"]);
    says(
        &said,
        &[
            "Replicas:               2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "StrategyType:           RollingUpdate",
            "Scaled up replica set web-",
            "Available      True    MinimumReplicasAvailable",
            "Progressing    True    NewReplicaSetAvailable",
        ],
    );
    says(
        &cluster.kubectl_ok(&["describe", "node", &node]),
        &["Allocatable:", "Non-terminated Pods:", "KubeletReady", "Container Runtime Version:"],
    );
    says(
        &cluster.kubectl_ok(&["describe", "service", "kubernetes"]),
        &["IP:                       10.43.0.1", "Endpoints:                10.200.0.2:6443"],
    );
    let events = cluster.kubectl_ok(&["events"]);
    assert_eq!(words(&events, 0), ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    says(&events, &["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"]);
    says(&cluster.kubectl_ok(&["events", "--for", &format!("pod/{pod}")]), &["Scheduled"]);
    says(&cluster.kubectl_ok(&["get", "events"]), &["Normal", "Scheduled"]);
}

#[test]
fn what_the_server_tells_about_itself() {
    let cluster = Cluster::start();
    let resources = cluster.kubectl_ok(&["api-resources"]);
    assert_eq!(words(&resources, 0), ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]);
    for line in [
        ["deployments", "deploy", "apps/v1", "true", "Deployment"],
        ["pods", "po", "v1", "true", "Pod"],
        ["nodes", "no", "v1", "false", "Node"],
    ] {
        assert!(resources.lines().any(|l| l.split_whitespace().eq(line)), "no {line:?} in:\n{resources}");
    }
    says(&cluster.kubectl_ok(&["api-versions"]), &["apps/v1\n", "rbac.authorization.k8s.io/v1\n", "\nv1\n"]);
    let explained = cluster.kubectl_ok(&["explain", "deployment.spec.replicas"]);
    says(&explained, &["GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n", "FIELD: replicas <integer>"]);
    says(&cluster.kubectl_ok(&["explain", "pods"]), &["KIND:       Pod\n", "spec\t<PodSpec>"]);
    says(&cluster.kubectl_ok(&["cluster-info"]), &["Kubernetes control plane", "https://10.200.0.2:6443"]);
    says(&cluster.kubectl_ok(&["version"]), &["Client Version: v1.35", "Server Version: v1.36"]);
    assert_eq!(cluster.kubectl_ok(&["auth", "can-i", "create", "pods"]), "yes\n");
    let denied = cluster.kubectl(&["auth", "can-i", "list", "secrets", "--as=system:serviceaccount:default:default"]);
    assert_eq!((denied.status.code(), denied.stdout.as_str()), (Some(1), "no\n"), "{denied}");
    says(&cluster.kubectl_ok(&["auth", "can-i", "--list"]), &["Resources", "Verbs", "[*]"]);
    says(&cluster.kubectl_ok(&["auth", "whoami"]), &["kubernetes-admin", "system:masters", "system:authenticated"]);
    assert_eq!(cluster.kubectl_ok(&["get", "--raw", "/healthz"]), "ok");
}

#[test]
fn logs_of_now_of_the_end_and_as_they_come() {
    let cluster = Cluster::start();
    cluster.apply(&shell_pod("talker", "for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2; sleep 3; echo late; sleep 100000"));
    ready(&cluster, "talker");
    let follow = Terminal::open(&mut cluster.kubectl_command(&["logs", "-f", "talker"]), 40, 200).unwrap();
    follow.expect("line 5");
    follow.expect("late");
    let log = cluster.kubectl_ok(&["logs", "talker"]);
    says(&log, &["line 1\nline 2\nline 3\nline 4\nline 5\n", "oops\n"]);
    assert_eq!(cluster.kubectl_ok(&["logs", "--tail=1", "talker"]), "late\n");
    assert_eq!(cluster.kubectl_ok(&["logs", "-l", "app=talker", "--tail=1"]), "late\n");
    let stamped = cluster.kubectl_ok(&["logs", "--timestamps", "--tail=1", "talker"]);
    assert!(stamped.ends_with("Z late\n") && stamped.starts_with("20"), "{stamped}");
    let none = cluster.kubectl(&["logs", "--previous", "talker"]).failed();
    assert!(none.contains("previous terminated container \"main\" in pod \"talker\" not found"), "{none}");
    let wrong = cluster.kubectl(&["logs", "talker", "-c", "other"]).failed();
    assert!(wrong.contains("container other is not valid for pod talker"), "{wrong}");
}

#[test]
fn exec_with_a_terminal_pipes_and_exit_codes() {
    let cluster = Cluster::start();
    cluster.apply(&shell_pod("shell", "sleep 100000"));
    ready(&cluster, "shell");
    let mut terminal = Terminal::open(&mut cluster.kubectl_command(&["exec", "-it", "shell", "--", "sh"]), 33, 111).unwrap();
    terminal.type_in("stty size; tty\n");
    terminal.expect("33 111");
    terminal.expect("/dev/pts/");
    terminal.resize(44, 122);
    eventually("the new size inside", || {
        terminal.type_in("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(200));
        if terminal.shown().contains("44 122") { Ok(()) } else { Err(terminal.shown()) }
    });
    terminal.type_in("exit 7\n");
    assert_eq!(terminal.ended(), 7);

    let piped = cluster.kubectl_with(&["exec", "-i", "shell", "--", "sh", "-c", "tr a-z A-Z; echo aside >&2"], "hello\n");
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str(), piped.status.code()), ("HELLO\n", "aside\n", Some(0)));
    let failed = cluster.kubectl(&["exec", "shell", "--", "sh", "-c", "exit 5"]);
    assert_eq!((failed.status.code(), failed.stderr.as_str()), (Some(5), "command terminated with exit code 5\n"));
    let missing = cluster.kubectl(&["exec", "shell", "--", "no-such-program"]);
    assert!(!missing.status.success() && missing.stderr.contains("no-such-program"), "{missing}");
    let attached = Terminal::open(
        &mut cluster.kubectl_command(&[
            "run",
            "one",
            "-it",
            "--rm",
            "--restart=Never",
            "--image",
            BUSYBOX,
            "--",
            "sh",
            "-c",
            "read x; echo got $x",
        ]),
        30,
        100,
    );
    let mut attached = attached.unwrap();
    eventually("the pod that is attached to", || {
        cluster
            .kubectl(&["get", "pod", "one", "-o", "jsonpath={.status.phase}"])
            .stdout
            .contains("Running")
            .then_some(())
            .ok_or_else(String::new)
    });
    attached.type_in("something\n");
    attached.expect("got something");
    assert_eq!(attached.ended(), 0);
    attached.expect("pod \"one\" deleted");
}

#[test]
fn files_are_copied_and_ports_forwarded() {
    let cluster = Cluster::start();
    cluster.apply(&shell_pod("server", "mkdir /www; echo hello > /www/index.html; httpd -f -p 8080 -h /www"));
    ready(&cluster, "server");
    let home = cluster.node.folder().join("home");
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(home.join("there.bin"), &content).unwrap();
    cluster.kubectl_ok(&["cp", "there.bin", "server:/tmp/there.bin"]);
    cluster.kubectl_ok(&["cp", "server:/tmp/there.bin", "back.bin"]);
    assert!(fs::read(home.join("back.bin")).unwrap() == content, "a file comes back as it went");

    let forward = Terminal::open(&mut cluster.kubectl_command(&["port-forward", "pod/server", ":8080"]), 30, 200).unwrap();
    forward.expect("Forwarding from 127.0.0.1:");
    let port: u16 = eventually("the local port", || {
        let shown = forward.shown();
        let port = shown.split("127.0.0.1:").nth(1).and_then(|s| s.split(" ->").next()?.parse().ok());
        port.ok_or(shown)
    });
    for _ in 0..5 {
        assert_eq!(cluster.http_get(Place::Outside, &format!("http://127.0.0.1:{port}/")).unwrap().text(), "hello\n");
    }
    forward.expect("Handling connection for");
}

#[test]
fn objects_are_made_and_changed_in_every_way() {
    let cluster = Cluster::start();
    deployment(&cluster);
    let ok = |args: &[&str]| cluster.kubectl_ok(args);
    assert_eq!(ok(&["create", "configmap", "c", "--from-literal=a=1"]), "configmap/c created\n");
    assert_eq!(
        cluster.kubectl(&["create", "configmap", "c"]).failed(),
        "error: failed to create configmap: configmaps \"c\" already exists\n"
    );
    assert_eq!(ok(&["create", "namespace", "other"]), "namespace/other created\n");
    assert_eq!(ok(&["create", "secret", "generic", "s", "--from-literal=k=v"]), "secret/s created\n");
    assert_eq!(ok(&["create", "configmap", "dry", "--dry-run=server"]), "configmap/dry created (server dry run)\n");
    cluster.kubectl(&["get", "configmap", "dry"]).failed();

    assert_eq!(ok(&["label", "configmap", "c", "tier=front"]), "configmap/c labeled\n");
    says(&cluster.kubectl(&["label", "configmap", "c", "tier=back"]).failed(), &["already has a value (front), and --overwrite is false"]);
    assert_eq!(ok(&["label", "configmap", "c", "tier-"]), "configmap/c unlabeled\n");
    assert_eq!(ok(&["annotate", "configmap", "c", "why=because"]), "configmap/c annotated\n");
    assert_eq!(ok(&["patch", "configmap", "c", "--type=merge", "-p", r#"{"data":{"a":null,"b":"2"}}"#]), "configmap/c patched\n");
    assert_eq!(ok(&["get", "configmap", "c", "-o", "jsonpath={.data}"]), r#"{"b":"2"}"#);
    assert_eq!(
        ok(&["patch", "configmap", "c", "--type=json", "-p", r#"[{"op":"replace","path":"/data/b","value":"3"}]"#]),
        "configmap/c patched\n"
    );
    assert_eq!(ok(&["patch", "configmap", "c", "--type=merge", "-p", r#"{"data":{"b":"3"}}"#]), "configmap/c patched (no change)\n");
    let env = r#"{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"A","value":"b"}]}]}}}}"#;
    assert_eq!(ok(&["patch", "deployment", "web", "-p", env]), "deployment.apps/web patched\n");
    assert_eq!(
        ok(&["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"]),
        BUSYBOX,
        "a strategic patch merges lists by name"
    );
    cluster.rolled_out("deployment/web");

    let mut edit = cluster.kubectl_command(&["edit", "configmap", "c"]);
    let edited = testkit::process::run(edit.env("EDITOR", "sed -i s/because/therefore/"), b"").unwrap();
    assert_eq!(edited.ok(), "configmap/c edited\n");
    says(&ok(&["get", "configmap", "c", "-o", "yaml"]), &["why: therefore"]);

    let mine = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: mine}\n";
    let apply = |who: &str, text: &str| cluster.kubectl_with(&["apply", "--server-side", "--field-manager", who, "-f", "-"], text);
    assert_eq!(apply("me", mine).ok(), "configmap/applied serverside-applied\n");
    let conflict = apply("you", &mine.replace("a: mine", "a: yours")).failed();
    says(&conflict, &["Apply failed with 1 conflict: conflict with \"me\": .data.a"]);

    assert_eq!(ok(&["scale", "deployment", "web", "--replicas=3"]), "deployment.apps/web scaled\n");
    cluster.rolled_out("deployment/web");
    assert_eq!(ok(&["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"]), "3");
    assert_eq!(ok(&["scale", "deployment", "web", "--replicas=0"]), "deployment.apps/web scaled\n");
    eventually("no pods", || if cluster.pods("app=web").is_empty() { Ok(()) } else { Err(String::new()) });
}

#[test]
fn run_expose_and_delete() {
    let cluster = Cluster::start();
    let ok = |args: &[&str]| cluster.kubectl_ok(args);
    let said =
        ok(&["run", "echo", "--image", BUSYBOX, "--port=8080", "--labels=app=echo", "--", "httpd", "-f", "-p", "8080", "-h", "/etc"]);
    assert_eq!(said, "pod/echo created\n");
    ready(&cluster, "echo");
    assert_eq!(ok(&["expose", "pod", "echo", "--port=80", "--target-port=8080"]), "service/echo exposed\n");
    let address = ok(&["get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}"]);
    eventually("an answer", || cluster.http_get(Place::Node, &format!("http://{address}/group")).map(drop).map_err(|e| e.to_string()));
    says(&ok(&["get", "endpointslices", "-l", "kubernetes.io/service-name=echo"]), &["IPv4", "8080", "10.42.0."]);

    assert_eq!(ok(&["delete", "service", "echo"]), "service \"echo\" deleted from default namespace\n");
    assert!(cluster.http_get(Place::Node, &format!("http://{address}/group")).is_err(), "an address that nobody owns is refused");
    assert_eq!(ok(&["delete", "pod", "echo", "--now"]), "pod \"echo\" deleted from default namespace\n");
    assert_eq!(cluster.kubectl(&["delete", "pod", "echo"]).failed(), "Error from server (NotFound): pods \"echo\" not found\n");
    ok(&["create", "namespace", "full"]);
    ok(&["-n", "full", "create", "configmap", "inside"]);
    ok(&["-n", "full", "create", "deployment", "web", "--image", BUSYBOX, "--", "sleep", "100000"]);
    assert_eq!(ok(&["delete", "namespace", "full"]), "namespace \"full\" deleted\n");
    cluster.kubectl(&["get", "namespace", "full"]).failed();
    assert_eq!(ok(&["-n", "full", "get", "pods", "-o", "name"]), "");
}
