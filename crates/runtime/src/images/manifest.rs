//! Manifests and indexes, of OCI and of Docker (OCI image specification, `manifest.md` and `image-index.md`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::Error;

/// What a registry may answer with.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// A manifest larger than this is an attack or a mistake.
pub(super) const MANIFEST_MAX_BYTES: u64 = 4 << 20;
/// As above, for configurations.
pub(super) const CONFIG_MAX_BYTES: u64 = 8 << 20;
/// More layers than overlayfs can stack on any kernel.
const LAYERS_MAX: usize = 500;

/// A pointer to content.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// A manifest or an index; which one shows in its fields.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// One image's parts.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What a document turned out to be.
pub(super) enum Parsed {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

impl Descriptor {
    /// A pointer without a platform or annotations.
    pub(super) fn plain(digest: &str, size: u64) -> Self {
        Self { digest: digest.to_owned(), size, platform: None, annotations: BTreeMap::new() }
    }
}

pub(super) fn parse(image: &str, data: &[u8]) -> Result<Parsed, Error> {
    let malformed = |why: String| Error::Malformed { what: "manifest", image: image.to_owned(), why };
    let document: Document = serde_json::from_slice(data).map_err(|e| malformed(e.to_string()))?;
    match document.config {
        Some(config) if document.layers.len() <= LAYERS_MAX => Ok(Parsed::Manifest(Manifest { config, layers: document.layers })),
        Some(_) => Err(malformed(format!("it has {} layers, at most {LAYERS_MAX} are taken", document.layers.len()))),
        None if !document.manifests.is_empty() => Ok(Parsed::Index(document.manifests)),
        None => Err(malformed("it is neither a manifest nor an index (schema 1 is no longer supported)".into())),
    }
}

/// The index entry for this machine.
pub(super) fn for_this_machine<'a>(image: &str, index: &'a [Descriptor]) -> Result<&'a Descriptor, Error> {
    let arch = architecture();
    let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == arch);
    let only_one = || index.first().filter(|d| index.len() == 1 && d.platform.is_none());
    index.iter().find(fits).or_else(only_one).ok_or_else(|| Error::Platform { image: image.to_owned(), arch })
}

/// This machine's architecture in OCI's (Go's) words.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
