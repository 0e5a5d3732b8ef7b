//! `ferry image`: the images of this node, also while a server runs.

use std::path::Path;

use anyhow::{Context as _, bail};
use runtime::images::{Credentials, Image, ImageStore, Reference, Registries, import};

use crate::cli::ImageCommand;
use crate::layout::Layout;
use crate::pause;

/// Where images live below the data folder.
pub(crate) const FOLDER: &str = "images";
/// Where registries' own authorities are found below the data folder: `HOST/ca.crt`.
pub(crate) const CERTIFICATES: &str = "registries";

/// Opens the node's images, unless another runtime keeps them.
fn open_here(data_dir: &Path) -> anyhow::Result<ImageStore> {
    if let Some(socket) = Layout::read_if_written(data_dir)?.and_then(|layout| layout.runtime_socket) {
        bail!("the runtime at {} keeps this node's images; use its own tool, such as ctr --namespace k8s.io images", socket.display());
    }
    open(data_dir)
}

/// Opens the node's images.
pub(crate) fn open(data_dir: &Path) -> anyhow::Result<ImageStore> {
    ImageStore::open(&data_dir.join(FOLDER)).with_context(|| format!("opening the images in {}", data_dir.display()))
}

/// Runs one command.
pub(crate) fn run(command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Import { archives, place } => {
            let store = open_here(&place.data_dir)?;
            for archive in archives {
                for image in import(&store, &archive)? {
                    println!("{}", names(&image));
                }
            }
        }
        ImageCommand::Pull { image, creds, place } => {
            let store = open_here(&place.data_dir)?;
            let credentials = creds.as_deref().map_or(Ok(Credentials::Anonymous), |c| {
                let (user, password) = c.split_once(':').context("--creds takes USER:PASSWORD")?;
                anyhow::Ok(Credentials::from_parts(user, password, "", ""))
            })?;
            let reference = Reference::parse(&image)?;
            let registries = Registries::new(place.data_dir.join(CERTIFICATES));
            crate::block_on(async {
                let image = registries.pull(&store, &reference, &credentials).await?;
                println!("{}", names(&image));
                Ok(())
            })?;
        }
        ImageCommand::Pause { archive } => pause::write_image(&archive)?,
        ImageCommand::List { place } => {
            println!("{:<60} {:<15} {:>10}", "IMAGE", "ID", "SIZE");
            for image in open_here(&place.data_dir)?.list() {
                let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
                println!("{:<60} {:<15} {:>10}", names(&image), id, human_size(image.size));
            }
        }
        ImageCommand::Remove { images, place } => {
            let store = open_here(&place.data_dir)?;
            for image in images {
                anyhow::ensure!(store.remove(&image)?, "image {image:?} is not on this node");
                println!("removed {image}");
            }
        }
    }
    Ok(())
}

fn names(image: &Image) -> String {
    let names = if image.tags.is_empty() { &image.digests } else { &image.tags };
    if names.is_empty() { image.id.clone() } else { names.join(", ") }
}

fn human_size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{}kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{}.{}MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{}.{}GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}
