//! Another runtime behind the same traits: CRI v1 by gRPC over a unix socket (containerd, CRI-O).
//!
//! The interactive calls ask the runtime for a URL and speak SPDY to it, as the kubelet does.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use streaming::remote_command::Wanted;
use streaming::{ExitStatus, Streams};
use tokio::net::{TcpStream, UnixStream};
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::{ContainerEvents, Duplex, Error, ImageService, Result, RuntimeService, StreamingService, v1};

/// The kubelet's own limits: for one call, and for one message.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
const MAX_MESSAGE: usize = 16 << 20;

/// What streaming servers put in front of a failure, as the kubelet's own does: it is said once only.
const FAILED: &str = "Internal error occurred: error executing command in container: ";

/// A runtime at the other end of a socket. Connects at the first call, and again after a break.
#[derive(Clone, Debug)]
pub struct Remote {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Remote {
    /// The runtime at `endpoint`, `unix:///path` or a plain path. Nothing is connected yet. Must be called inside a tokio runtime.
    pub fn new(endpoint: &str) -> Result<Self> {
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        if !path.starts_with('/') {
            return Err(Error::InvalidArgument(format!("container runtime endpoint {endpoint:?} is not a unix socket's absolute path")));
        }
        let path = PathBuf::from(path);
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { connect(&path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        let runtime =
            RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        let images = ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        Ok(Self { runtime, images })
    }
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    let said = |e: io::Error| io::Error::new(e.kind(), format!("connecting to the container runtime at {}: {e}", path.display()));
    UnixStream::connect(path).await.map_err(said)
}

/// A request with the time that it may take beside what it asks for itself; `None` for calls that may take any.
fn request<T>(message: T, extra: Option<i64>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(seconds) = extra {
        request.set_timeout(CALL_TIMEOUT + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    }
    request
}

#[async_trait]
impl RuntimeService for Remote {
    async fn version(&self, message: v1::VersionRequest) -> Result<v1::VersionResponse> {
        Ok(self.runtime.clone().version(request(message, Some(0))).await?.into_inner())
    }

    async fn status(&self, message: v1::StatusRequest) -> Result<v1::StatusResponse> {
        Ok(self.runtime.clone().status(request(message, Some(0))).await?.into_inner())
    }

    async fn runtime_config(&self, message: v1::RuntimeConfigRequest) -> Result<v1::RuntimeConfigResponse> {
        Ok(self.runtime.clone().runtime_config(request(message, Some(0))).await?.into_inner())
    }

    async fn run_pod_sandbox(&self, message: v1::RunPodSandboxRequest) -> Result<v1::RunPodSandboxResponse> {
        Ok(self.runtime.clone().run_pod_sandbox(request(message, Some(0))).await?.into_inner())
    }

    async fn stop_pod_sandbox(&self, message: v1::StopPodSandboxRequest) -> Result<v1::StopPodSandboxResponse> {
        Ok(self.runtime.clone().stop_pod_sandbox(request(message, Some(0))).await?.into_inner())
    }

    async fn remove_pod_sandbox(&self, message: v1::RemovePodSandboxRequest) -> Result<v1::RemovePodSandboxResponse> {
        Ok(self.runtime.clone().remove_pod_sandbox(request(message, Some(0))).await?.into_inner())
    }

    async fn pod_sandbox_status(&self, message: v1::PodSandboxStatusRequest) -> Result<v1::PodSandboxStatusResponse> {
        Ok(self.runtime.clone().pod_sandbox_status(request(message, Some(0))).await?.into_inner())
    }

    async fn list_pod_sandbox(&self, message: v1::ListPodSandboxRequest) -> Result<v1::ListPodSandboxResponse> {
        Ok(self.runtime.clone().list_pod_sandbox(request(message, Some(0))).await?.into_inner())
    }

    async fn create_container(&self, message: v1::CreateContainerRequest) -> Result<v1::CreateContainerResponse> {
        Ok(self.runtime.clone().create_container(request(message, Some(0))).await?.into_inner())
    }

    async fn start_container(&self, message: v1::StartContainerRequest) -> Result<v1::StartContainerResponse> {
        Ok(self.runtime.clone().start_container(request(message, Some(0))).await?.into_inner())
    }

    async fn stop_container(&self, message: v1::StopContainerRequest) -> Result<v1::StopContainerResponse> {
        let extra = Some(message.timeout);
        Ok(self.runtime.clone().stop_container(request(message, extra)).await?.into_inner())
    }

    async fn remove_container(&self, message: v1::RemoveContainerRequest) -> Result<v1::RemoveContainerResponse> {
        Ok(self.runtime.clone().remove_container(request(message, Some(0))).await?.into_inner())
    }

    async fn list_containers(&self, message: v1::ListContainersRequest) -> Result<v1::ListContainersResponse> {
        Ok(self.runtime.clone().list_containers(request(message, Some(0))).await?.into_inner())
    }

    async fn container_status(&self, message: v1::ContainerStatusRequest) -> Result<v1::ContainerStatusResponse> {
        Ok(self.runtime.clone().container_status(request(message, Some(0))).await?.into_inner())
    }

    async fn update_container_resources(
        &self,
        message: v1::UpdateContainerResourcesRequest,
    ) -> Result<v1::UpdateContainerResourcesResponse> {
        Ok(self.runtime.clone().update_container_resources(request(message, Some(0))).await?.into_inner())
    }

    async fn reopen_container_log(&self, message: v1::ReopenContainerLogRequest) -> Result<v1::ReopenContainerLogResponse> {
        Ok(self.runtime.clone().reopen_container_log(request(message, Some(0))).await?.into_inner())
    }

    async fn exec_sync(&self, message: v1::ExecSyncRequest) -> Result<v1::ExecSyncResponse> {
        let extra = (message.timeout > 0).then_some(message.timeout);
        Ok(self.runtime.clone().exec_sync(request(message, extra)).await?.into_inner())
    }

    async fn container_stats(&self, message: v1::ContainerStatsRequest) -> Result<v1::ContainerStatsResponse> {
        Ok(self.runtime.clone().container_stats(request(message, Some(0))).await?.into_inner())
    }

    async fn list_container_stats(&self, message: v1::ListContainerStatsRequest) -> Result<v1::ListContainerStatsResponse> {
        Ok(self.runtime.clone().list_container_stats(request(message, Some(0))).await?.into_inner())
    }

    async fn pod_sandbox_stats(&self, message: v1::PodSandboxStatsRequest) -> Result<v1::PodSandboxStatsResponse> {
        Ok(self.runtime.clone().pod_sandbox_stats(request(message, Some(0))).await?.into_inner())
    }

    async fn list_pod_sandbox_stats(&self, message: v1::ListPodSandboxStatsRequest) -> Result<v1::ListPodSandboxStatsResponse> {
        Ok(self.runtime.clone().list_pod_sandbox_stats(request(message, Some(0))).await?.into_inner())
    }

    async fn update_runtime_config(&self, message: v1::UpdateRuntimeConfigRequest) -> Result<v1::UpdateRuntimeConfigResponse> {
        Ok(self.runtime.clone().update_runtime_config(request(message, Some(0))).await?.into_inner())
    }

    async fn checkpoint_container(&self, message: v1::CheckpointContainerRequest) -> Result<v1::CheckpointContainerResponse> {
        let extra = Some(message.timeout);
        Ok(self.runtime.clone().checkpoint_container(request(message, extra)).await?.into_inner())
    }

    async fn list_metric_descriptors(&self, message: v1::ListMetricDescriptorsRequest) -> Result<v1::ListMetricDescriptorsResponse> {
        Ok(self.runtime.clone().list_metric_descriptors(request(message, Some(0))).await?.into_inner())
    }

    async fn list_pod_sandbox_metrics(&self, message: v1::ListPodSandboxMetricsRequest) -> Result<v1::ListPodSandboxMetricsResponse> {
        Ok(self.runtime.clone().list_pod_sandbox_metrics(request(message, Some(0))).await?.into_inner())
    }

    async fn update_pod_sandbox_resources(
        &self,
        message: v1::UpdatePodSandboxResourcesRequest,
    ) -> Result<v1::UpdatePodSandboxResourcesResponse> {
        Ok(self.runtime.clone().update_pod_sandbox_resources(request(message, Some(0))).await?.into_inner())
    }

    async fn container_events(&self) -> Result<ContainerEvents> {
        let events = self.runtime.clone().get_container_events(v1::GetEventsRequest {}).await?.into_inner();
        Ok(Box::pin(events.map(|event| event.map_err(Error::from))))
    }
}

#[async_trait]
impl ImageService for Remote {
    async fn list_images(&self, message: v1::ListImagesRequest) -> Result<v1::ListImagesResponse> {
        Ok(self.images.clone().list_images(request(message, Some(0))).await?.into_inner())
    }

    async fn image_status(&self, message: v1::ImageStatusRequest) -> Result<v1::ImageStatusResponse> {
        Ok(self.images.clone().image_status(request(message, Some(0))).await?.into_inner())
    }

    async fn pull_image(&self, message: v1::PullImageRequest) -> Result<v1::PullImageResponse> {
        Ok(self.images.clone().pull_image(request(message, None)).await?.into_inner())
    }

    async fn remove_image(&self, message: v1::RemoveImageRequest) -> Result<v1::RemoveImageResponse> {
        Ok(self.images.clone().remove_image(request(message, Some(0))).await?.into_inner())
    }

    async fn image_fs_info(&self, message: v1::ImageFsInfoRequest) -> Result<v1::ImageFsInfoResponse> {
        Ok(self.images.clone().image_fs_info(request(message, Some(0))).await?.into_inner())
    }
}

#[async_trait]
impl StreamingService for Remote {
    async fn exec(&self, message: v1::ExecRequest, streams: Streams) -> Result<ExitStatus> {
        let wanted = Wanted { stdin: message.stdin, stdout: message.stdout, stderr: message.stderr, tty: message.tty };
        let url = self.runtime.clone().exec(request(message, Some(0))).await?.into_inner().url;
        run(&url, wanted, streams).await
    }

    async fn attach(&self, message: v1::AttachRequest, streams: Streams) -> Result<ExitStatus> {
        let wanted = Wanted { stdin: message.stdin, stdout: message.stdout, stderr: message.stderr, tty: message.tty };
        let url = self.runtime.clone().attach(request(message, Some(0))).await?.into_inner().url;
        run(&url, wanted, streams).await
    }

    async fn port_forward(&self, pod_sandbox_id: &str, port: u16, stream: Duplex) -> Result<()> {
        let message = v1::PortForwardRequest { pod_sandbox_id: pod_sandbox_id.to_owned(), port: vec![i32::from(port)] };
        let url = self.runtime.clone().port_forward(request(message, Some(0))).await?.into_inner().url;
        let place = Place::parse(&url)?;
        let io = place.connect().await?;
        let done = streaming::client::port_forward(io, &place.authority, &place.path, port, stream).await;
        done.map_err(|e| Error::Internal(format!("forwarding port {port} of pod sandbox {pod_sandbox_id}: {e}")))
    }
}

async fn run(url: &str, wanted: Wanted, streams: Streams) -> Result<ExitStatus> {
    let place = Place::parse(url)?;
    let io = place.connect().await?;
    let done = streaming::client::remote_command(io, &place.authority, &place.path, wanted, streams).await;
    let status = done.map_err(|e| Error::Internal(format!("speaking to the runtime's streaming server: {e}")))?;
    Ok(match status {
        ExitStatus::Failed(why) => ExitStatus::Failed(why.strip_prefix(FAILED).unwrap_or(&why).to_owned()),
        code => code,
    })
}

/// Where a runtime's streaming server is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Host and port.
    authority: String,
    /// Path and query.
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self> {
        let bad = |why: &str| Error::Internal(format!("the runtime's streaming URL {url:?} {why}"));
        let uri: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(bad("is not plain HTTP, which is all that is spoken to a runtime on this machine"));
        }
        let host = uri.host().ok_or_else(|| bad("has no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { authority, path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned() })
    }

    async fn connect(&self) -> Result<TcpStream> {
        let connected = TcpStream::connect(&self.authority).await;
        connected.map_err(|e| Error::Unavailable(format!("connecting to the runtime's streaming server at {}: {e}", self.authority)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_urls_are_taken_apart() {
        let place = Place::parse("http://127.0.0.1:38001/exec/abc?x=1").unwrap();
        assert_eq!(place, Place { authority: "127.0.0.1:38001".into(), path: "/exec/abc?x=1".into() });
        for url in ["", "https://h/exec", "/exec/abc", "http://"] {
            assert!(Place::parse(url).is_err(), "{url:?}");
        }
    }

    #[tokio::test]
    async fn endpoints_are_checked_and_a_missing_runtime_is_unavailable() {
        for endpoint in ["tcp://1.2.3.4:5", "relative.sock", ""] {
            assert!(Remote::new(endpoint).is_err(), "{endpoint:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let nobody = Remote::new(&format!("unix://{}/none.sock", folder.path().display())).unwrap();
        let error = nobody.version(v1::VersionRequest::default()).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(why) if why.contains("none.sock")), "{error:?}");
    }
}
