//! Container logs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cri::{RuntimeService, v1};
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;

use super::query::Query;
use super::reply::{self, Body};
use super::{Shared, stream};
use crate::logs::{self, Ended, Options, Streams};
use crate::spec;
use crate::view::{RunState, Seen};

/// Blocks on their way to the client; the log is not read on while they wait.
const BLOCKS: usize = 4;

/// Answers with the log of a container.
pub(super) async fn answer(shared: &Shared, namespace: &str, name: &str, container: &str, query: &Query) -> Response<Body> {
    let options = match options(query, shared.machine.config.clock.now()) {
        Ok(options) => options,
        Err(message) => return reply::text(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let Some(pod) = shared.registry.find(namespace, name) else {
        return reply::text(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist"));
    };
    if spec::find(spec::of(&pod), container).is_none() {
        return reply::text(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}"));
    }
    let instances = match stream::instances(shared, &pod, container).await {
        Ok(instances) => instances,
        Err(error) => return reply::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let chosen = match choose(&pod, container, &instances, query.is_on("previous")) {
        Ok(seen) => seen,
        Err(message) => return reply::text(StatusCode::BAD_REQUEST, message),
    };
    let path = PathBuf::from(&chosen.log_path);
    if let Err(error) = tokio::fs::metadata(&path).await {
        return reply::text(StatusCode::BAD_REQUEST, format!("failed to open log file of container {container:?}: {error}"));
    }
    let watched = Watched { runtime: shared.machine.deps.runtime.clone(), id: chosen.id.clone() };
    let (sink, blocks) = mpsc::channel(BLOCKS);
    tokio::spawn(async move {
        if let Err(error) = logs::copy(&path, &options, watched, sink).await {
            tracing::debug!(path = %path.display(), %error, "reading a log");
        }
    });
    reply::growing(blocks)
}

fn options(query: &Query, now: std::time::SystemTime) -> Result<Options, String> {
    let invalid = |what: &str| format!("Invalid request: {what}");
    let since = match (query.number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(_), Some(_)) => return Err(invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")),
        (Some(0), None) => return Err(invalid("sinceSeconds: must be greater than 0")),
        (Some(seconds), None) => Timestamp::try_from(now.checked_sub(Duration::from_secs(seconds)).unwrap_or(std::time::UNIX_EPOCH)).ok(),
        (None, Some(time)) => Some(time.parse().map_err(|_| invalid("sinceTime"))?),
        (None, None) => None,
    };
    let streams = match query.get("stream") {
        None | Some("All") => Streams::All,
        Some("Stdout") => Streams::Stdout,
        Some("Stderr") => Streams::Stderr,
        Some(other) => return Err(format!("invalid stream type {other:?}")),
    };
    let limit_bytes = query.number("limitBytes")?;
    if limit_bytes == Some(0) {
        return Err(invalid("limitBytes: must be greater than 0"));
    }
    Ok(Options {
        follow: query.is_on("follow"),
        tail: query.number("tailLines")?,
        since,
        limit_bytes,
        timestamps: query.is_on("timestamps"),
        streams,
    })
}

/// The instance whose log is meant; `instances` are newest first.
fn choose<'a>(pod: &Pod, container: &str, instances: &'a [Seen], previous: bool) -> Result<&'a Seen, String> {
    let name = spec::name(pod);
    let waiting = status_of(pod, container).and_then(|s| s.state.as_ref()?.waiting.clone());
    let begun: Vec<&Seen> = instances.iter().filter(|c| c.state != RunState::Created).collect();
    let newest = begun.first().copied();
    if previous {
        // A container that waits to start again has ended last with its newest instance.
        let restarting = waiting.is_some() && newest.is_some_and(|c| c.state == RunState::Exited);
        let at = usize::from(!restarting);
        return begun.get(at).copied().ok_or_else(|| format!("previous terminated container {container:?} in pod {name:?} not found"));
    }
    newest.ok_or_else(|| {
        let reason = waiting.and_then(|w| w.reason).unwrap_or_default();
        let why = match reason.as_str() {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            "" => return format!("container {container:?} in pod {name:?} is not available"),
            other => other,
        };
        format!("container {container:?} in pod {name:?} is waiting to start: {why}")
    })
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|s| s.name == container)
}

/// The end of one container, asked of the runtime.
struct Watched {
    runtime: Arc<dyn RuntimeService>,
    id: String,
}

impl Ended for Watched {
    async fn ended(&mut self) -> bool {
        let request = v1::ContainerStatusRequest { container_id: self.id.clone(), verbose: false };
        match self.runtime.container_status(request).await {
            Ok(answer) => answer.status.is_none_or(|s| s.state() == v1::ContainerState::ContainerExited),
            Err(error) => error.is_not_found(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{pod, view};
    use serde_json::json;

    #[test]
    fn the_log_that_is_meant() {
        let mut p = pod(json!({"containers": [{"name": "c"}]}));
        let of = |p: &Pod, lines: &[&str], previous| choose(p, "c", &view(p, lines).containers, previous).map(|s| s.created_at);
        assert_eq!(of(&p, &["c running", "c exited 1"], false), Ok(100));
        assert_eq!(of(&p, &["c running", "c exited 1"], true), Ok(99));
        assert_eq!(of(&p, &["c running"], true), Err("previous terminated container \"c\" in pod \"p\" not found".into()));
        p.status = serde_json::from_value(json!({"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]})).unwrap();
        assert_eq!(of(&p, &["c exited 1"], true), Ok(100));
        assert_eq!(of(&p, &[], false), Err("container \"c\" in pod \"p\" is waiting to start: CrashLoopBackOff".into()));
    }

    #[test]
    fn options_are_checked() {
        let of = |text: &str| options(&Query::parse(text), std::time::UNIX_EPOCH + Duration::from_secs(100));
        let all = of("follow=true&tailLines=3&sinceSeconds=10&timestamps=true&limitBytes=9").unwrap();
        assert!(all.follow && all.timestamps);
        assert_eq!((all.tail, all.limit_bytes, all.since.unwrap().as_second()), (Some(3), Some(9), 90));
        assert!(of("tailLines=-1").is_err() && of("limitBytes=0").is_err() && of("sinceTime=x").is_err());
        assert!(of("sinceTime=2026-01-01T00%3A00%3A00Z").is_ok());
    }
}
