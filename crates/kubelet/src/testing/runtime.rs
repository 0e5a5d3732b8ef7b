//! A runtime in memory that records what it is asked.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::SystemTime;

use async_trait::async_trait;
use cri::v1::{self, *};
use cri::{ContainerEvents, Duplex, Error, ImageService, Result, RuntimeService, StreamingService};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

pub(crate) struct Runtime {
    state: Mutex<State>,
    events: broadcast::Sender<ContainerEventResponse>,
}

#[derive(Default)]
struct State {
    next: u64,
    sandboxes: HashMap<String, PodSandboxStatus>,
    containers: HashMap<String, (String, ContainerStatus, ContainerConfig)>,
    calls: Vec<String>,
    /// Images that can be pulled but are not there yet.
    pullable: Vec<String>,
    images: Vec<String>,
    exec_exit: i32,
}

impl Default for Runtime {
    fn default() -> Self {
        let (events, _) = broadcast::channel(1024);
        let state = State { images: vec!["img:1".into(), "img:2".into()], ..State::default() };
        Self { state: Mutex::new(state), events }
    }
}

fn now() -> i64 {
    crate::time::nanos(SystemTime::now())
}

impl Runtime {
    /// What was asked, as `verb name`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// The configuration of the newest container of a name.
    pub(crate) fn config_of(&self, name: &str) -> ContainerConfig {
        let state = self.state.lock().unwrap();
        let newest =
            state.containers.values().filter(|(_, s, _)| s.metadata.as_ref().unwrap().name == name).max_by_key(|(_, s, _)| s.created_at);
        newest.unwrap().2.clone()
    }

    /// Ends the running container of a name.
    pub(crate) fn exit(&self, name: &str, code: i32) {
        let id = {
            let state = self.state.lock().unwrap();
            let running = |s: &ContainerStatus| s.state() == ContainerState::ContainerRunning && s.metadata.as_ref().unwrap().name == name;
            state.containers.values().find(|(_, s, _)| running(s)).map(|(_, s, _)| s.id.clone())
        };
        self.end(&id.expect("no such container runs"), code);
    }

    pub(crate) fn set_exec_exit(&self, code: i32) {
        self.state.lock().unwrap().exec_exit = code;
    }

    pub(crate) fn allow_pull(&self, image: &str) {
        self.state.lock().unwrap().pullable.push(image.into());
    }

    fn end(&self, id: &str, code: i32) {
        let mut state = self.state.lock().unwrap();
        let Some((sandbox, status, _)) = state.containers.get_mut(id) else { return };
        if status.state() == ContainerState::ContainerRunning {
            status.set_state(ContainerState::ContainerExited);
            status.finished_at = now();
            status.exit_code = code;
            status.reason = if code == 0 { "Completed".into() } else { "Error".into() };
            let sandbox = sandbox.clone();
            self.tell(&state, &sandbox, id, ContainerEventType::ContainerStoppedEvent);
        }
    }

    fn tell(&self, state: &State, sandbox: &str, id: &str, kind: ContainerEventType) {
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind as i32,
            pod_sandbox_status: state.sandboxes.get(sandbox).cloned(),
            ..Default::default()
        };
        let _ = self.events.send(event);
    }

    fn call(&self, what: String) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(what);
        state
    }
}

fn selected(labels: &HashMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: VersionRequest) -> Result<VersionResponse> {
        Ok(VersionResponse { runtime_name: "fake".into(), runtime_version: "1".into(), ..Default::default() })
    }
    async fn status(&self, _: StatusRequest) -> Result<StatusResponse> {
        Ok(StatusResponse::default())
    }
    async fn runtime_config(&self, _: RuntimeConfigRequest) -> Result<RuntimeConfigResponse> {
        Ok(RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 }) })
    }
    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Result<RunPodSandboxResponse> {
        let config = request.config.unwrap();
        let mut state = self.call(format!("sandbox {}", config.metadata.as_ref().unwrap().name));
        state.next += 1;
        let id = format!("s{}", state.next);
        let status = PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata,
            created_at: now(),
            network: Some(PodSandboxNetworkStatus { ip: format!("10.0.0.{}", state.next), ..Default::default() }),
            labels: config.labels,
            ..Default::default()
        };
        state.sandboxes.insert(id.clone(), status);
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }
    async fn stop_pod_sandbox(&self, request: StopPodSandboxRequest) -> Result<StopPodSandboxResponse> {
        let mut state = self.call(format!("stop-sandbox {}", request.pod_sandbox_id));
        if let Some(sandbox) = state.sandboxes.get_mut(&request.pod_sandbox_id) {
            sandbox.set_state(PodSandboxState::SandboxNotready);
        }
        Ok(StopPodSandboxResponse {})
    }
    async fn remove_pod_sandbox(&self, request: RemovePodSandboxRequest) -> Result<RemovePodSandboxResponse> {
        let mut state = self.call(format!("remove-sandbox {}", request.pod_sandbox_id));
        state.sandboxes.remove(&request.pod_sandbox_id);
        state.containers.retain(|_, (sandbox, ..)| *sandbox != request.pod_sandbox_id);
        Ok(RemovePodSandboxResponse {})
    }
    async fn pod_sandbox_status(&self, request: PodSandboxStatusRequest) -> Result<PodSandboxStatusResponse> {
        let state = self.state.lock().unwrap();
        let found = state.sandboxes.get(&request.pod_sandbox_id).cloned();
        found
            .map(|s| PodSandboxStatusResponse { status: Some(s), ..Default::default() })
            .ok_or_else(|| Error::NotFound("no such sandbox".into()))
    }
    async fn list_pod_sandbox(&self, request: ListPodSandboxRequest) -> Result<ListPodSandboxResponse> {
        let selector = request.filter.unwrap_or_default().label_selector;
        let state = self.state.lock().unwrap();
        let items = state.sandboxes.values().filter(|s| selected(&s.labels, &selector));
        Ok(ListPodSandboxResponse {
            items: items.map(|s| PodSandbox { id: s.id.clone(), state: s.state, labels: s.labels.clone(), ..Default::default() }).collect(),
        })
    }
    async fn create_container(&self, request: CreateContainerRequest) -> Result<CreateContainerResponse> {
        let config = request.config.unwrap();
        let name = config.metadata.as_ref().unwrap().name.clone();
        let mut state = self.call(format!("create {name}"));
        state.next += 1;
        let id = format!("c{}", state.next);
        let status = ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            created_at: now(),
            image: config.image.clone(),
            image_ref: "img@sha256:1".into(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: format!("{}/{}", request.sandbox_config.unwrap().log_directory, config.log_path),
            ..Default::default()
        };
        state.containers.insert(id.clone(), (request.pod_sandbox_id, status, config));
        Ok(CreateContainerResponse { container_id: id })
    }
    async fn start_container(&self, request: StartContainerRequest) -> Result<StartContainerResponse> {
        let mut state = self.state.lock().unwrap();
        let (sandbox, status, _) = state.containers.get_mut(&request.container_id).unwrap();
        status.set_state(ContainerState::ContainerRunning);
        status.started_at = now();
        let (sandbox, name) = (sandbox.clone(), status.metadata.as_ref().unwrap().name.clone());
        state.calls.push(format!("start {name}"));
        self.tell(&state, &sandbox, &request.container_id, ContainerEventType::ContainerStartedEvent);
        Ok(StartContainerResponse {})
    }
    async fn stop_container(&self, request: StopContainerRequest) -> Result<StopContainerResponse> {
        let name = {
            let state = self.state.lock().unwrap();
            state.containers.get(&request.container_id).map(|(_, s, _)| s.metadata.as_ref().unwrap().name.clone())
        };
        drop(self.call(format!("stop {} {}", name.unwrap_or_default(), request.timeout)));
        self.end(&request.container_id, 143);
        Ok(StopContainerResponse {})
    }
    async fn remove_container(&self, request: RemoveContainerRequest) -> Result<RemoveContainerResponse> {
        self.call("remove".into()).containers.remove(&request.container_id);
        Ok(RemoveContainerResponse {})
    }
    async fn list_containers(&self, request: ListContainersRequest) -> Result<ListContainersResponse> {
        let filter = request.filter.unwrap_or_default();
        let state = self.state.lock().unwrap();
        let rows = state.containers.values().filter(|(sandbox, s, _)| {
            selected(&s.labels, &filter.label_selector) && (filter.pod_sandbox_id.is_empty() || filter.pod_sandbox_id == *sandbox)
        });
        let containers = rows.map(|(sandbox, s, _)| Container {
            id: s.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            state: s.state,
            labels: s.labels.clone(),
            annotations: s.annotations.clone(),
            ..Default::default()
        });
        Ok(ListContainersResponse { containers: containers.collect() })
    }
    async fn container_status(&self, request: ContainerStatusRequest) -> Result<ContainerStatusResponse> {
        let state = self.state.lock().unwrap();
        let found = state.containers.get(&request.container_id).map(|(_, s, _)| s.clone());
        found
            .map(|s| ContainerStatusResponse { status: Some(s), ..Default::default() })
            .ok_or_else(|| Error::NotFound("no such container".into()))
    }
    async fn update_container_resources(&self, _: UpdateContainerResourcesRequest) -> Result<UpdateContainerResourcesResponse> {
        Err(Error::Unimplemented(String::new()))
    }
    async fn reopen_container_log(&self, _: ReopenContainerLogRequest) -> Result<ReopenContainerLogResponse> {
        Err(Error::Unimplemented(String::new()))
    }
    async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse> {
        let exit_code = self.call(format!("exec {}", request.cmd.join(" "))).exec_exit;
        Ok(ExecSyncResponse { exit_code, ..Default::default() })
    }
    async fn container_stats(&self, _: ContainerStatsRequest) -> Result<ContainerStatsResponse> {
        Err(Error::Unimplemented(String::new()))
    }
    async fn list_container_stats(&self, _: ListContainerStatsRequest) -> Result<ListContainerStatsResponse> {
        Ok(ListContainerStatsResponse::default())
    }
    async fn pod_sandbox_stats(&self, _: PodSandboxStatsRequest) -> Result<PodSandboxStatsResponse> {
        Err(Error::Unimplemented(String::new()))
    }
    async fn list_pod_sandbox_stats(&self, _: ListPodSandboxStatsRequest) -> Result<ListPodSandboxStatsResponse> {
        Ok(ListPodSandboxStatsResponse::default())
    }
    async fn container_events(&self) -> Result<ContainerEvents> {
        let lost = |_| Error::Unavailable("events were lost".into());
        Ok(Box::pin(BroadcastStream::new(self.events.subscribe()).map(move |e| e.map_err(lost))))
    }
}

#[async_trait]
impl ImageService for Runtime {
    async fn list_images(&self, _: ListImagesRequest) -> Result<ListImagesResponse> {
        Ok(ListImagesResponse::default())
    }
    async fn image_status(&self, request: ImageStatusRequest) -> Result<ImageStatusResponse> {
        let name = request.image.unwrap().image;
        let found = self.state.lock().unwrap().images.contains(&name);
        Ok(ImageStatusResponse { image: found.then(|| v1::Image { id: name, ..Default::default() }), ..Default::default() })
    }
    async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse> {
        let name = request.image.unwrap().image;
        let mut state = self.call(format!("pull {name}"));
        if !state.pullable.contains(&name) {
            return Err(Error::NotFound(format!("{name}: not found")));
        }
        state.images.push(name.clone());
        Ok(PullImageResponse { image_ref: name })
    }
    async fn remove_image(&self, _: RemoveImageRequest) -> Result<RemoveImageResponse> {
        Ok(RemoveImageResponse {})
    }
    async fn image_fs_info(&self, _: ImageFsInfoRequest) -> Result<ImageFsInfoResponse> {
        Ok(ImageFsInfoResponse::default())
    }
}

#[async_trait]
impl StreamingService for Runtime {
    async fn exec(&self, request: ExecRequest, streams: streaming::Streams) -> Result<streaming::ExitStatus> {
        let mut out = streams.stdout.unwrap();
        out.write_all(request.cmd.join(" ").as_bytes()).await.unwrap();
        out.shutdown().await.unwrap();
        Ok(streaming::ExitStatus::Code(7))
    }
    async fn attach(&self, _: AttachRequest, _: streaming::Streams) -> Result<streaming::ExitStatus> {
        Ok(streaming::ExitStatus::Code(0))
    }
    async fn port_forward(&self, _: &str, port: u16, mut stream: Duplex) -> Result<()> {
        stream.write_all(format!("port {port}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        Ok(())
    }
}
