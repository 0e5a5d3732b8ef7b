//! The CRI's traits on the built-in runtime.

use std::time::Duration;

use async_trait::async_trait;
use cri::v1;
use cri::{ContainerEvents, Duplex, ImageService, Result, RuntimeService, StreamingService};
use futures::StreamExt as _;
use streaming::{ExitStatus, Streams};
use tokio_stream::wrappers::BroadcastStream;

use super::Builtin;
use super::status::{self, selected};
use crate::wire::Call;

/// Seconds as the CRI gives them; negative ones count as none.
fn seconds(n: i64) -> Duration {
    Duration::from_secs(u64::try_from(n).unwrap_or(0))
}

#[async_trait]
impl RuntimeService for Builtin {
    async fn version(&self, _: v1::VersionRequest) -> Result<v1::VersionResponse> {
        Ok(v1::VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "ferry".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self, _: v1::StatusRequest) -> Result<v1::StatusResponse> {
        let condition = |kind: &str, trouble: Option<String>| v1::RuntimeCondition {
            r#type: kind.into(),
            status: trouble.is_none(),
            reason: if trouble.is_some() { "NetworkPluginNotReady".into() } else { String::new() },
            message: trouble.unwrap_or_default(),
        };
        let conditions = vec![condition("RuntimeReady", None), condition("NetworkReady", self.config.network.not_ready().await)];
        let features = v1::RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: false };
        Ok(v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            info: Default::default(),
            runtime_handlers: vec![v1::RuntimeHandler { name: String::new(), features: Some(features) }],
            features: Some(v1::RuntimeFeatures { supplemental_groups_policy: true, user_namespaces_host_network: false }),
        })
    }

    async fn runtime_config(&self, _: v1::RuntimeConfigRequest) -> Result<v1::RuntimeConfigResponse> {
        Ok(v1::RuntimeConfigResponse { linux: Some(v1::LinuxRuntimeConfiguration { cgroup_driver: v1::CgroupDriver::Cgroupfs.into() }) })
    }

    async fn update_runtime_config(&self, _: v1::UpdateRuntimeConfigRequest) -> Result<v1::UpdateRuntimeConfigResponse> {
        // The pod network learns the node's range from the API.
        Ok(v1::UpdateRuntimeConfigResponse {})
    }

    async fn run_pod_sandbox(&self, request: v1::RunPodSandboxRequest) -> Result<v1::RunPodSandboxResponse> {
        Ok(v1::RunPodSandboxResponse { pod_sandbox_id: self.run_sandbox(request).await? })
    }

    async fn stop_pod_sandbox(&self, request: v1::StopPodSandboxRequest) -> Result<v1::StopPodSandboxResponse> {
        self.stop_sandbox(&request.pod_sandbox_id).await?;
        Ok(v1::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(&self, request: v1::RemovePodSandboxRequest) -> Result<v1::RemovePodSandboxResponse> {
        self.remove_sandbox(&request.pod_sandbox_id).await?;
        Ok(v1::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(&self, request: v1::PodSandboxStatusRequest) -> Result<v1::PodSandboxStatusResponse> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        Ok(v1::PodSandboxStatusResponse {
            status: Some(status::sandbox(&sandbox)),
            info: Default::default(),
            containers_statuses: self.containers_of(&sandbox.id).iter().map(status::container).collect(),
            timestamp: self.now(),
        })
    }

    async fn list_pod_sandbox(&self, request: v1::ListPodSandboxRequest) -> Result<v1::ListPodSandboxResponse> {
        let filter = request.filter.unwrap_or_default();
        let all: Vec<_> = self.lock().sandboxes.values().filter(|s| s.id.starts_with(&filter.id)).map(status::sandbox_item).collect();
        let matches =
            |s: &v1::PodSandbox| filter.state.as_ref().is_none_or(|f| f.state == s.state) && selected(&s.labels, &filter.label_selector);
        Ok(v1::ListPodSandboxResponse { items: all.into_iter().filter(matches).collect() })
    }

    async fn create_container(&self, request: v1::CreateContainerRequest) -> Result<v1::CreateContainerResponse> {
        Ok(v1::CreateContainerResponse { container_id: self.make_container(request).await? })
    }

    async fn start_container(&self, request: v1::StartContainerRequest) -> Result<v1::StartContainerResponse> {
        self.start_container_inner(&request.container_id).await?;
        Ok(v1::StartContainerResponse {})
    }

    async fn stop_container(&self, request: v1::StopContainerRequest) -> Result<v1::StopContainerResponse> {
        let Ok(container) = self.container(&request.container_id) else { return Ok(v1::StopContainerResponse {}) };
        self.stop(&container, seconds(request.timeout)).await?;
        Ok(v1::StopContainerResponse {})
    }

    async fn remove_container(&self, request: v1::RemoveContainerRequest) -> Result<v1::RemoveContainerResponse> {
        self.remove(&request.container_id).await?;
        Ok(v1::RemoveContainerResponse {})
    }

    async fn list_containers(&self, request: v1::ListContainersRequest) -> Result<v1::ListContainersResponse> {
        let filter = request.filter.unwrap_or_default();
        let all: Vec<_> = self.lock().containers.values().filter(|c| c.id.starts_with(&filter.id)).map(status::container_item).collect();
        let matches = |c: &v1::Container| {
            filter.state.as_ref().is_none_or(|f| f.state == c.state)
                && c.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
                && selected(&c.labels, &filter.label_selector)
        };
        Ok(v1::ListContainersResponse { containers: all.into_iter().filter(matches).collect() })
    }

    async fn container_status(&self, request: v1::ContainerStatusRequest) -> Result<v1::ContainerStatusResponse> {
        let container = self.container(&request.container_id)?;
        Ok(v1::ContainerStatusResponse { status: Some(status::container(&container)), info: Default::default() })
    }

    async fn update_container_resources(
        &self,
        request: v1::UpdateContainerResourcesRequest,
    ) -> Result<v1::UpdateContainerResourcesResponse> {
        self.update_resources(request).await?;
        Ok(v1::UpdateContainerResourcesResponse {})
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: v1::UpdatePodSandboxResourcesRequest,
    ) -> Result<v1::UpdatePodSandboxResourcesResponse> {
        // The pod's own cgroup is the kubelet's; the call only tells of it.
        self.sandbox(&request.pod_sandbox_id)?;
        Ok(v1::UpdatePodSandboxResourcesResponse {})
    }

    async fn reopen_container_log(&self, request: v1::ReopenContainerLogRequest) -> Result<v1::ReopenContainerLogResponse> {
        let container = self.container(&request.container_id)?;
        container.must_run()?;
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        shim.ask(Call::ReopenLog { container: container.id.clone() }, &[]).await?;
        Ok(v1::ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: v1::ExecSyncRequest) -> Result<v1::ExecSyncResponse> {
        self.exec_collect(&request.container_id, request.cmd, seconds(request.timeout)).await
    }

    async fn container_stats(&self, request: v1::ContainerStatsRequest) -> Result<v1::ContainerStatsResponse> {
        let container = self.container(&request.container_id)?;
        Ok(v1::ContainerStatsResponse { stats: Some(self.container_stats_of(container).await?) })
    }

    async fn list_container_stats(&self, request: v1::ListContainerStatsRequest) -> Result<v1::ListContainerStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let matches = |c: &super::Container| {
            c.id.starts_with(&filter.id)
                && c.record.sandbox.starts_with(&filter.pod_sandbox_id)
                && selected(&c.config().labels, &filter.label_selector)
                && c.must_run().is_ok()
        };
        let found: Vec<_> = self.lock().containers.values().filter(|c| matches(c)).cloned().collect();
        let mut stats = Vec::with_capacity(found.len());
        for container in found {
            stats.push(self.container_stats_of(container).await?);
        }
        Ok(v1::ListContainerStatsResponse { stats })
    }

    async fn pod_sandbox_stats(&self, request: v1::PodSandboxStatsRequest) -> Result<v1::PodSandboxStatsResponse> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        Ok(v1::PodSandboxStatsResponse { stats: Some(self.sandbox_stats_of(sandbox).await?) })
    }

    async fn list_pod_sandbox_stats(&self, request: v1::ListPodSandboxStatsRequest) -> Result<v1::ListPodSandboxStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let matches =
            |s: &super::Sandbox| s.id.starts_with(&filter.id) && selected(&s.config.labels, &filter.label_selector) && s.shim().is_ok();
        let found: Vec<_> = self.lock().sandboxes.values().filter(|s| matches(s)).cloned().collect();
        let mut stats = Vec::with_capacity(found.len());
        for sandbox in found {
            stats.push(self.sandbox_stats_of(sandbox).await?);
        }
        Ok(v1::ListPodSandboxStatsResponse { stats })
    }

    async fn container_events(&self) -> Result<ContainerEvents> {
        let events = BroadcastStream::new(self.events.subscribe());
        Ok(Box::pin(events.map(|event| event.map_err(|lag| cri::Error::ResourceExhausted(format!("container events were missed: {lag}"))))))
    }
}

#[async_trait]
impl StreamingService for Builtin {
    async fn exec(&self, request: v1::ExecRequest, streams: Streams) -> Result<ExitStatus> {
        self.exec_streams(request, streams).await
    }

    async fn attach(&self, request: v1::AttachRequest, streams: Streams) -> Result<ExitStatus> {
        self.attach_streams(request, streams).await
    }

    async fn port_forward(&self, pod_sandbox_id: &str, port: u16, stream: Duplex) -> Result<()> {
        self.forward(pod_sandbox_id, port, stream).await
    }
}

#[async_trait]
impl ImageService for Builtin {
    async fn list_images(&self, request: v1::ListImagesRequest) -> Result<v1::ListImagesResponse> {
        self.config.images.list_images(request).await
    }

    async fn image_status(&self, request: v1::ImageStatusRequest) -> Result<v1::ImageStatusResponse> {
        self.config.images.image_status(request).await
    }

    async fn pull_image(&self, request: v1::PullImageRequest) -> Result<v1::PullImageResponse> {
        self.config.images.pull_image(request).await
    }

    /// An image that a container still stands on stays: its layers are that container's root.
    async fn remove_image(&self, request: v1::RemoveImageRequest) -> Result<v1::RemoveImageResponse> {
        let name = request.image.as_ref().map_or("", |image| image.image.as_str());
        match self.config.images.resolve(name).await {
            Ok(image) => {
                let user = self.lock().containers.values().find(|c| c.record.image_id == image.id).map(|c| c.id.clone());
                if let Some(user) = user {
                    return Err(cri::Error::FailedPrecondition(format!("image {name:?} is in use by container {user}")));
                }
            }
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e),
        }
        self.config.images.remove_image(request).await
    }

    async fn image_fs_info(&self, request: v1::ImageFsInfoRequest) -> Result<v1::ImageFsInfoResponse> {
        self.config.images.image_fs_info(request).await
    }
}
