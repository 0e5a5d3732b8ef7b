//! Image archives: OCI layouts and `docker save` files, in one tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::manifest::{Descriptor, MANIFEST_MAX_BYTES, Manifest, Parsed, for_this_machine, parse};
use super::reference::{Reference, is_digest};
use super::store::{Image, ImageStore};

/// Bytes of all members of one archive.
const ARCHIVE_MAX_BYTES: u64 = 64 << 30;
const MEMBERS_MAX: usize = 10_000;
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Brings every image of an archive in and returns them with the names they got. Compressed archives are taken too.
pub fn import(store: &ImageStore, archive: &Path) -> Result<Vec<Image>, Error> {
    let _work = store.begin_work()?;
    let file = File::open(archive).map_err(Error::io("opening", archive))?;
    let place =
        tempfile::Builder::new().prefix(".import-").tempdir_in(store.root()).map_err(Error::io("creating a folder in", store.root()))?;
    let open = Unpacked { archive: archive.display().to_string(), members: extract(archive, file, place.path())?, store };
    if open.members.contains_key("index.json") {
        return open.oci_layout();
    }
    if open.members.contains_key("manifest.json") {
        return open.docker_archive();
    }
    Err(open.malformed("it has neither an index.json nor a manifest.json"))
}

struct Unpacked<'a> {
    archive: String,
    /// Path in the archive to path on disk.
    members: BTreeMap<String, PathBuf>,
    store: &'a ImageStore,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Unpacked<'_> {
    fn oci_layout(&self) -> Result<Vec<Image>, Error> {
        let Parsed::Index(entries) = parse(&self.archive, &self.read("index.json", MANIFEST_MAX_BYTES)?)? else {
            return Err(self.malformed("index.json is not an index"));
        };
        entries.iter().map(|entry| self.oci_image(entry)).collect()
    }

    fn oci_image(&self, entry: &Descriptor) -> Result<Image, Error> {
        let name = NAME_ANNOTATIONS.iter().find_map(|key| entry.annotations.get(*key));
        // `ref.name` alone may be only a tag, which names no repository.
        let name = name.filter(|n| n.contains(['/', ':'])).and_then(|n| Reference::parse(n).ok());
        let mut digest = entry.digest.clone();
        let mut parsed = parse(&self.archive, &self.blob(&digest)?)?;
        if let Parsed::Index(inner) = &parsed {
            digest = for_this_machine(&self.archive, inner)?.digest.clone();
            parsed = parse(&self.archive, &self.blob(&digest)?)?;
        }
        let Parsed::Manifest(manifest) = parsed else { return Err(self.malformed("an index in an index in an index")) };
        self.store.blobs().put(&self.blob(&manifest.config.digest)?)?;
        let config = self.store.config(&manifest.config.digest)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(self.malformed("the configuration names another number of layers than the manifest"));
        }
        for (diff_id, layer) in config.rootfs.diff_ids.iter().zip(&manifest.layers) {
            self.store.add_layer(diff_id, self.open(&blob_path(&layer.digest))?)?;
        }
        self.store.commit(&manifest, Some(&digest), name.as_ref())
    }

    fn docker_archive(&self) -> Result<Vec<Image>, Error> {
        let text = self.read("manifest.json", MANIFEST_MAX_BYTES)?;
        let images: Vec<DockerImage> = serde_json::from_slice(&text).map_err(|e| self.malformed(&e.to_string()))?;
        let mut imported = Vec::new();
        for image in images {
            let config_bytes = self.read(&image.config, super::manifest::CONFIG_MAX_BYTES)?;
            let size = config_bytes.len() as u64;
            let config_digest = self.store.blobs().put(&config_bytes)?;
            let config = self.store.config(&config_digest)?;
            if config.rootfs.diff_ids.len() != image.layers.len() {
                return Err(self.malformed("the configuration names another number of layers than the manifest"));
            }
            let mut layers = Vec::new();
            for (diff_id, member) in config.rootfs.diff_ids.iter().zip(&image.layers) {
                let file = self.open(member)?;
                let size = file.metadata().map_or(0, |m| m.len());
                self.store.add_layer(diff_id, file)?;
                layers.push(Descriptor::plain(diff_id, size));
            }
            let manifest = Manifest { config: Descriptor::plain(&config_digest, size), layers };
            let names = image.repo_tags.unwrap_or_default();
            let mut done = self.store.commit(&manifest, None, None)?;
            for name in &names {
                done = self.store.commit(&manifest, None, Some(&Reference::parse(name)?))?;
            }
            imported.push(done);
        }
        Ok(imported)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let data = self.read(&blob_path(digest), MANIFEST_MAX_BYTES)?;
        let actual = super::blobs::digest_of(&data);
        if is_digest(digest) && actual == digest { Ok(data) } else { Err(Error::Digest { expected: digest.to_owned(), actual }) }
    }

    fn open(&self, member: &str) -> Result<File, Error> {
        let path = self.members.get(member).ok_or_else(|| self.malformed(&format!("{member} is missing")))?;
        File::open(path).map_err(Error::io("opening", path))
    }

    fn read(&self, member: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let mut data = Vec::new();
        self.open(member)?.take(limit + 1).read_to_end(&mut data).map_err(Error::io("reading", member))?;
        if data.len() as u64 > limit { Err(Error::TooLarge { what: member.to_owned(), limit }) } else { Ok(data) }
    }

    fn malformed(&self, why: &str) -> Error {
        Error::Malformed { what: "archive", image: self.archive.clone(), why: why.to_owned() }
    }
}

/// Writes the regular members to numbered files, so that no name in the archive ever becomes a path on disk.
fn extract(archive: &Path, file: File, place: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let broken = |e: io::Error| Error::Malformed { what: "archive", image: archive.display().to_string(), why: e.to_string() };
    let mut tar = tar::Archive::new(decompressed(file).map_err(broken)?);
    let mut members: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut bytes = 0u64;
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        bytes = bytes.saturating_add(entry.size());
        if bytes > ARCHIVE_MAX_BYTES || members.len() >= MEMBERS_MAX {
            return Err(Error::TooLarge { what: archive.display().to_string(), limit: ARCHIVE_MAX_BYTES });
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        if entry.header().entry_type().is_symlink() || entry.header().entry_type().is_hard_link() {
            // `docker save` links a layer that two images share.
            let target = entry.link_name_bytes().map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default();
            let shared = members.get(target.trim_start_matches("../")).or_else(|| members.get(&target)).cloned();
            members.extend(shared.map(|path| (name, path)));
        } else if entry.header().entry_type().is_file() {
            let path = place.join(members.len().to_string());
            let mut out = File::create(&path).map_err(Error::io("creating", &path))?;
            io::copy(&mut entry, &mut out).map_err(broken)?;
            members.insert(name, path);
        }
    }
    Ok(members)
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// The plain bytes of a stream that may be gzip, zstd or plain, told by its first bytes.
pub(super) fn decompressed<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(64 << 10, source);
    let head = source.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(source)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(source)?));
    }
    Ok(Box::new(source))
}

/// A reader that knows the digest of what passed through.
pub(super) struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// Reads what is left (tar readers stop at the end mark) and returns the digest of everything.
    pub(super) fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(format!("sha256:{}", hex::encode(self.hash.finalize())))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}
