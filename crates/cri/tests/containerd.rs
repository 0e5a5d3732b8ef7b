//! A real containerd in throw-away folders. Without root or containerd this passes and says so.
#![allow(clippy::unwrap_used)] // Set-up outside the test function counts as a program otherwise.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cri::{Error, ImageService as _, Remote, RuntimeService as _, v1};

struct Containerd {
    process: Child,
    folder: tempfile::TempDir,
}

impl Containerd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[plugins.\"io.containerd.grpc.v1.cri\"]\n\
             disable_tcp_service = true\nstream_server_address = \"127.0.0.1\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
            at("root"),
            at("state"),
            at("c.sock"),
            at("opt")
        );
        fs::write(folder.path().join("config.toml"), config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("/usr/bin/containerd")
            .args(["--config", &at("config.toml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, folder }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_containerd_answers() {
    assert!(Path::new("/usr/bin/containerd").exists(), "this test needs root and Debian's containerd package");
    let containerd = Containerd::start();
    let socket = containerd.folder.path().join("c.sock");
    let remote = Remote::new(&format!("unix://{}", socket.display())).unwrap();
    let mut tries = 0;
    let version = loop {
        match remote.version(v1::VersionRequest::default()).await {
            Ok(version) => break version,
            Err(e) => {
                tries += 1;
                let log = || fs::read_to_string(containerd.folder.path().join("log")).unwrap_or_default();
                assert!(tries < 600, "{e}\n{}", log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    assert_eq!((version.runtime_name.as_str(), version.runtime_api_version.as_str()), ("containerd", "v1"));
    let status = remote.status(v1::StatusRequest::default()).await.unwrap().status.unwrap();
    assert!(status.conditions.iter().any(|c| c.r#type == "RuntimeReady" && c.status), "{status:?}");
    assert!(remote.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await.unwrap().items.is_empty());
    assert!(remote.list_images(v1::ListImagesRequest::default()).await.unwrap().images.is_empty());
    let missing = remote.container_status(v1::ContainerStatusRequest { container_id: "nope".into(), verbose: false }).await;
    assert!(missing.unwrap_err().is_not_found());
    // Newer than this containerd: the kubelet must be told so, not be left waiting.
    assert!(matches!(remote.runtime_config(v1::RuntimeConfigRequest {}).await, Ok(_) | Err(Error::Unimplemented(_))));
}
