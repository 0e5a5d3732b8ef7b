//! One look at a container.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::container::expand;
use crate::machine::Machine;
use crate::spec::Kind;
use crate::time;

/// The most output of a command that is told.
const OUTPUT_MAX: usize = 10 << 10;

/// What is looked at.
pub struct Target {
    /// The kubelet.
    pub machine: Arc<Machine>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The list that the container stands in.
    pub kind: Kind,
    /// The container.
    pub container: Container,
    /// The runtime's identifier.
    pub id: String,
    /// The pod's address.
    pub pod_ip: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Success,
    /// All is well, but somebody should know this.
    Warning(String),
    /// Not well, for this reason.
    Failure(String),
    /// It could not be found out.
    Error(String),
}

/// Looks once.
pub async fn run(target: &Target, probe: &Probe) -> Outcome {
    let seconds = probe.timeout_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(1).max(1);
    let timeout = Duration::from_secs(seconds);
    if let Some(exec) = &probe.exec {
        return command(target, exec.command.as_deref().unwrap_or_default(), seconds).await;
    }
    if let Some(action) = &probe.http_get {
        return match http::Request::new(action, &target.container, &target.pod_ip, "probe") {
            Err(error) => Outcome::Error(error),
            Ok(request) => page(request, timeout).await,
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = socket.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| target.pod_ip.clone());
        return match port(&socket.port, &target.container) {
            Err(error) => Outcome::Error(error),
            Ok(port) => connect(&host, port, timeout).await,
        };
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port).unwrap_or(0);
        return grpc::check(&target.pod_ip, port, action.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Outcome::Error("missing probe handler".into())
}

/// A port by number or by the container's name for it.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    let invalid = || {
        format!(
            "invalid port number: {}",
            match port {
                IntOrString::Int(number) => number.to_string(),
                IntOrString::String(name) => name.clone(),
            }
        )
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(invalid)
}

async fn command(target: &Target, command: &[String], seconds: u64) -> Outcome {
    // Commands see only what the specification states literally.
    let stated = target.container.env.iter().flatten().filter_map(|e| Some((e.name.clone(), e.value.clone()?)));
    let values: HashMap<String, String> = stated.collect();
    let request = cri::v1::ExecSyncRequest {
        container_id: target.id.clone(),
        cmd: command.iter().map(|c| expand::expand(c, &values)).collect(),
        timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
    };
    match target.machine.deps.runtime.exec_sync(request).await {
        Ok(answer) if answer.exit_code == 0 => Outcome::Success,
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            output.truncate(OUTPUT_MAX);
            Outcome::Failure(String::from_utf8_lossy(&output).into_owned())
        }
        Err(cri::Error::DeadlineExceeded(text)) => Outcome::Failure(format!("command timed out: {text}")),
        Err(error) => Outcome::Error(format!("rpc error: code = {:?} desc = {error}", error.code())),
    }
}

async fn page(request: http::Request, timeout: Duration) -> Outcome {
    let url = request.url();
    match tokio::time::timeout(timeout, http::get(request)).await {
        Err(_) => Outcome::Failure(format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
        Ok(Err(error)) => Outcome::Failure(format!("Get {url:?}: {error}")),
        Ok(Ok(answer)) => match answer.status {
            200..300 => Outcome::Success,
            300..400 => Outcome::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
            status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        },
    }
}

async fn connect(host: &str, port: u16, timeout: Duration) -> Outcome {
    let address = http::join(host, port);
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(http::dial_error(&address, &error)),
        Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout after {}", time::go(timeout))),
    }
}
