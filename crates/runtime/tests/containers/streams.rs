//! Exec, attach, port-forward and logs.

use std::pin::Pin;
use std::time::Duration;

use cri::{RuntimeService, StreamingService, v1};
use streaming::{ExitStatus, Streams, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::node::{Node, PATIENCE, log_text, shell_config};

pub async fn exec_collects_output(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    let done = node.exec(&id, "echo out; echo err >&2; exit 4").await;
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice(), done.exit_code), (&b"out\n"[..], &b"err\n"[..], 4));
    let big = node.exec(&id, "head -c 3000000 /dev/zero").await;
    assert_eq!(big.stdout.len(), 3_000_000);
    let cmd = ["/bin/sleep", "1000"].map(str::to_owned).to_vec();
    let late = node.runtime().exec_sync(v1::ExecSyncRequest { container_id: id.clone(), cmd, timeout: 1 }).await.unwrap_err();
    assert!(matches!(late, cri::Error::DeadlineExceeded(_)), "{late:?}");
    let left = node.stdout(&id, "sleep 0.1; ps | grep -c '[s]leep 1000'").await;
    assert_eq!(left, "1", "the command outlived its time");
    let missing = v1::ExecSyncRequest { container_id: id, cmd: vec!["nope".into()], timeout: 10 };
    assert!(node.runtime().exec_sync(missing).await.unwrap_err().to_string().contains("executable file not found in $PATH"));
}

struct Client {
    stdin: Option<DuplexStream>,
    stdout: DuplexStream,
    stderr: DuplexStream,
    resize: mpsc::Sender<TerminalSize>,
}

fn client() -> (Client, Streams) {
    let (stdin, their_stdin) = duplex(4096);
    let (stdout, their_stdout) = duplex(4096);
    let (stderr, their_stderr) = duplex(4096);
    let (resize, sizes) = mpsc::channel(4);
    let streams = Streams {
        stdin: Some(Box::pin(their_stdin)),
        stdout: Some(Box::pin(their_stdout) as Pin<Box<_>>),
        stderr: Some(Box::pin(their_stderr) as Pin<Box<_>>),
        resize: sizes,
    };
    (Client { stdin: Some(stdin), stdout, stderr, resize }, streams)
}

fn exec(id: &str, tty: bool, script: &str) -> v1::ExecRequest {
    let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    v1::ExecRequest { container_id: id.into(), cmd, tty, stdin: true, stdout: true, stderr: !tty }
}

pub async fn exec_with_streams(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    let (mut client, streams) = client();
    let typing = async {
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"typed").await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let _ = tokio::join!(client.stdout.read_to_string(&mut out), client.stderr.read_to_string(&mut err));
        (out, err)
    };
    let both = async { tokio::join!(node.runtime().exec(exec(&id, false, "cat; echo bad >&2; exit 2"), streams), typing) };
    let (status, (out, err)) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!((status.unwrap(), out.as_str(), err.as_str()), (ExitStatus::Code(2), "typed", "bad\n"));
}

async fn read_until(from: &mut DuplexStream, wanted: &str) -> String {
    let mut seen = String::new();
    let mut chunk = [0u8; 256];
    while !seen.contains(wanted) {
        let count = tokio::time::timeout(PATIENCE, from.read(&mut chunk))
            .await
            .unwrap_or_else(|_| panic!("{wanted:?} is not in {seen:?}"))
            .unwrap();
        assert_ne!(count, 0, "{wanted:?} is not in {seen:?}");
        seen += &String::from_utf8_lossy(&chunk[..count]);
    }
    seen
}

pub async fn exec_with_a_terminal_resizes(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "exec sleep 1000").await;
    let (mut client, streams) = client();
    let runtime = node.runtime().clone();
    let running =
        tokio::spawn(async move { runtime.exec(exec(&id, true, "tty; while read x; do stty size; done; exit 8"), streams).await });
    read_until(&mut client.stdout, "/dev/pts/0").await;
    let mut stdin = client.stdin.take().unwrap();
    client.resize.send(TerminalSize { width: 123, height: 45 }).await.unwrap();
    // The size arrives beside the keys, so it is asked for until it is there.
    let mut seen = String::new();
    for _ in 0..200 {
        stdin.write_all(b"\n").await.unwrap();
        let mut chunk = [0u8; 256];
        let count = client.stdout.read(&mut chunk).await.unwrap();
        seen += &String::from_utf8_lossy(&chunk[..count]);
        if seen.contains("45 123") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(seen.contains("45 123"), "{seen:?}");
    drop(stdin);
    let mut rest = Vec::new();
    let _ = client.stdout.read_to_end(&mut rest).await;
    assert_eq!(tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap(), ExitStatus::Code(8));
}

pub async fn attach_reaches_the_main_process(node: &Node) {
    let sandbox = node.sandbox("web").await;
    for tty in [false, true] {
        let config =
            v1::ContainerConfig { stdin: true, stdin_once: true, tty, ..shell_config("while read x; do echo got $x; done; exit 3") };
        let id = node.start(&sandbox, config).await;
        let (mut client, streams) = client();
        let runtime = node.runtime().clone();
        let request = v1::AttachRequest { container_id: id.clone(), stdin: true, tty, stdout: true, stderr: !tty };
        let running = tokio::spawn(async move { runtime.attach(request, streams).await });
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"one\n").await.unwrap();
        read_until(&mut client.stdout, "got one").await;
        drop(stdin);
        assert_eq!(node.ended(&id).await.exit_code, 3, "its input was closed");
        let mut rest = Vec::new();
        let _ = client.stdout.read_to_end(&mut rest).await;
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
        assert!(log_text(&node.status(&id).await.log_path).contains("got one"));
    }
}

pub async fn a_port_is_forwarded(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "nc -l -p 8080 -e /bin/sh -c 'read x; echo answer to $x'").await;
    node.stdout(&id, "while ! grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6; do sleep 0.01; done").await;
    let (mut ours, theirs) = duplex(4096);
    let talk = async {
        ours.write_all(b"question\n").await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (outcome, answer) = tokio::join!(node.runtime().port_forward(&sandbox, 8080, Box::new(theirs)), talk);
    outcome.unwrap();
    assert_eq!(answer, "answer to question\n");
    let refused = node.runtime().port_forward(&sandbox, 9, Box::new(duplex(1).0)).await.unwrap_err();
    assert!(refused.to_string().contains("failed to connect to localhost:9"), "{refused}");
}

pub async fn a_log_is_reopened(node: &Node) {
    let sandbox = node.sandbox("web").await;
    let id = node.shell(&sandbox, "echo first; while [ ! -e /data/go ]; do sleep 0.01; done; echo second; printf unfinished").await;
    let path = node.status(&id).await.log_path;
    while !std::fs::read_to_string(&path).unwrap().contains("first") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::rename(&path, format!("{path}.1")).unwrap();
    node.runtime().reopen_container_log(v1::ReopenContainerLogRequest { container_id: id.clone() }).await.unwrap();
    node.stdout(&id, "touch /data/go").await;
    node.ended(&id).await;
    assert_eq!(log_text(&path), "second\nunfinished\n");
    assert_eq!(log_text(&format!("{path}.1")), "first\n");
}
