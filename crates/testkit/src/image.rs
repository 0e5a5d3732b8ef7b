//! Images made on the spot: one layer, packed as `docker save` and the OCI image layout do, both in one archive.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What goes into an image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// As users write it, with its tag.
    pub name: String,
    /// A file of this machine and its place in the image.
    pub files: Vec<(PathBuf, String)>,
    /// A text and its place in the image.
    pub texts: Vec<(String, String)>,
    /// A link's place and what it points to.
    pub links: Vec<(String, String)>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
}

impl Image {
    /// Debian's static busybox with a link for each of its applets and the few files that programs look for.
    ///
    /// # Errors
    /// If busybox does not say what it can do.
    pub fn busybox(name: &str) -> anyhow::Result<Self> {
        let busybox = crate::peers::busybox();
        let listed = crate::process::run(std::process::Command::new(&busybox).arg("--list"), b"")?.ok();
        let applets = listed.lines().filter(|a| *a != "busybox");
        Ok(Self {
            name: name.to_owned(),
            files: vec![(busybox, "bin/busybox".to_owned())],
            texts: vec![
                ("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_owned(), "etc/passwd".to_owned()),
                ("root:x:0:\nnogroup:x:65534:\n".to_owned(), "etc/group".to_owned()),
            ],
            links: applets.map(|a| (format!("bin/{a}"), "/bin/busybox".to_owned())).collect(),
            entrypoint: Vec::new(),
            cmd: vec!["/bin/sh".to_owned()],
        })
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// If a file cannot be read or the archive not be written.
    pub fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let layer = self.layer().with_context(|| format!("packing the image {}", self.name))?;
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(), "os": "linux",
            "config": { "Env": [SEARCH_PATH], "Entrypoint": self.entrypoint, "Cmd": self.cmd, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len() }],
        }))?;
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest), "size": manifest.len(),
                "platform": { "architecture": architecture(), "os": "linux" },
                "annotations": { "io.containerd.image.name": self.name },
            }],
        }))?;
        let docker = serde_json::to_vec(&json!([{ "Config": blob(&config), "RepoTags": [self.name], "Layers": [blob(&layer)] }]))?;
        let mut out = Builder::new(File::create(archive).with_context(|| format!("creating {}", archive.display()))?);
        put(&mut out, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        put(&mut out, "index.json", 0o644, &index)?;
        for content in [&manifest, &config, &layer] {
            put(&mut out, &blob(content), 0o644, content)?;
        }
        put(&mut out, "manifest.json", 0o644, &docker)?;
        out.into_inner()?.sync_all()?;
        Ok(())
    }

    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (folder, mode) in [("bin/", 0o755), ("etc/", 0o755), ("root/", 0o700), ("tmp/", 0o1777)] {
            layer.append_data(&mut header(EntryType::Directory, mode, 0), folder, io::empty())?;
        }
        for (source, place) in &self.files {
            put(&mut layer, place, 0o755, &fs::read(source).with_context(|| format!("reading {}", source.display()))?)?;
        }
        for (text, place) in &self.texts {
            put(&mut layer, place, 0o644, text.as_bytes())?;
        }
        for (place, target) in &self.links {
            layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), place, target)?;
        }
        Ok(layer.into_inner()?)
    }
}

fn put(out: &mut Builder<impl io::Write>, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    out.append_data(&mut header(EntryType::Regular, mode, data.len() as u64), name, data)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

fn blob(data: &[u8]) -> String {
    digest(data).replacen("sha256:", "blobs/sha256/", 1)
}

/// As image configurations name this machine's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
