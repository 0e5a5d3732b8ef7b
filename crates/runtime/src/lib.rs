//! runtime

pub mod image;
pub mod images;
