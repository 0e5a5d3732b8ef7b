//! Exec, attach and port-forward: from the client's connection to the runtime.

use cri::v1;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use streaming::remote_command::{self, Wanted};
use streaming::{ExitStatus, port_forward as forwarding};
use tokio::io::AsyncWriteExt as _;

use super::Shared;
use super::query::Query;
use super::reply::{self, Body};
use crate::labels;
use crate::observe;
use crate::spec;
use crate::view::{RunState, Seen, View};

/// The containers of a name, newest first.
pub(super) async fn instances(shared: &Shared, pod: &Pod, container: &str) -> cri::Result<Vec<Seen>> {
    let runtime = &shared.machine.deps.runtime;
    let mut label_selector = labels::of_pod(spec::uid(pod));
    label_selector.insert(labels::CONTAINER_NAME.to_owned(), container.to_owned());
    let filter = v1::ContainerFilter { label_selector, ..v1::ContainerFilter::default() };
    let listed = runtime.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await?;
    let mut found = Vec::new();
    for container in listed.containers {
        let request = v1::ContainerStatusRequest { container_id: container.id, verbose: false };
        match runtime.container_status(request).await {
            Ok(answer) => found.extend(answer.status.map(Seen::from)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.noted.restart_count)));
    Ok(found)
}

/// The running container of a name, or the answer that says why there is none.
async fn running(shared: &Shared, namespace: &str, name: &str, container: &str) -> Result<String, Box<Response<Body>>> {
    let not_found = |message: String| Box::new(reply::text(StatusCode::NOT_FOUND, message));
    let pod = shared.registry.find(namespace, name).ok_or_else(|| not_found("pod does not exist".to_owned()))?;
    let found = instances(shared, &pod, container).await;
    let found = found.map_err(|e| Box::new(reply::text(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())))?;
    let running = found.into_iter().find(|c| c.state == RunState::Running);
    running.map(|c| c.id).ok_or_else(|| not_found(format!("container not found ({container:?})")))
}

fn wanted(query: &Query) -> Wanted {
    let any = |names: [&str; 2]| names.iter().any(|n| query.is_on(n));
    let tty = query.is_on("tty");
    // A terminal has one output stream.
    Wanted { stdin: any(["input", "stdin"]), stdout: any(["output", "stdout"]), stderr: any(["error", "stderr"]) && !tty, tty }
}

/// Runs a command in a container.
pub(super) async fn exec(
    shared: &Shared,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let wanted = wanted(query);
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return reply::text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let container_id = match running(shared, namespace, pod, container).await {
        Ok(id) => id,
        Err(answer) => return *answer,
    };
    let (answer, pending) = match remote_command::accept(&mut request, wanted) {
        Ok(accepted) => accepted,
        Err(error) => return refused(&error),
    };
    let call = v1::ExecRequest {
        container_id,
        cmd: query.all("command"),
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    let streaming = shared.machine.deps.streaming.clone();
    tokio::spawn(async move {
        finish(pending, async |streams| streaming.exec(call, streams).await).await;
    });
    reply::empty(answer)
}

/// Joins the client to a container's main process.
pub(super) async fn attach(
    shared: &Shared,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let wanted = wanted(query);
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        return reply::text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let container_id = match running(shared, namespace, pod, container).await {
        Ok(id) => id,
        Err(answer) => return *answer,
    };
    let (answer, pending) = match remote_command::accept(&mut request, wanted) {
        Ok(accepted) => accepted,
        Err(error) => return refused(&error),
    };
    let call = v1::AttachRequest { container_id, tty: wanted.tty, stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr };
    let streaming = shared.machine.deps.streaming.clone();
    tokio::spawn(async move {
        finish(pending, async |streams| streaming.attach(call, streams).await).await;
    });
    reply::empty(answer)
}

async fn finish(pending: remote_command::Pending, work: impl AsyncFnOnce(streaming::Streams) -> cri::Result<ExitStatus>) {
    let (streams, finisher) = match pending.open().await {
        Ok(opened) => opened,
        Err(error) => return tracing::debug!(%error, "a client did not switch protocols"),
    };
    let status = work(streams).await.unwrap_or_else(|error| ExitStatus::Failed(error.to_string()));
    if let Err(error) = finisher.finish(&status).await {
        tracing::debug!(%error, "telling a client how its command ended");
    }
}

fn refused(error: &streaming::Error) -> Response<Body> {
    let code = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    reply::text(code, error.to_string())
}

/// Runs a command and answers with its output.
pub(super) async fn run(shared: &Shared, namespace: &str, pod: &str, container: &str, query: &Query) -> Response<Body> {
    let container_id = match running(shared, namespace, pod, container).await {
        Ok(id) => id,
        Err(answer) => return *answer,
    };
    let cmd = query.get("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
    let call = v1::ExecSyncRequest { container_id, cmd, timeout: 0 };
    match shared.machine.deps.runtime.exec_sync(call).await {
        Ok(answer) => {
            let code = if answer.exit_code == 0 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            reply::text(code, String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned())
        }
        Err(error) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Forwards connections to ports of a pod.
pub(super) async fn port_forward(
    shared: &Shared,
    namespace: &str,
    name: &str,
    query: &Query,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let Some(pod) = shared.registry.find(namespace, name) else { return reply::text(StatusCode::NOT_FOUND, "pod does not exist") };
    let view = match observe::pod(shared.machine.deps.runtime.as_ref(), spec::uid(&pod), &View::default()).await {
        Ok(view) => view,
        Err(error) => return reply::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let Some(sandbox) = view.ready_sandbox().map(|s| s.id.clone()) else {
        return reply::text(StatusCode::NOT_FOUND, format!("pod not found ({name:?})"));
    };
    let ports = query.all("port").iter().chain(&query.all("ports")).flat_map(|p| p.split(',')).filter_map(|p| p.parse().ok()).collect();
    let (answer, pending) = match forwarding::accept(&mut request, ports) {
        Ok(accepted) => accepted,
        Err(error) => return refused(&error),
    };
    let streaming = shared.machine.deps.streaming.clone();
    let uid = spec::uid(&pod).to_owned();
    tokio::spawn(async move {
        let mut connections = match pending.open().await {
            Ok(connections) => connections,
            Err(error) => return tracing::debug!(%error, "a client did not switch protocols"),
        };
        while let Some(connection) = connections.recv().await {
            let (streaming, sandbox, uid) = (streaming.clone(), sandbox.clone(), uid.clone());
            tokio::spawn(async move { forward(streaming.as_ref(), &sandbox, &uid, connection).await });
        }
    });
    reply::empty(answer)
}

async fn forward(streaming: &dyn cri::StreamingService, sandbox: &str, uid: &str, connection: forwarding::Connection) {
    let port = connection.port;
    let (reader, writer, mut errors) = connection.into_parts();
    let stream = Box::new(tokio::io::join(reader, writer));
    if let Err(error) = streaming.port_forward(sandbox, port, stream).await {
        let message = format!("error forwarding port {port} to pod {sandbox}, uid {uid}: {error}");
        // The client may be gone already.
        let _ = errors.write_all(message.as_bytes()).await;
    }
    let _ = errors.shutdown().await;
}
