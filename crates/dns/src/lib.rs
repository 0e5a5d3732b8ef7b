//! The cluster's name server: answers for the cluster domain from Services and EndpointSlices (Kubernetes DNS
//! specification 1.1), and asks the node's own resolvers for everything else.
//!
//! It never sends a name of the cluster domain, or an address of the cluster's ranges, to anybody else, and it never
//! changes a link or an address: somebody else puts the cluster DNS address on the node.
//!
//! # Expected flow
//! [`Zone`] is built by [`plan_service`] from each Service (pure) and swapped whole; [`answer()`] makes the response to
//! a query from it, or says that it must be forwarded; [`Server`] reads and writes packets; [`run`] feeds the zone.

mod answer;
mod forward;
mod name;
mod resolv;
mod run;
mod server;
mod tcp;
mod wire;
mod zone;

pub use answer::{Reply, answer};
pub use forward::Forwarder;
pub use name::WireName;
pub use resolv::nameservers;
pub use run::{Config, RunError, run};
pub use server::{Listener, Server, Transport};
pub use wire::{Query, QueryError, RecordType};
pub use zone::{Record, ServiceRecords, Zone, ZoneConfig, plan_service};
