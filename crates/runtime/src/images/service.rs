//! The CRI's image service over the local store.

use std::path::PathBuf;

use async_trait::async_trait;
use cri::v1;

use super::credentials::Credentials;
use super::error::Error;
use super::reference::Reference;
use super::registry::Registries;
use super::store::{Image, ImageStore};
use crate::image::{Images, ResolvedImage};

/// This node's images, and the registries they come from.
pub struct LocalImages {
    store: ImageStore,
    registries: Registries,
}

impl LocalImages {
    /// Joins a store and registries.
    pub fn new(store: ImageStore, registries: Registries) -> Self {
        Self { store, registries }
    }

    /// The store.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }
}

#[async_trait]
impl Images for LocalImages {
    async fn resolve(&self, image: &str) -> cri::Result<ResolvedImage> {
        let found = self.store.find(image).ok_or_else(|| cri::Error::NotFound(format!("image {image:?} is not present")))?;
        let reference = found.digests.first().unwrap_or(&found.id).clone();
        Ok(ResolvedImage { id: found.id, reference, config: found.config, layers: found.layers })
    }
}

#[async_trait]
impl cri::ImageService for LocalImages {
    async fn list_images(&self, request: v1::ListImagesRequest) -> cri::Result<v1::ListImagesResponse> {
        let wanted = request.filter.and_then(|f| f.image).map(|i| i.image).filter(|name| !name.is_empty());
        let images = match wanted {
            Some(name) => self.store.find(&name).into_iter().collect(),
            None => self.store.list(),
        };
        Ok(v1::ListImagesResponse { images: images.iter().map(to_cri).collect() })
    }

    async fn image_status(&self, request: v1::ImageStatusRequest) -> cri::Result<v1::ImageStatusResponse> {
        let name = request.image.unwrap_or_default().image;
        let image = self.store.find(&name).as_ref().map(to_cri);
        Ok(v1::ImageStatusResponse { image, ..Default::default() })
    }

    async fn pull_image(&self, request: v1::PullImageRequest) -> cri::Result<v1::PullImageResponse> {
        let name = request.image.unwrap_or_default().image;
        let reference = Reference::parse(&name).map_err(to_cri_error)?;
        let auth = request.auth.unwrap_or_default();
        let credentials = Credentials::from_parts(&auth.username, &auth.password, &auth.auth, &auth.registry_token);
        let image = self.registries.pull(&self.store, &reference, &credentials).await.map_err(to_cri_error)?;
        Ok(v1::PullImageResponse { image_ref: image.id })
    }

    async fn remove_image(&self, request: v1::RemoveImageRequest) -> cri::Result<v1::RemoveImageResponse> {
        let name = request.image.unwrap_or_default().image;
        let store = self.store.clone();
        let removed = tokio::task::spawn_blocking(move || store.remove(&name)).await;
        removed.map_err(|e| cri::Error::Internal(e.to_string()))?.map_err(to_cri_error)?;
        Ok(v1::RemoveImageResponse {})
    }

    async fn image_fs_info(&self, _: v1::ImageFsInfoRequest) -> cri::Result<v1::ImageFsInfoResponse> {
        let store = self.store.clone();
        let usage = tokio::task::spawn_blocking(move || store.usage()).await;
        let (bytes, files) = usage.map_err(|e| cri::Error::Internal(e.to_string()))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let root: PathBuf = self.store.root().to_owned();
        let usage = v1::FilesystemUsage {
            timestamp: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: root.display().to_string() }),
            used_bytes: Some(v1::UInt64Value { value: bytes }),
            inodes_used: Some(v1::UInt64Value { value: files }),
        };
        Ok(v1::ImageFsInfoResponse { image_filesystems: vec![usage], ..Default::default() })
    }
}

fn to_cri(image: &Image) -> v1::Image {
    let user = image.config.user.split(':').next().unwrap_or_default();
    let uid = if user.is_empty() { Some(0) } else { user.parse::<i64>().ok() };
    v1::Image {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        size: image.size,
        uid: uid.map(|value| v1::Int64Value { value }),
        username: if uid.is_some() { String::new() } else { user.to_owned() },
        ..Default::default()
    }
}

fn to_cri_error(error: Error) -> cri::Error {
    match error {
        Error::NotFound(_) => cri::Error::NotFound(error.to_string()),
        Error::Reference { .. } => cri::Error::InvalidArgument(error.to_string()),
        other => cri::Error::Internal(other.to_string()),
    }
}
