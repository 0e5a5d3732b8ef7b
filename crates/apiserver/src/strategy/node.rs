//! Nodes: a kubelet registers with its status.

use serde_json::Value;

use super::{Strategy, keep_old};

pub(super) struct Nodes;

impl Strategy for Nodes {
    fn prepare_create(&self, _: &mut Value) {}

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "status");
    }
}
