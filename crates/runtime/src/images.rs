//! Images: where they come from (archives, registries), where they are kept, and what a container needs to know of them.
//!
//! On disk, below one folder: `blobs/sha256/…` (configurations, and whatever is on its way in), `layers/<diff id>/`
//! (unpacked, in overlayfs' own form) and `images.json` (which name means which image).
//! Everything that comes in is hostile until its digest and its shape have been checked.

mod archive;
mod blobs;
mod build;
mod config;
mod credentials;
mod error;
mod layer;
mod manifest;
mod reference;
mod registry;
mod service;
mod store;

pub use archive::import;
pub use build::{NewImage, write_archive};
pub use credentials::Credentials;
pub use error::Error;
pub use reference::Reference;
pub use registry::Registries;
pub use service::LocalImages;
pub use store::{Image, ImageStore};
