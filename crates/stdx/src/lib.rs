//! What every room needs and no standard library has: a clock that tests can turn, backoff, seeded
//! randomness, and files that are either whole or absent.
//!
//! Never here: any word of Kubernetes, and anything only one crate needs.

pub mod backoff;
pub mod clock;
pub mod fs;
pub mod prng;

pub use backoff::Backoff;
pub use clock::Clock;
pub use prng::Prng;
