//! The API server: HTTP front, pipeline, registry, watch cache, admission, discovery and connections to kubelets.
//!
//! Start with [`pipeline`], which is a request's whole way on one page.
//!
//! Never here: what an object means (crate `api`), how bytes become durable (crate `store`), or any controller's work.

pub mod admission;
pub mod allocate;
pub mod auth;
pub mod body;
pub mod bootstrap;
pub mod cache;
pub mod call;
pub mod catalog;
pub mod components;
pub mod config;
pub mod identity;
pub mod in_process;
mod leftover;
pub mod limits;
pub mod managed;
pub mod metrics;
pub mod model;
pub mod negotiate;
pub mod object;
pub mod pipeline;
pub mod registry;
pub mod request;
pub mod respond;
pub mod routes;
pub mod serve;
pub mod server;
pub mod storage;
pub mod strategy;
pub mod subresource;

pub use body::Body;
pub use config::{Config, Deps};
pub use identity::{Attributes, Authenticator, Authorizer, Decision, Peer, TokenIssuer, UserInfo};
pub use in_process::InProcess;
pub use object::Object;
pub use server::Server;
pub use storage::Storage;
