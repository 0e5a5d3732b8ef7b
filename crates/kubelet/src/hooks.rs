//! What runs after a container's start and before its stop.

use std::time::Duration;

use client::EventType;
use cri::v1;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use tokio::net::TcpStream;

use crate::machine::Machine;
use crate::probe::check;
use crate::probe::http::{self, Request};
use crate::spec;

/// The longest that a hook's HTTP request may take; commands and sleeps are bounded by whoever waits for them.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a hook; the error is the text of the container's waiting message.
pub async fn run(
    machine: &Machine,
    pod: &Pod,
    container: &Container,
    id: &str,
    pod_ip: &str,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    let who = format!("for Container {:?} in Pod {:?} failed - error:", container.name, spec::label(pod));
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: 0 };
        return match machine.deps.runtime.exec_sync(request).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => {
                let output = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
                let code = answer.exit_code;
                Err(format!("Exec lifecycle hook ([{shown}]) {who} command '{shown}' exited with {code}: {output}, message: {output:?}"))
            }
            Err(error) => Err(format!("Exec lifecycle hook ([{shown}]) {who} {error}, message: \"\"")),
        };
    }
    if let Some(action) = &hook.http_get {
        let path = action.path.clone().unwrap_or_default();
        let request = Request::new(action, container, pod_ip, "lifecycle")?;
        return ask(machine, pod, request).await.map_err(|error| format!("HTTP lifecycle hook ({path}) {who} {error}"));
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(socket) = &hook.tcp_socket {
        let host = socket.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod_ip.to_owned());
        let port = check::port(&socket.port, container)?;
        let connected = tokio::time::timeout(HTTP_TIMEOUT, TcpStream::connect((host.as_str(), port))).await;
        return match connected {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("TCP lifecycle hook {who} {}", http::dial_error(&http::join(&host, port), &error))),
            Err(_) => Err(format!("TCP lifecycle hook {who} i/o timeout")),
        };
    }
    Err("Cannot run handler: invalid handler".into())
}

/// Any answer is fine. A server that answers plainly to TLS is asked plainly.
async fn ask(machine: &Machine, pod: &Pod, request: Request) -> Result<(), String> {
    let asked = |request: Request| async move {
        let url = request.url();
        match tokio::time::timeout(HTTP_TIMEOUT, http::get(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("Get {url:?}: {error}")),
            Err(_) => Err(format!("Get {url:?}: context deadline exceeded")),
        }
    };
    let first = asked(request.clone()).await;
    if first.is_ok() || !request.is_https() || asked(request.clone().plain()).await.is_err() {
        return first;
    }
    let message = format!("request to HTTPS lifecycle hook {} got HTTP response, retry with HTTP succeeded", request.url());
    machine.event(pod, EventType::Warning, "LifecycleHTTPFallback", message);
    Ok(())
}
