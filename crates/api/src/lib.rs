//! The Kubernetes 1.36 object model: schema, encodings, patches, defaults, validation, discovery and tables.
//!
//! An object on its way through the API server is a JSON tree ([`serde_json::Value`]) that the schema table describes;
//! where code reads fields it is a `k8s_openapi` struct.
//!
//! Never here: I/O, async, clocks, or anything that knows of a store, a connection or a caller.

pub mod apply;
pub mod codec;
pub mod defaults;
pub mod discovery;
pub mod error;
pub mod field;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod table;
pub mod validation;
pub mod yaml;

pub use error::{ApiError, Reason};
