//! The controllers of Kubernetes' controller manager: each watches the API by shared informers and moves the cluster towards
//! what objects ask for. One module per controller: `plan` decides (pure), `sync` observes, plans and acts.
//!
//! Never here: any way to the store but through `kube::Client`, and any call from one controller to another.

pub mod clusterroles;
pub mod context;
pub mod deployment;
pub mod disrupt;
pub mod endpoints;
pub mod endpointslice;
pub mod expectations;
pub mod gc;
pub mod namespace;
pub mod nodelifecycle;
pub mod ownership;
pub mod podgc;
pub mod pods;
pub mod replicas;
pub mod rootca;
pub mod serviceaccount;
pub mod services;
pub mod tainteviction;
pub mod tokens;
pub mod tolerations;

mod supervisor;

pub use context::{Clients, Config, Context, LegacyToken, TokenMaker};
pub use supervisor::{NAMES, run};
