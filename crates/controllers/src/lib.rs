//! The controllers of Kubernetes' controller manager: each watches the API by shared informers and moves the cluster towards
//! what objects ask for. One module per controller: `plan` decides (pure), `sync` observes, plans and acts.
//!
//! Never here: any way to the store but through `kube::Client`, and any call from one controller to another.

pub mod context;
pub mod deployment;
pub mod endpoints;
pub mod endpointslice;
pub mod expectations;
pub mod namespace;
pub mod ownership;
pub mod pods;
pub mod replicas;
pub mod rootca;
pub mod serviceaccount;
pub mod services;

mod supervisor;

pub use context::{Clients, Config, Context, TokenMaker};
pub use supervisor::{NAMES, run};
