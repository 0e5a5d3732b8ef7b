//! What the server is told at its start.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use stdx::{Clock, Prng};

use crate::identity::{Authenticator, Authorizer, TokenIssuer};
use crate::storage::Storage;

/// The version that clients see.
pub const VERSION: &str = "v1.36.0+ferry";

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address that clients in the cluster reach; it becomes the endpoint of `default/kubernetes`.
    pub advertise_address: IpAddr,
    /// The port of that address.
    pub advertise_port: u16,
    /// Where cluster IPs come from.
    pub service_range: IpNet,
    /// Where node ports come from.
    pub node_ports: RangeInclusive<u16>,
    /// The largest request body, in bytes. Longer ones get 413.
    pub body_limit: usize,
    /// How many reading requests may be in work. More get 429.
    pub reads_in_flight: usize,
    /// How many writing requests may be in work. More get 429.
    pub writes_in_flight: usize,
    /// How long a watch without `timeoutSeconds` lasts at least; jitter doubles it at most.
    pub shortest_watch: Duration,
    /// How the server shows itself to kubelets.
    pub kubelet_client: Option<KubeletClient>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise_port: 6443,
            service_range: IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 43, 0, 0), 16)),
            node_ports: 30000..=32767,
            body_limit: 3 * 1024 * 1024,
            reads_in_flight: 400,
            writes_in_flight: 200,
            shortest_watch: Duration::from_secs(1800),
            kubelet_client: None,
        }
    }
}

/// A TLS client configuration for kubelets: the client certificate to show and the authorities to trust.
#[derive(Clone)]
pub struct KubeletClient(pub Arc<rustls::ClientConfig>);

impl std::fmt::Debug for KubeletClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeletClient")
    }
}

/// What the server stands on.
pub struct Deps {
    /// The objects. Opened before the server, since authorizers read roles from it.
    pub storage: Arc<Storage>,
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Who makes service account tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// The wall clock, for timestamps.
    pub clock: Clock,
    /// For UIDs and generated names.
    pub prng: Prng,
}
