//! A throw-away node: data directory, cgroup root, one image of busybox, a network that only brings loopback up.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cri::{ImageService, RuntimeService, v1};
use runtime::{Builtin, Config, ImageConfig, Images, PodIdentity, PodNetwork, ResolvedImage};

/// Longer than any step takes on a busy machine; only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why these tests cannot run here, if they cannot.
pub fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root");
    }
    busybox().is_none().then_some("no static busybox; install busybox-static")
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|p| p.exists())
}

/// Names of data directories carry the test's process id, so that those of dead ones are known.
const PREFIX: &str = "ferry-runtime-";

/// Takes away what crashed runs have left.
pub fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        // Renamed first: of several test processes that start now, one takes it.
        let taken = std::env::temp_dir().join(format!("{PREFIX}{}-swept-{name}", std::process::id()));
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) && fs::rename(entry.path(), &taken).is_ok() {
            let config = config_for(&taken, &format!("/{name}"));
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = tokio.block_on(async { Builtin::open(config).await?.destroy_all().await });
            let _ = fs::remove_dir_all(&taken);
        }
    }
}

fn config_for(dir: &Path, cgroup_root: &str) -> Config {
    Config {
        data_dir: dir.join("data"),
        cgroup_root: cgroup_root.to_owned(),
        images: Arc::new(OneImage { layer: dir.join("layer") }),
        network: Arc::new(Loopback),
        clock: stdx::Clock::System,
        prng: stdx::Prng::from_entropy(),
    }
}

pub struct Node {
    pub dir: tempfile::TempDir,
    pub cgroup_root: String,
    pub config: Config,
    runtime: Option<Arc<Builtin>>,
}

impl Node {
    pub async fn open() -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir().unwrap();
        let layer = dir.path().join("layer");
        build_image(&layer);
        let cgroup_root = format!("/{}", dir.path().file_name().unwrap().to_str().unwrap());
        let config = config_for(dir.path(), &cgroup_root);
        let runtime = Builtin::open(config.clone()).await.unwrap();
        Self { dir, cgroup_root, config, runtime: Some(runtime) }
    }

    pub fn runtime(&self) -> &Arc<Builtin> {
        self.runtime.as_ref().unwrap()
    }

    pub async fn close(self) {
        self.runtime().destroy_all().await.unwrap();
        let left = mounts_below(self.dir.path());
        assert!(left.is_empty(), "{left:?}");
    }

    /// A sandbox with its own namespaces.
    pub async fn sandbox(&self, name: &str) -> String {
        self.sandbox_with(sandbox_config(name, self.dir.path())).await
    }

    pub async fn sandbox_with(&self, config: v1::PodSandboxConfig) -> String {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        self.runtime().run_pod_sandbox(request).await.unwrap().pod_sandbox_id
    }

    /// Makes and starts a container that runs `script` in a shell.
    pub async fn shell(&self, sandbox: &str, script: &str) -> String {
        self.start(sandbox, shell_config(script)).await
    }

    pub async fn start(&self, sandbox: &str, config: v1::ContainerConfig) -> String {
        let id = self.create(sandbox, config).await.unwrap();
        self.runtime().start_container(v1::StartContainerRequest { container_id: id.clone() }).await.unwrap();
        id
    }

    pub async fn create(&self, sandbox: &str, config: v1::ContainerConfig) -> cri::Result<String> {
        let request = v1::CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: None };
        Ok(self.runtime().create_container(request).await?.container_id)
    }

    pub async fn status(&self, id: &str) -> v1::ContainerStatus {
        let request = v1::ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.runtime().container_status(request).await.unwrap().status.unwrap()
    }

    /// Waits until a container has ended.
    pub async fn ended(&self, id: &str) -> v1::ContainerStatus {
        let wait = async {
            loop {
                let status = self.status(id).await;
                if status.state() == v1::ContainerState::ContainerExited {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the container does not end")
    }

    /// Runs a script to its end in a container of its own; exit code and log text.
    pub async fn run(&self, sandbox: &str, config: v1::ContainerConfig) -> (i32, String) {
        let id = self.start(sandbox, config).await;
        let status = self.ended(&id).await;
        let text = log_text(&status.log_path);
        (status.exit_code, text)
    }

    pub async fn exec(&self, id: &str, script: &str) -> v1::ExecSyncResponse {
        let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self.runtime().exec_sync(v1::ExecSyncRequest { container_id: id.into(), cmd, timeout: 50 }).await.unwrap()
    }

    pub async fn stdout(&self, id: &str, script: &str) -> String {
        let done = self.exec(id, script).await;
        assert_eq!(done.exit_code, 0, "{script}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Node {
    /// Also after a failed assertion nothing stays.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                drop(runtime);
                // The old one belongs to another tokio; what it knows is on disk.
                let _ = tokio.block_on(async { Builtin::open(self.config.clone()).await?.destroy_all().await });
            });
        });
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(self.cgroup_root.trim_start_matches('/')));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(self.cgroup_root.trim_start_matches('/')));
    }
}

pub fn mounts_below(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(dir.to_str().unwrap())).map(str::to_owned).collect()
}

pub fn sandbox_config(name: &str, dir: &Path) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata { name: name.into(), uid: format!("uid-{name}"), namespace: "test".into(), attempt: 0 }),
        hostname: name.into(),
        log_directory: dir.join("logs").join(name).display().to_string(),
        dns_config: Some(v1::DnsConfig { servers: vec!["10.43.0.10".into()], searches: vec!["svc.local".into()], options: vec![] }),
        labels: [("app".to_owned(), name.to_owned())].into(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption { pid: v1::NamespaceMode::Container.into(), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A shell that runs `script`; names are unique by a counter.
pub fn shell_config(script: &str) -> v1::ContainerConfig {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let name = format!("c{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    v1::ContainerConfig {
        log_path: format!("{name}.log"),
        metadata: Some(v1::ContainerMetadata { name, attempt: 0 }),
        image: Some(v1::ImageSpec { image: "busybox".into(), ..Default::default() }),
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        linux: Some(v1::LinuxContainerConfig { resources: None, security_context: Some(security()) }),
        ..Default::default()
    }
}

/// What the kubelet asks for by default.
pub fn security() -> v1::LinuxContainerSecurityContext {
    v1::LinuxContainerSecurityContext {
        namespace_options: Some(v1::NamespaceOption { pid: v1::NamespaceMode::Container.into(), ..Default::default() }),
        masked_paths: ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"].map(str::to_owned).to_vec(),
        readonly_paths: ["/proc/sys", "/proc/bus", "/proc/irq"].map(str::to_owned).to_vec(),
        seccomp: Some(v1::SecurityProfile {
            profile_type: v1::security_profile::ProfileType::RuntimeDefault.into(),
            localhost_ref: String::new(),
        }),
        ..Default::default()
    }
}

/// A container with another security context.
pub fn secured(script: &str, change: impl FnOnce(&mut v1::LinuxContainerSecurityContext)) -> v1::ContainerConfig {
    let mut config = shell_config(script);
    change(config.linux.as_mut().unwrap().security_context.as_mut().unwrap());
    config
}

/// The text of a log without times and tags.
pub fn log_text(path: &str) -> String {
    let lines = fs::read_to_string(path).unwrap();
    lines.lines().map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap_or_default())).collect()
}

fn build_image(layer: &Path) {
    for folder in ["bin", "etc", "tmp", "proc", "data"] {
        fs::create_dir_all(layer.join(folder)).unwrap();
    }
    let program = busybox().unwrap();
    fs::copy(&program, layer.join("bin/busybox")).unwrap();
    let list = std::process::Command::new(&program).arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(list).unwrap().lines().filter(|a| *a != "busybox") {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n").unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\napp:x:1000:\nwheel:x:10:app\n").unwrap();
    symlink("/../../../../../../../../../tmp", layer.join("evil")).unwrap();
}

struct OneImage {
    layer: PathBuf,
}

#[async_trait]
impl Images for OneImage {
    async fn resolve(&self, image: &str) -> cri::Result<ResolvedImage> {
        if image != "busybox" {
            return Err(cri::Error::NotFound(format!("no image {image:?}")));
        }
        let config = ImageConfig { cmd: vec!["/bin/sh".into()], ..Default::default() };
        Ok(ResolvedImage { id: "sha256:b".into(), reference: "busybox@sha256:b".into(), config, layers: vec![self.layer.clone()] })
    }
}

fn none<T>() -> cri::Result<T> {
    Err(cri::Error::Unimplemented("not in this test".into()))
}

#[async_trait]
impl ImageService for OneImage {
    async fn list_images(&self, _: v1::ListImagesRequest) -> cri::Result<v1::ListImagesResponse> {
        none()
    }
    async fn image_status(&self, _: v1::ImageStatusRequest) -> cri::Result<v1::ImageStatusResponse> {
        none()
    }
    async fn pull_image(&self, _: v1::PullImageRequest) -> cri::Result<v1::PullImageResponse> {
        none()
    }
    async fn remove_image(&self, _: v1::RemoveImageRequest) -> cri::Result<v1::RemoveImageResponse> {
        none()
    }
    async fn image_fs_info(&self, _: v1::ImageFsInfoRequest) -> cri::Result<v1::ImageFsInfoResponse> {
        none()
    }
}

struct Loopback;

#[async_trait]
impl PodNetwork for Loopback {
    async fn add(&self, netns: &Path, _: &PodIdentity) -> Result<Vec<IpAddr>, String> {
        let netns = netns.to_owned();
        std::thread::spawn(move || {
            let file = fs::File::open(&netns).map_err(|e| e.to_string())?;
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind)).map_err(|e| e.to_string())?;
            let done = std::process::Command::new("/bin/busybox").args(["ip", "link", "set", "lo", "up"]).status();
            done.map_err(|e| e.to_string())?.success().then_some(vec![IpAddr::from([10, 42, 0, 9])]).ok_or("no loopback".to_owned())
        })
        .join()
        .unwrap()
    }
    async fn remove(&self, _: &Path, _: &PodIdentity) -> Result<(), String> {
        Ok(())
    }
    async fn not_ready(&self) -> Option<String> {
        None
    }
}
