//! One tree as bytes in the encoding that the client wants.

use api::ApiError;
use api::meta::Gvk;
use bytes::Bytes;
use serde_json::Value;

use super::yaml;
use crate::model;
use crate::negotiate::{Accept, Encoding, not_acceptable};

/// Encodes a whole object of any kind.
pub fn encode(tree: &Value, accept: Accept) -> Result<Bytes, ApiError> {
    match accept.encoding {
        Encoding::Json if accept.pretty => serde_json::to_vec_pretty(tree).map(Bytes::from).map_err(ApiError::internal),
        Encoding::Json => serde_json::to_vec(tree).map(Bytes::from).map_err(ApiError::internal),
        Encoding::Yaml => Ok(Bytes::from(yaml::text(tree))),
        Encoding::Protobuf => {
            let gvk = Gvk::of(tree).map_err(ApiError::internal)?;
            model::protobuf(&gvk, tree).ok_or_else(not_acceptable)
        }
    }
}
