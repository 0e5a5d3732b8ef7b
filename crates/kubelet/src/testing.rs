//! What tests share.

use std::path::Path;

use stdx::{Clock, Prng};

use crate::config::{Config, Register, Reserved};

/// A plausible configuration.
pub(crate) fn config(data_dir: &Path) -> Config {
    Config {
        node_name: "node-1".into(),
        node_ips: vec!["192.0.2.1".parse().unwrap()],
        data_dir: data_dir.to_owned(),
        cluster_dns: vec!["10.43.0.10".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/nonexistent".into(),
        max_pods: 110,
        node_labels: Default::default(),
        node_taints: vec![],
        register: Register::Yes,
        provider_id: None,
        cgroup_root: "/".into(),
        reserved: Reserved::default(),
        version: "v1.36.0".into(),
        server: None,
        clock: Clock::System,
        prng: Prng::seeded(1),
    }
}
