//! Endpoints: the older form of EndpointSlices, one object per Service, at most 1000 addresses.

pub mod plan;
mod sync;

pub use sync::run;
