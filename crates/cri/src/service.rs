//! What the kubelet asks of a runtime, as Rust traits over the protocol's messages.

use std::pin::Pin;

use async_trait::async_trait;
use futures::Stream;
use streaming::{ExitStatus, Streams};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::v1;
use crate::{Error, Result};

/// Container events, oldest first. An `Err` item says that events may have been missed: list again.
pub type ContainerEvents = Pin<Box<dyn Stream<Item = Result<v1::ContainerEventResponse>> + Send>>;

/// Both directions of one forwarded connection.
pub trait DuplexStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> DuplexStream for T {}

/// An owned [`DuplexStream`].
pub type Duplex = Box<dyn DuplexStream>;

/// Sandboxes and containers. The protocol's `Stream…` calls are paged forms of the lists here and exist only on the wire; its
/// `Exec`, `Attach` and `PortForward`, which answer with a URL, are [`StreamingService`] here.
/// Calls that not every runtime has answer [`Error::Unimplemented`] unless implemented.
#[async_trait]
pub trait RuntimeService: Send + Sync {
    /// The runtime's name and versions.
    async fn version(&self, request: v1::VersionRequest) -> Result<v1::VersionResponse>;

    /// Whether the runtime and its network are ready, and what it can do.
    async fn status(&self, request: v1::StatusRequest) -> Result<v1::StatusResponse>;

    /// What the kubelet must know of the runtime's set-up: the cgroup driver.
    async fn runtime_config(&self, request: v1::RuntimeConfigRequest) -> Result<v1::RuntimeConfigResponse>;

    /// Makes and starts a sandbox: its cgroup, namespaces and network. On failure nothing is left behind.
    async fn run_pod_sandbox(&self, request: v1::RunPodSandboxRequest) -> Result<v1::RunPodSandboxResponse>;

    /// Ends what runs in the sandbox and takes its network down; the sandbox stays listed. Idempotent.
    async fn stop_pod_sandbox(&self, request: v1::StopPodSandboxRequest) -> Result<v1::StopPodSandboxResponse>;

    /// Takes the sandbox and its containers away, running or not. A missing sandbox is success.
    async fn remove_pod_sandbox(&self, request: v1::RemovePodSandboxRequest) -> Result<v1::RemovePodSandboxResponse>;

    /// One sandbox in full; [`Error::NotFound`] when it is not there.
    async fn pod_sandbox_status(&self, request: v1::PodSandboxStatusRequest) -> Result<v1::PodSandboxStatusResponse>;

    /// The sandboxes that match the filter.
    async fn list_pod_sandbox(&self, request: v1::ListPodSandboxRequest) -> Result<v1::ListPodSandboxResponse>;

    /// Makes a container that is ready to start. The image must be present.
    async fn create_container(&self, request: v1::CreateContainerRequest) -> Result<v1::CreateContainerResponse>;

    /// Starts a created container.
    async fn start_container(&self, request: v1::StartContainerRequest) -> Result<v1::StartContainerResponse>;

    /// Asks a container to stop by its stop signal, and kills it after `timeout` seconds. Idempotent.
    async fn stop_container(&self, request: v1::StopContainerRequest) -> Result<v1::StopContainerResponse>;

    /// Takes a container away, killing it if it runs. A missing container is success.
    async fn remove_container(&self, request: v1::RemoveContainerRequest) -> Result<v1::RemoveContainerResponse>;

    /// The containers that match the filter.
    async fn list_containers(&self, request: v1::ListContainersRequest) -> Result<v1::ListContainersResponse>;

    /// One container in full; [`Error::NotFound`] when it is not there.
    async fn container_status(&self, request: v1::ContainerStatusRequest) -> Result<v1::ContainerStatusResponse>;

    /// Changes a container's cgroup limits in place.
    async fn update_container_resources(
        &self,
        request: v1::UpdateContainerResourcesRequest,
    ) -> Result<v1::UpdateContainerResourcesResponse>;

    /// Opens the container's log file anew, after the caller has moved the old one away.
    async fn reopen_container_log(&self, request: v1::ReopenContainerLogRequest) -> Result<v1::ReopenContainerLogResponse>;

    /// Runs a command in a container and returns its output, which is bounded; after `timeout` seconds (0: none) it is killed and the answer is [`Error::DeadlineExceeded`].
    async fn exec_sync(&self, request: v1::ExecSyncRequest) -> Result<v1::ExecSyncResponse>;

    /// One container's use of CPU, memory and disk.
    async fn container_stats(&self, request: v1::ContainerStatsRequest) -> Result<v1::ContainerStatsResponse>;

    /// As `container_stats`, for all that match.
    async fn list_container_stats(&self, request: v1::ListContainerStatsRequest) -> Result<v1::ListContainerStatsResponse>;

    /// One sandbox's use of CPU, memory, network and processes.
    async fn pod_sandbox_stats(&self, request: v1::PodSandboxStatsRequest) -> Result<v1::PodSandboxStatsResponse>;

    /// As `pod_sandbox_stats`, for all that match.
    async fn list_pod_sandbox_stats(&self, request: v1::ListPodSandboxStatsRequest) -> Result<v1::ListPodSandboxStatsResponse>;

    /// Creations, starts, exits and removals of containers from now on.
    async fn container_events(&self) -> Result<ContainerEvents>;

    /// Tells the runtime the node's pod address range.
    async fn update_runtime_config(&self, request: v1::UpdateRuntimeConfigRequest) -> Result<v1::UpdateRuntimeConfigResponse> {
        let _ = request;
        Err(unimplemented("UpdateRuntimeConfig"))
    }

    /// Writes a running container's state to a file.
    async fn checkpoint_container(&self, request: v1::CheckpointContainerRequest) -> Result<v1::CheckpointContainerResponse> {
        let _ = request;
        Err(unimplemented("CheckpointContainer"))
    }

    /// The metrics that `list_pod_sandbox_metrics` will have.
    async fn list_metric_descriptors(&self, request: v1::ListMetricDescriptorsRequest) -> Result<v1::ListMetricDescriptorsResponse> {
        let _ = request;
        Err(unimplemented("ListMetricDescriptors"))
    }

    /// Metrics in cAdvisor's form.
    async fn list_pod_sandbox_metrics(&self, request: v1::ListPodSandboxMetricsRequest) -> Result<v1::ListPodSandboxMetricsResponse> {
        let _ = request;
        Err(unimplemented("ListPodSandboxMetrics"))
    }

    /// Tells of changed limits of the pod as a whole.
    async fn update_pod_sandbox_resources(
        &self,
        request: v1::UpdatePodSandboxResourcesRequest,
    ) -> Result<v1::UpdatePodSandboxResourcesResponse> {
        let _ = request;
        Err(unimplemented("UpdatePodSandboxResources"))
    }
}

/// Images on the node.
#[async_trait]
pub trait ImageService: Send + Sync {
    /// The images that match the filter.
    async fn list_images(&self, request: v1::ListImagesRequest) -> Result<v1::ListImagesResponse>;

    /// One image; the answer's `image` is `None` when it is not there.
    async fn image_status(&self, request: v1::ImageStatusRequest) -> Result<v1::ImageStatusResponse>;

    /// Brings an image onto the node; answers its reference.
    async fn pull_image(&self, request: v1::PullImageRequest) -> Result<v1::PullImageResponse>;

    /// Takes an image away. A missing image is success.
    async fn remove_image(&self, request: v1::RemoveImageRequest) -> Result<v1::RemoveImageResponse>;

    /// How full the filesystems of images and containers are.
    async fn image_fs_info(&self, request: v1::ImageFsInfoRequest) -> Result<v1::ImageFsInfoResponse>;
}

/// The interactive calls. `Err` means that nothing was started; afterwards the [`ExitStatus`] tells how it ended.
#[async_trait]
pub trait StreamingService: Send + Sync {
    /// Runs a command in a running container, its streams joined to `streams`, until it ends.
    async fn exec(&self, request: v1::ExecRequest, streams: Streams) -> Result<ExitStatus>;

    /// Joins `streams` to the container's main process until it ends or the client goes away.
    async fn attach(&self, request: v1::AttachRequest, streams: Streams) -> Result<ExitStatus>;

    /// Connects to `port` on the loopback address inside the sandbox and copies both ways until either side closes.
    async fn port_forward(&self, pod_sandbox_id: &str, port: u16, stream: Duplex) -> Result<()>;
}

fn unimplemented(call: &str) -> Error {
    Error::Unimplemented(format!("this runtime does not implement {call}"))
}
