//! The images on this node: names, unpacked layers, and what may be thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::config::ConfigFile;
use super::error::Error;
use super::layer;
use super::manifest::{CONFIG_MAX_BYTES, Manifest};
use super::reference::{Reference, is_digest};
use crate::image::ImageConfig;

const INDEX_FILE: &str = "images.json";
/// Held while the index is read, changed and written.
const INDEX_LOCK: &str = "index.lock";
/// Held shared by whoever brings an image in, and alone by whoever sweeps.
const WORK_LOCK: &str = "work.lock";
const INDEX_VERSION: u32 = 1;

/// One image that is present and unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration: the image's identity.
    pub id: String,
    /// `repository:tag` names.
    pub tags: Vec<String>,
    /// `repository@digest` names.
    pub digests: Vec<String>,
    /// Bytes of its compressed layers and configuration.
    pub size: u64,
    /// What its author says about running it.
    pub config: ImageConfig,
    /// Folders of its layers, lowest first.
    pub layers: Vec<PathBuf>,
}

/// The images of one node. Cheap to clone. Several processes may use one folder (`ferry image import` beside a running
/// server): files lock it, and a changed index is read again.
#[derive(Clone)]
pub struct ImageStore(Arc<Inner>);

struct Inner {
    root: PathBuf,
    blobs: Blobs,
    index: Mutex<Known>,
}

/// The index as last read, and which file it was read from.
#[derive(Default)]
struct Known {
    index: Index,
    file: FileVersion,
}

/// Inode and time of change: every save puts a new file in place. Zeros when there is none.
type FileVersion = (u64, i64, i64);

/// Somebody is bringing an image in: while one of these lives, nothing unused is swept away.
pub(super) struct Work(#[expect(dead_code, reason = "held for its lock")] File);

/// What `images.json` holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Index {
    version: u32,
    images: BTreeMap<String, Record>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
    size: u64,
    layers: Vec<String>,
}

impl ImageStore {
    /// Opens the folder, or makes it; leftovers of interrupted work are removed.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let blobs = Blobs::open(root)?;
        let layers = root.join("layers");
        fs::create_dir_all(&layers).map_err(Error::io("creating", &layers))?;
        let store = Self(Arc::new(Inner { root: root.to_owned(), blobs, index: Mutex::default() }));
        store.sweep()?;
        Ok(store)
    }

    /// All images, by id.
    pub fn list(&self) -> Vec<Image> {
        let Ok(known) = self.current() else { return Vec::new() };
        known.index.images.iter().filter_map(|(id, record)| self.image(id, record).ok()).collect()
    }

    /// An image by reference, id, or id without its algorithm; `None` if it is not here.
    pub fn find(&self, name: &str) -> Option<Image> {
        let known = self.current().ok()?;
        let id = find_id(&known.index, name)?;
        let record = known.index.images.get(&id)?;
        self.image(&id, record).ok()
    }

    /// Takes one name away; the image goes with its last tag. An id or digest takes the whole image. Returns whether anything changed.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        let _alone = self.lock(INDEX_LOCK, File::lock)?;
        let mut known = self.current()?;
        let Some(id) = find_id(&known.index, name) else { return Ok(false) };
        let tag = Reference::parse(name).ok().filter(|r| r.digest.is_none()).map(|r| r.to_string());
        let mut next = known.index.clone();
        if let Some(record) = next.images.get_mut(&id) {
            let others = tag.filter(|tag| record.tags.remove(tag)).is_some() && !record.tags.is_empty();
            if !others {
                next.images.remove(&id);
            }
        }
        self.save(&mut known, next)?;
        drop(known);
        self.sweep_under_lock()?;
        Ok(true)
    }

    /// Bytes and files that the store takes on its disk.
    pub fn usage(&self) -> (u64, u64) {
        folder_usage(&self.0.root)
    }

    /// The folder that everything is in.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) fn begin_work(&self) -> Result<Work, Error> {
        self.lock(WORK_LOCK, File::lock_shared).map(Work)
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Reads and checks a configuration that is among the blobs.
    pub(super) fn config(&self, digest: &str) -> Result<ConfigFile, Error> {
        let data = self.0.blobs.read(digest, CONFIG_MAX_BYTES)?;
        serde_json::from_slice(&data).map_err(|e| Error::Malformed { what: "configuration", image: digest.to_owned(), why: e.to_string() })
    }

    pub(super) fn has_layer(&self, diff_id: &str) -> bool {
        self.layer_path(diff_id).is_ok_and(|path| path.exists())
    }

    /// Unpacks a layer beside its place, checks its digest, and moves it there. `compressed` is any known form.
    pub(super) fn add_layer(&self, diff_id: &str, compressed: impl std::io::Read) -> Result<(), Error> {
        let place = self.layer_path(diff_id)?;
        if place.exists() {
            return Ok(());
        }
        let layers = self.0.root.join("layers");
        let work =
            tempfile::Builder::new().prefix(".unpacking-").tempdir_in(&layers).map_err(Error::io("creating a folder in", &layers))?;
        let root = work.path().join("fs");
        fs::create_dir(&root).map_err(Error::io("creating", &root))?;
        set_mode(&root)?;
        let broken = |e: std::io::Error| Error::Malformed { what: "layer", image: diff_id.to_owned(), why: e.to_string() };
        let mut tar = super::archive::Hashing::new(super::archive::decompressed(compressed).map_err(broken)?);
        layer::unpack(diff_id, &mut tar, &root)?;
        let actual = tar.finish().map_err(broken)?;
        if actual != diff_id {
            return Err(Error::Digest { expected: diff_id.to_owned(), actual });
        }
        match fs::rename(&root, &place) {
            // Somebody else unpacked the same layer at the same time.
            Err(_) if place.exists() => Ok(()),
            other => other.map_err(Error::io("renaming to", &place)),
        }
    }

    /// Makes an image known whose configuration and layers are all here.
    pub(super) fn commit(&self, manifest: &Manifest, manifest_digest: Option<&str>, name: Option<&Reference>) -> Result<Image, Error> {
        let id = manifest.config.digest.clone();
        let config = self.config(&id)?;
        for diff_id in &config.rootfs.diff_ids {
            if !self.has_layer(diff_id) {
                return Err(Error::Malformed { what: "archive", image: id, why: format!("layer {diff_id} is missing") });
            }
        }
        let _alone = self.lock(INDEX_LOCK, File::lock)?;
        let mut known = self.current()?;
        let mut next = known.index.clone();
        if let Some(tag) = name.and_then(|n| n.tag.as_ref().map(|t| format!("{}:{t}", n.name()))) {
            // A tag means one image at a time; the image it meant before stays under its other names, or goes.
            next.images.retain(|other, record| {
                let moved = record.tags.remove(&tag);
                *other == id || !moved || !record.tags.is_empty() || !record.digests.is_empty()
            });
            next.images.entry(id.clone()).or_default().tags.insert(tag);
        }
        let record = next.images.entry(id.clone()).or_default();
        if let (Some(name), Some(digest)) = (name, manifest_digest) {
            record.digests.insert(format!("{}@{digest}", name.name()));
        }
        record.size = manifest.config.size + manifest.layers.iter().map(|l| l.size).sum::<u64>();
        record.layers = config.rootfs.diff_ids.clone();
        let image = self.image(&id, record)?;
        self.save(&mut known, next)?;
        Ok(image)
    }

    fn image(&self, id: &str, record: &Record) -> Result<Image, Error> {
        let layers = record.layers.iter().map(|diff_id| self.layer_path(diff_id)).collect::<Result<_, _>>()?;
        Ok(Image {
            id: id.to_owned(),
            tags: record.tags.iter().cloned().collect(),
            digests: record.digests.iter().cloned().collect(),
            size: record.size,
            config: self.config(id)?.image_config(),
            layers,
        })
    }

    fn layer_path(&self, diff_id: &str) -> Result<PathBuf, Error> {
        match diff_id.strip_prefix("sha256:") {
            Some(hex) if is_digest(diff_id) => Ok(self.0.root.join("layers").join(hex)),
            _ => Err(Error::Malformed { what: "layer digest", image: diff_id.to_owned(), why: "not a sha256 digest".into() }),
        }
    }

    /// The index, read again if another process has replaced the file.
    fn current(&self) -> Result<MutexGuard<'_, Known>, Error> {
        let mut known = self.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.0.root.join(INDEX_FILE);
        let file = version_of(&path);
        if file == known.file {
            return Ok(known);
        }
        let index = match stdx::fs::read_if_exists(&path).map_err(Error::io("reading", &path))? {
            None => Index { version: INDEX_VERSION, ..Index::default() },
            Some(text) => serde_json::from_slice(&text).map_err(|e| Error::Malformed {
                what: "index",
                image: path.display().to_string(),
                why: e.to_string(),
            })?,
        };
        *known = Known { index, file };
        Ok(known)
    }

    fn save(&self, known: &mut Known, next: Index) -> Result<(), Error> {
        let path = self.0.root.join(INDEX_FILE);
        let text = serde_json::to_vec_pretty(&next).map_err(|e| Error::io("writing", &path)(e.into()))?;
        stdx::fs::write_atomic(&path, &text, 0o600).map_err(Error::io("writing", &path))?;
        *known = Known { index: next, file: version_of(&path) };
        Ok(())
    }

    fn lock(&self, name: &str, how: fn(&File) -> std::io::Result<()>) -> Result<File, Error> {
        let path = self.0.root.join(name);
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("opening", &path))?;
        how(&file).map_err(Error::io("locking", path))?;
        Ok(file)
    }

    fn sweep(&self) -> Result<(), Error> {
        let _alone = self.lock(INDEX_LOCK, File::lock)?;
        self.sweep_under_lock()
    }

    /// Removes every layer and blob that no image uses, unless work is under way: then a later sweep does.
    fn sweep_under_lock(&self) -> Result<(), Error> {
        let path = self.0.root.join(WORK_LOCK);
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("opening", &path))?;
        if file.try_lock().is_err() {
            return Ok(());
        }
        let known = self.current()?;
        let images = &known.index.images;
        let hex = |digest: &String| digest.trim_start_matches("sha256:").to_owned();
        let layers: BTreeSet<String> = images.values().flat_map(|r| r.layers.iter().map(hex)).collect();
        let blobs: BTreeSet<String> = images.keys().map(hex).collect();
        sweep_folder(&self.0.root.join("layers"), &layers)?;
        sweep_folder(&self.0.root.join("blobs/sha256"), &blobs)
    }
}

fn version_of(path: &Path) -> FileVersion {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).map_or((0, 0, 0), |m| (m.ino(), m.mtime(), m.mtime_nsec()))
}

fn sweep_folder(folder: &Path, keep: &BTreeSet<String>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("reading", folder))? {
        let entry = entry.map_err(Error::io("reading", folder))?;
        if keep.contains(&*entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io("removing", path))?;
    }
    Ok(())
}

fn find_id(index: &Index, name: &str) -> Option<String> {
    let as_id = if name.starts_with("sha256:") { name.to_owned() } else { format!("sha256:{name}") };
    if index.images.contains_key(&as_id) {
        return Some(as_id);
    }
    let reference = Reference::parse(name).ok()?;
    let by_digest = reference.digest.as_ref().map(|digest| format!("{}@{digest}", reference.name()));
    let by_tag = reference.to_string();
    let is_it = |r: &Record| match &by_digest {
        Some(pinned) => r.digests.contains(pinned),
        None => r.tags.contains(&by_tag),
    };
    index.images.iter().find(|(_, record)| is_it(record)).map(|(id, _)| id.clone())
}

fn set_mode(root: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).map_err(Error::io("setting permissions of", root))
}

fn folder_usage(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(folder) else { return (0, 0) };
    let mut sum = (0, 0);
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        sum.0 += meta.blocks() * 512;
        sum.1 += 1;
        if meta.is_dir() {
            let inside = folder_usage(&entry.path());
            sum = (sum.0 + inside.0, sum.1 + inside.1);
        }
    }
    sum
}
