//! Makes an image archive out of files, so that a cluster can show an application without a registry.

use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::blobs::digest_of;
use super::error::Error;
use super::manifest::architecture;

/// What to put into an image.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// `repository:tag`.
    pub name: String,
    /// File on this machine and its path in the image; its permission bits are kept, its owner becomes root.
    pub files: Vec<(PathBuf, String)>,
    /// Symbolic links: path in the image and target.
    pub links: Vec<(String, String)>,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments.
    pub cmd: Vec<String>,
    /// `user[:group]`; empty means root.
    pub user: String,
}

/// Writes an archive that is an OCI layout, with one uncompressed layer, to `target`.
pub fn write_archive(image: &NewImage, target: &Path) -> Result<(), Error> {
    let written = (|| {
        let mut layer = tempfile::tempfile()?;
        let (layer_digest, layer_size) = write_layer(image, &mut layer)?;
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Entrypoint": image.entrypoint, "Cmd": image.cmd, "User": image.user, "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
        });
        let config = serde_json::to_vec(&config)?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(&config), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": layer_size }],
        }))?;
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest_of(&manifest), "size": manifest.len(),
                "platform": { "architecture": architecture(), "os": "linux" },
                "annotations": { "io.containerd.image.name": image.name },
            }],
        }))?;
        let mut out = Builder::new(File::create(target)?);
        append(&mut out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut out, "index.json", &index)?;
        append(&mut out, &blob_name(&digest_of(&manifest)), &manifest)?;
        append(&mut out, &blob_name(&digest_of(&config)), &config)?;
        layer.rewind()?;
        let mut header = header(EntryType::Regular, 0o644, layer_size);
        out.append_data(&mut header, blob_name(&layer_digest), &mut layer)?;
        out.into_inner()?.sync_all()
    })();
    written.map_err(Error::io("writing image archive", target))
}

fn write_layer(image: &NewImage, out: &mut File) -> io::Result<(String, u64)> {
    let mut layer = Builder::new(Counting { out, hash: Sha256::new(), written: 0 });
    for (name, mode) in [("tmp/", 0o1777), ("etc/", 0o755)] {
        layer.append_data(&mut header(EntryType::Directory, mode, 0), name, io::empty())?;
    }
    for (source, place) in &image.files {
        let file = File::open(source)?;
        let meta = file.metadata()?;
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777;
        layer.append_data(&mut header(EntryType::Regular, mode, meta.len()), place.trim_start_matches('/'), file)?;
    }
    for (place, to) in &image.links {
        layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), place.trim_start_matches('/'), to)?;
    }
    let counted = layer.into_inner()?;
    Ok((format!("sha256:{}", hex::encode(counted.hash.finalize())), counted.written))
}

fn append(out: &mut Builder<File>, name: &str, data: &[u8]) -> io::Result<()> {
    out.append_data(&mut header(EntryType::Regular, 0o644, data.len() as u64), name, data)
}

/// No owner, no time: the same files give the same image.
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

fn blob_name(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

struct Counting<'a> {
    out: &'a mut File,
    hash: Sha256,
    written: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.out.write(data)?;
        self.hash.update(data.get(..n).unwrap_or_default());
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
