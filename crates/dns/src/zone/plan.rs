//! One Service and its slices to records: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Record, ServiceRecords};
use crate::name::{WireName, dashed};
use crate::wire::RecordType;

/// Where each port leads, by its name and protocol.
type Ports = BTreeMap<(String, Option<String>), Vec<(u16, WireName)>>;

/// The records of `service` in the cluster domain `domain`; `None` when its name cannot be one.
pub fn plan_service(service: &Service, slices: &[Arc<EndpointSlice>], domain: &WireName) -> Option<ServiceRecords> {
    let (namespace, name) = (service.metadata.namespace.as_deref()?, service.metadata.name.as_deref()?);
    let own = domain.child("svc")?.child(namespace)?.child(name)?;
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref().and_then(WireName::parse);
        let own = target.map(|t| Record::named(RecordType::CNAME, &t)).into_iter().collect();
        return Some(ServiceRecords { own, ..ServiceRecords::default() });
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Some(headless(slices, &own));
    }
    Some(with_address(spec, &own))
}

fn with_address(spec: &ServiceSpec, own: &WireName) -> ServiceRecords {
    let mut records = ServiceRecords::default();
    let mut texts: Vec<&String> = spec.cluster_ips.iter().flatten().collect();
    if texts.is_empty() {
        texts.extend(&spec.cluster_ip);
    }
    for address in texts.into_iter().filter_map(|t| t.parse::<IpAddr>().ok()) {
        records.own.push(Record::address(address));
        records.reverse.push((address, own.clone()));
    }
    for port in spec.ports.iter().flatten() {
        let number = u16::try_from(port.port).ok();
        let name = port.name.as_deref().filter(|n| !n.is_empty());
        if let (Some(number), Some(name)) = (number, name) {
            add_port(&mut records, name, port.protocol.as_deref(), [(number, own.clone())].into_iter());
        }
    }
    records
}

/// Adds the SRV records of one named port, and the name between it and the service.
fn add_port(records: &mut ServiceRecords, name: &str, protocol: Option<&str>, targets: impl ExactSizeIterator<Item = (u16, WireName)>) {
    let protocol = format!("_{}", protocol.unwrap_or("TCP").to_ascii_lowercase());
    let Some(parent) = WireName::from_labels([protocol.as_bytes()].into_iter()) else { return };
    let Some(full) = parent.child(&format!("_{name}")) else { return };
    records.below.entry(parent.open().into()).or_default();
    // The weights of one name add up to about a hundred.
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
    let list = records.below.entry(full.open().into()).or_default();
    for (port, target) in targets {
        let record = Record::service(weight, port, &target);
        if !list.contains(&record) {
            list.push(record);
        }
    }
}

fn headless(slices: &[Arc<EndpointSlice>], own: &WireName) -> ServiceRecords {
    let mut records = ServiceRecords::default();
    let mut ports = Ports::new();
    let alive = slices.iter().filter(|s| s.metadata.deletion_timestamp.is_none() && s.address_type != "FQDN");
    for slice in alive {
        for endpoint in slice.endpoints.iter().flatten() {
            // Services that want their unready pods named have them marked ready in their slices.
            if endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(false) {
                continue;
            }
            for address in endpoint.addresses.iter().filter_map(|t| t.parse::<IpAddr>().ok()) {
                let host = endpoint.hostname.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| dashed(address));
                let Some(target) = own.child(&host) else { continue };
                push(&mut records.own, Record::address(address));
                if let Some(front) = WireName::parse(&host) {
                    push(records.below.entry(front.open().into()).or_default(), Record::address(address));
                }
                records.reverse.push((address, target.clone()));
                for port in slice.ports.iter().flatten() {
                    let number = port.port.and_then(|n| u16::try_from(n).ok());
                    let name = port.name.clone().filter(|n| !n.is_empty());
                    if let (Some(number), Some(name)) = (number, name) {
                        ports.entry((name, port.protocol.clone())).or_default().push((number, target.clone()));
                    }
                }
            }
        }
    }
    for ((name, protocol), targets) in ports {
        add_port(&mut records, &name, protocol.as_deref(), targets.into_iter());
    }
    records
}

fn push(list: &mut Vec<Record>, record: Record) {
    if !list.contains(&record) {
        list.push(record);
    }
}
