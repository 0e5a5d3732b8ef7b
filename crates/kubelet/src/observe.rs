//! Asks the runtime for all it has of one pod.

use std::path::Path;

use cri::v1;
use cri::{Result, RuntimeService};

use crate::labels;
use crate::logs;
use crate::view::{RunState, Sandbox, Seen, View};

/// The longest termination message, in bytes.
const MESSAGE_MAX: usize = 4096;
/// The most bytes, and lines, of a termination message taken from the log.
const FALLBACK_MAX: usize = 2048;
const FALLBACK_LINES: u64 = 80;

/// The pod's sandboxes and containers, newest first. `previous` saves reading termination messages again.
pub async fn pod(runtime: &dyn RuntimeService, uid: &str, previous: &View) -> Result<View> {
    let filter = v1::PodSandboxFilter { label_selector: labels::of_pod(uid), ..v1::PodSandboxFilter::default() };
    let listed = runtime.list_pod_sandbox(v1::ListPodSandboxRequest { filter: Some(filter) }).await?;
    let mut view = View::default();
    for sandbox in listed.items {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.id, verbose: false };
        match runtime.pod_sandbox_status(request).await {
            Ok(answer) => view.sandboxes.extend(answer.status.map(Sandbox::from)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let filter = v1::ContainerFilter { label_selector: labels::of_pod(uid), ..v1::ContainerFilter::default() };
    let listed = runtime.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await?;
    for container in listed.containers {
        // An end does not change any more.
        if let Some(known) = previous.by_id(&container.id).filter(|c| c.state == RunState::Exited) {
            view.containers.push(known.clone());
            continue;
        }
        let request = v1::ContainerStatusRequest { container_id: container.id, verbose: false };
        match runtime.container_status(request).await {
            Ok(answer) => view.containers.extend(answer.status.map(seen)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    view.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.attempt)));
    view.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.noted.restart_count)));
    Ok(view)
}

fn seen(status: v1::ContainerStatus) -> Seen {
    let mut seen = Seen::from(status);
    if seen.state == RunState::Exited {
        let said = termination_message(&seen);
        if !said.is_empty() {
            let lead = if seen.message.is_empty() { "" } else { ": " };
            seen.message = format!("{}{lead}{said}", seen.message);
        }
    }
    seen
}

/// What the container left in its termination message file, or at the end of its log if its policy says so.
fn termination_message(seen: &Seen) -> String {
    let noted = &seen.noted;
    let fallback = noted.termination_policy == "FallbackToLogsOnError" && seen.exit_code != 0 && seen.reason != "ContainerCannotRun";
    let file = seen.mounts.iter().find(|m| m.container_path == noted.termination_path && !noted.termination_path.is_empty());
    let text = match file.map(|m| tail(Path::new(&m.host_path))) {
        Some(Ok(text)) => text,
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => return format!("Error on reading termination log: {error}"),
        _ => String::new(),
    };
    if text.is_empty() && fallback {
        return logs::last_lines(Path::new(&seen.log_path), FALLBACK_LINES, FALLBACK_MAX);
    }
    text
}

fn tail(path: &Path) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MESSAGE_MAX as u64)))?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_MAX as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
