//! Notices nodes that fall silent, and puts their condition into taints.

pub mod plan;
mod sync;

pub use sync::run;
