//! Images for containers: names, credentials, pulls with backoff.

pub mod auth;
pub mod name;
mod pull;

pub use pull::{Failure, Outcome, Pulls, Wanted};
