//! Pulls from registries (OCI distribution specification): TLS, passwords, tokens, redirects.

mod connection;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use http_body_util::BodyExt as _;

use super::credentials::Credentials;
use super::error::Error;
use super::manifest::{ACCEPT, CONFIG_MAX_BYTES, Descriptor, MANIFEST_MAX_BYTES, Manifest, Parsed, for_this_machine, parse};
use super::reference::{Reference, is_digest};
use super::store::{Image, ImageStore, Work};
use connection::{Connector, Response};

/// Bytes of one compressed layer.
const LAYER_MAX_BYTES: u64 = 32 << 30;

/// How to reach registries.
#[derive(Clone)]
pub struct Registries {
    connector: Arc<Connector>,
}

impl Registries {
    /// Trusts the system's authorities and, for a registry `HOST`, also `certificates/HOST/ca.crt` (as Docker's `certs.d`).
    pub fn new(certificates: PathBuf) -> Self {
        Self { connector: Arc::new(Connector::new(certificates)) }
    }

    /// Brings an image in from its registry.
    pub async fn pull(&self, store: &ImageStore, reference: &Reference, credentials: &Credentials) -> Result<Image, Error> {
        let work = store.begin_work()?;
        let session = Session {
            image: reference.to_string(),
            reference,
            base: format!("/v2/{}", reference.repository),
            registry: self.connector.session(&reference.registry, &reference.to_string(), credentials),
            store,
            _work: work,
        };
        session.run().await
    }
}

struct Session<'a> {
    image: String,
    reference: &'a Reference,
    base: String,
    registry: connection::Session<'a>,
    store: &'a ImageStore,
    _work: Work,
}

impl Session<'_> {
    async fn run(&self) -> Result<Image, Error> {
        let (top_digest, data) = self.manifest(self.reference.target()).await?;
        let manifest = match parse(&self.image, &data)? {
            Parsed::Manifest(manifest) => manifest,
            Parsed::Index(entries) => {
                let entry = for_this_machine(&self.image, &entries)?;
                let (_, data) = self.manifest(&entry.digest).await?;
                match parse(&self.image, &data)? {
                    Parsed::Manifest(manifest) => manifest,
                    Parsed::Index(_) => {
                        return Err(Error::Malformed { what: "manifest", image: self.image.clone(), why: "an index in an index".into() });
                    }
                }
            }
        };
        self.blob(&manifest.config, CONFIG_MAX_BYTES).await?;
        self.layers(&manifest).await?;
        // What the user pinned, or what the tag meant: the index if there is one.
        self.store.commit(&manifest, Some(&top_digest), Some(self.reference))
    }

    async fn manifest(&self, target: &str) -> Result<(String, Vec<u8>), Error> {
        let url = format!("{}/manifests/{target}", self.base);
        let response = self.registry.get(&url, ACCEPT).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Err(Error::NotFound(self.image.clone()));
        }
        let data = self.whole(response, MANIFEST_MAX_BYTES).await?;
        let digest = super::blobs::digest_of(&data);
        if is_digest(target) && target != digest {
            return Err(Error::Digest { expected: target.to_owned(), actual: digest });
        }
        Ok((digest, data))
    }

    async fn layers(&self, manifest: &Manifest) -> Result<(), Error> {
        let config = self.store.config(&manifest.config.digest)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            let why = "the configuration names another number of layers than the manifest".into();
            return Err(Error::Malformed { what: "manifest", image: self.image.clone(), why });
        }
        for (diff_id, layer) in config.rootfs.diff_ids.iter().zip(&manifest.layers) {
            if self.store.has_layer(diff_id) {
                continue;
            }
            self.blob(layer, LAYER_MAX_BYTES).await?;
            let (store, diff_id, digest) = (self.store.clone(), diff_id.clone(), layer.digest.clone());
            let unpacked = tokio::task::spawn_blocking(move || {
                let path = store.blobs().path(&digest)?;
                let file = std::fs::File::open(&path).map_err(Error::io("opening", &path))?;
                store.add_layer(&diff_id, file)?;
                // Unpacked and checked: the compressed form would only take room.
                store.blobs().remove(&digest)
            });
            unpacked.await.map_err(|e| Error::Malformed { what: "layer", image: self.image.clone(), why: e.to_string() })??;
        }
        Ok(())
    }

    async fn blob(&self, descriptor: &Descriptor, limit: u64) -> Result<(), Error> {
        if self.store.blobs().has(&descriptor.digest) {
            return Ok(());
        }
        let url = format!("{}/blobs/{}", self.base, descriptor.digest);
        let mut response = self.registry.get(&url, "*/*").await?;
        if response.status != StatusCode::OK {
            return Err(self.registry.unexpected(&url, response.status));
        }
        let mut incoming = self.store.blobs().begin(&descriptor.digest, limit)?;
        while let Some(frame) = response.body.frame().await {
            let frame = frame.map_err(|e| self.registry.unreachable(&url, &e))?;
            if let Ok(data) = frame.into_data() {
                incoming.append(&data)?;
            }
        }
        incoming.finish()
    }

    async fn whole(&self, response: Response, limit: u64) -> Result<Vec<u8>, Error> {
        if response.status != StatusCode::OK {
            return Err(self.registry.unexpected(&self.base, response.status));
        }
        let limited = http_body_util::Limited::new(response.body, usize::try_from(limit).unwrap_or(usize::MAX));
        let body = limited.collect().await.map_err(|e| Error::Unreachable {
            image: self.image.clone(),
            url: self.base.clone(),
            why: e.to_string(),
        })?;
        Ok(body.to_bytes().to_vec())
    }
}
