//! Feeds the zone from informers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Informers;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use stdx::{Clock, Prng};
use tokio::sync::Notify;

use crate::forward::Forwarder;
use crate::name::WireName;
use crate::resolv::nameservers;
use crate::server::{Listener, Server};
use crate::zone::{ServiceRecords, Zone, ZoneConfig, plan_service};

/// Changes that come this close together become one zone.
const QUIET: Duration = Duration::from_millis(20);
/// How often `resolv.conf` is read again.
const REREAD: Duration = Duration::from_secs(10);
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What the name server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster domain, usually `cluster.local`.
    pub domain: String,
    /// The cluster DNS address.
    pub server: IpAddr,
    /// The ranges of pods and services.
    pub ranges: Vec<IpNet>,
    /// The node's `resolv.conf`; without a readable one, foreign names are "server failure".
    pub resolv_conf: PathBuf,
}

/// Why the name server could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster domain is no domain name.
    #[error("cluster domain {0:?} is not a domain name")]
    Domain(String),
    /// The sockets could not be used.
    #[error("serve DNS at {address}: {source}")]
    Serve {
        /// The cluster DNS address.
        address: IpAddr,
        /// The system's answer.
        source: std::io::Error,
    },
}

type Key = (String, String);
/// What a service's records were planned from, and the records.
type Planned = (Arc<Service>, Vec<Arc<EndpointSlice>>, Arc<ServiceRecords>);

/// Serves on `listener` until `stop` is ready. Before both caches are filled, names of the cluster get no answer
/// at all rather than "no such name", which clients would remember.
pub async fn run(config: Config, listener: Listener, informers: &Informers, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let domain = WireName::parse(&config.domain).ok_or_else(|| RunError::Domain(config.domain.clone()))?;
    let zone_config = ZoneConfig { domain, server: Some(config.server), ranges: config.ranges.clone() };
    let (services, slices) = (informers.of::<Service>(), informers.of::<EndpointSlice>());
    let dirty = Arc::new(Notify::new());
    let (on_service, on_slice) = (Arc::clone(&dirty), Arc::clone(&dirty));
    services.on_change(move |_| on_service.notify_one());
    slices.on_change(move |_| on_slice.notify_one());
    tokio::pin!(stop);
    tokio::select! {
        () = async { services.synced().await; slices.synced().await } => {}
        () = &mut stop => return Ok(()),
    }
    let mut planned = BTreeMap::new();
    let mut serial = 1;
    let mut zone = |serial: u32| {
        update(&mut planned, &services.list(), &slices.list(), &zone_config.domain);
        let records = planned.iter().map(|(key, (_, _, records)): (&Key, &Planned)| (key.clone(), Arc::clone(records)));
        Zone::new(zone_config.clone(), records, serial)
    };
    let forwarder = Arc::new(Forwarder::new(read_servers(&config).await, Prng::from_entropy(), Clock::System));
    let server = Server::start(listener, zone(serial), Arc::clone(&forwarder))
        .map_err(|source| RunError::Serve { address: config.server, source })?;
    let mut reread = tokio::time::interval(REREAD);
    loop {
        tokio::select! {
            () = dirty.notified() => {
                tokio::time::sleep(QUIET).await;
                serial += 1;
                server.set_zone(zone(serial));
            }
            _ = reread.tick() => forwarder.set_servers(read_servers(&config).await),
            () = &mut stop => return Ok(()),
        }
    }
}

async fn read_servers(config: &Config) -> Vec<SocketAddr> {
    match tokio::fs::read_to_string(&config.resolv_conf).await {
        Ok(text) => nameservers(&text, &[config.server]),
        Err(e) => {
            tracing::debug!(path = %config.resolv_conf.display(), error = %e, "no resolvers for foreign names");
            Vec::new()
        }
    }
}

/// Brings `planned` to the snapshots; only services whose objects are new pointers are planned.
fn update(planned: &mut BTreeMap<Key, Planned>, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], domain: &WireName) {
    let mut by_service: BTreeMap<Key, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        if let (Some(namespace), Some(name)) = (&slice.metadata.namespace, name) {
            by_service.entry((namespace.clone(), name.clone())).or_default().push(Arc::clone(slice));
        }
    }
    let mut before = std::mem::take(planned);
    for service in services {
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { continue };
        let key = (namespace.clone(), name.clone());
        let own = by_service.remove(&key).unwrap_or_default();
        let kept = before.remove(&key).filter(|(old, old_slices, _)| {
            let same = old_slices.iter().zip(&own).all(|(a, b)| Arc::ptr_eq(a, b));
            Arc::ptr_eq(old, service) && old_slices.len() == own.len() && same
        });
        let records = match kept {
            Some((_, _, records)) => Some(records),
            None => plan_service(service, &own, domain).map(Arc::new),
        };
        if let Some(records) = records {
            planned.insert(key, (Arc::clone(service), own, records));
        }
    }
}
