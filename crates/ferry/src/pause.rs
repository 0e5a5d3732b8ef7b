//! The process that rests in a pod's sandbox on a CRI runtime: it holds the pod's namespaces and, where the pod shares one
//! process namespace, buries its orphans.

use std::path::Path;

use anyhow::Context as _;
use runtime::images::{NewImage, write_archive};
use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};

/// The image that runs it, as a runtime's `sandbox_image` names it.
pub(crate) const IMAGE: &str = "ferry.test/pause:v1";

/// Rests until SIGTERM or SIGINT.
pub(crate) fn run() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut orphan = signal(SignalKind::child())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                // One signal may stand for many ends.
                _ = orphan.recv() => while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {},
            }
        }
    })
}

/// Writes an archive of the image.
pub(crate) fn write_image(archive: &Path) -> anyhow::Result<()> {
    let image = NewImage {
        name: IMAGE.to_owned(),
        files: vec![(std::env::current_exe().context("finding this binary")?, "/ferry".to_owned())],
        entrypoint: vec!["/ferry".to_owned(), "pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..NewImage::default()
    };
    write_archive(&image, archive).with_context(|| format!("writing {}", archive.display()))?;
    println!("{IMAGE}");
    Ok(())
}
