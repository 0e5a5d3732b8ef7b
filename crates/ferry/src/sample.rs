//! `ferry sample`: shows a new cluster at work. The image is made on the spot from this binary, so no registry is needed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cri::ImageService as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use runtime::images::{NewImage, import, write_archive};
use serde::Deserialize as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cli::SampleCommand;
use crate::layout::Layout;

const MANIFESTS: &str = include_str!("../../../examples/guestbook.yaml");
const IMAGE: &str = "ferry.test/sample:v1";
const NAMESPACE: &str = "default";
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Runs one command.
pub(crate) async fn run(command: SampleCommand) -> anyhow::Result<()> {
    match command {
        SampleCommand::Image { archive } => write_image(&archive),
        SampleCommand::Deploy { place, kubeconfig } => {
            let kubeconfig = kubeconfig.unwrap_or_else(|| place.data_dir.join("kubeconfig"));
            deploy(&place.data_dir, &kubeconfig).await
        }
    }
}

fn write_image(archive: &Path) -> anyhow::Result<()> {
    let image = NewImage {
        name: IMAGE.to_owned(),
        files: vec![(std::env::current_exe().context("finding this binary")?, "/ferry".to_owned())],
        entrypoint: vec!["/ferry".to_owned()],
        cmd: vec!["sample-app".to_owned(), "store".to_owned()],
        user: "65532:65532".to_owned(),
        ..NewImage::default()
    };
    Ok(write_archive(&image, archive)?)
}

async fn deploy(data_dir: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
    provide_image(data_dir).await?;
    println!("applying examples/guestbook.yaml");
    let client = client::from_kubeconfig(kubeconfig).await?;
    for document in serde_yaml_ng::Deserializer::from_str(MANIFESTS) {
        apply(&client, serde_json::Value::deserialize(document)?).await?;
    }
    tokio::time::timeout(PATIENCE, wait_for(&client, "guestbook-store")).await.context("guestbook-store did not become available")??;
    tokio::time::timeout(PATIENCE, wait_for(&client, "guestbook-web")).await.context("guestbook-web did not become available")??;
    let service = Api::<Service>::namespaced(client, NAMESPACE).get("guestbook-web").await?;
    let address = service.spec.and_then(|s| s.cluster_ip).context("the service has no address")?;
    let answer = tokio::time::timeout(PATIENCE, ask_until_it_answers(&address)).await.context("the service does not answer")??;
    println!("the service guestbook-web at {address} answers:\n\n  {}", answer.trim_end().replace('\n', "\n  "));
    Ok(())
}

/// The CRI cannot take an image in, so on another runtime somebody else must have brought it.
async fn provide_image(data_dir: &Path) -> anyhow::Result<()> {
    if let Some(socket) = Layout::read_if_written(data_dir)?.and_then(|layout| layout.runtime_socket) {
        let remote = cri::Remote::new(&format!("unix://{}", socket.display()))?;
        let image = cri::v1::ImageSpec { image: IMAGE.to_owned(), ..cri::v1::ImageSpec::default() };
        let status = remote.image_status(cri::v1::ImageStatusRequest { image: Some(image), verbose: false }).await;
        let status = status.with_context(|| format!("asking the runtime at {} for {IMAGE}", socket.display()))?;
        if status.image.is_none() {
            bail!(
                "the runtime at {} does not have {IMAGE}: write it with `ferry sample image FILE`, import it with the runtime's own tool (ctr --namespace k8s.io images import FILE), then try again",
                socket.display()
            );
        }
        return Ok(());
    }
    println!("making the image {IMAGE} out of this binary");
    let archive = tempfile::NamedTempFile::new()?;
    write_image(archive.path())?;
    import(&crate::image::open(data_dir)?, archive.path())?;
    Ok(())
}

async fn apply(client: &Client, object: serde_json::Value) -> anyhow::Result<()> {
    let object: DynamicObject = serde_json::from_value(object).context("reading the sample's manifests")?;
    let types = object.types.clone().context("an object of the sample has no kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let name = object.metadata.name.clone().context("an object of the sample has no name")?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let applied = api.patch(&name, &PatchParams::apply("ferry-sample").force(), &Patch::Apply(&object)).await;
    applied.with_context(|| format!("applying {} {name}", types.kind))?;
    println!("  {} {name}", types.kind);
    Ok(())
}

async fn wait_for(client: &Client, name: &str) -> anyhow::Result<()> {
    let api = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let mut shown = None;
    loop {
        let deployment = api.get(name).await?;
        let wanted = deployment.spec.and_then(|s| s.replicas).unwrap_or(1);
        let available = deployment.status.and_then(|s| s.available_replicas).unwrap_or(0);
        if shown != Some(available) {
            println!("  {name}: {available} of {wanted} available");
            shown = Some(available);
        }
        if available >= wanted {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn ask_until_it_answers(address: &str) -> anyhow::Result<String> {
    loop {
        match ask(address).await {
            Ok(answer) => return Ok(answer),
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn ask(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((address, 80)).await?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("it says {}", answer.lines().next().unwrap_or("nothing")),
    }
}
