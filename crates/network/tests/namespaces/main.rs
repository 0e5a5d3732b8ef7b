//! The network in real network namespaces, each test in its own small world. Needs root; touches nothing outside.

mod pods;
mod services;
mod world;
