//! Cluster addresses and node ports for Services.
//!
//! One table per server, filled from the stored Services at the start, which repairs whatever a crash left behind. A
//! number is taken under one lock before the write and given back when the write fails, so two requests never share one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{ApiError, field, meta};
use ipnet::IpNet;
use serde_json::{Value, json};
use stdx::Prng;

use crate::call::Call;
use crate::config::Config;
use crate::strategy::{has_cluster_ips, has_node_ports};

const HEADLESS: &str = "None";
/// How many random places are tried before the range is searched from its start.
const RANDOM_TRIES: usize = 16;

/// What is taken.
#[derive(Debug, Default)]
struct Taken {
    addresses: HashSet<IpAddr>,
    ports: HashSet<(String, u16)>,
}

/// Gives out addresses and ports.
pub struct Allocator {
    taken: Arc<Mutex<Taken>>,
    range: IpNet,
    ports: RangeInclusive<u16>,
    prng: Prng,
}

/// Numbers that a write under way has taken; they are free again unless it is [kept](Reservation::keep).
#[derive(Default)]
pub struct Reservation {
    taken: Option<Arc<Mutex<Taken>>>,
    addresses: Vec<IpAddr>,
    ports: Vec<(String, u16)>,
    /// What the old object had and the new one no longer has.
    freed: (Vec<IpAddr>, Vec<(String, u16)>),
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reservation {
    /// The write has succeeded.
    pub fn keep(mut self) {
        if let Some(taken) = self.taken.take() {
            let mut taken = lock(&taken);
            self.freed.0.iter().for_each(|a| {
                taken.addresses.remove(a);
            });
            self.freed.1.iter().for_each(|p| {
                taken.ports.remove(p);
            });
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            let mut taken = lock(&taken);
            self.addresses.iter().for_each(|a| {
                taken.addresses.remove(a);
            });
            self.ports.iter().for_each(|p| {
                taken.ports.remove(p);
            });
        }
    }
}

impl Allocator {
    /// A table with everything taken that the given Services have.
    pub fn new<'a>(config: &Config, prng: Prng, services: impl Iterator<Item = &'a Value>) -> Self {
        let mut taken = Taken::default();
        for service in services {
            taken.addresses.extend(addresses(service));
            taken.ports.extend(ports(service));
        }
        Self { taken: Arc::new(Mutex::new(taken)), range: config.service_range, ports: config.node_ports.clone(), prng }
    }

    /// Takes what a new or changed Service needs and writes it into the object. Other kinds pass.
    pub fn reserve(&self, call: &Call, service: &mut Value, old: Option<&Value>) -> Result<Reservation, ApiError> {
        if call.plural() != "services" || !call.group().is_empty() || !call.info.subresource.is_empty() {
            return Ok(Reservation::default());
        }
        if let Some(old) = old {
            call.resource.strategy.prepare_update(service, old);
        }
        let had = old.map(|o| (addresses(o), ports(o))).unwrap_or_default();
        let mut reservation = Reservation::default();
        reservation.taken = Some(self.taken.clone());
        let mut errors = field::ErrorList::new();
        self.address(service, &had.0, &mut reservation, &mut errors);
        self.node_ports(service, &had.1, &mut reservation, &mut errors);
        if !errors.is_empty() {
            return Err(ApiError::invalid("", "Service", meta::name(service), &errors));
        }
        let (now_addresses, now_ports) = (addresses(service), ports(service));
        reservation.freed.0 = had.0.into_iter().filter(|a| !now_addresses.contains(a)).collect();
        reservation.freed.1 = had.1.into_iter().filter(|p| !now_ports.contains(p)).collect();
        Ok(reservation)
    }

    /// Gives back what a deleted Service had.
    pub fn release(&self, call: &Call, service: &Value) {
        if call.plural() == "services" && call.group().is_empty() {
            let mut taken = lock(&self.taken);
            addresses(service).iter().for_each(|a| {
                taken.addresses.remove(a);
            });
            ports(service).iter().for_each(|p| {
                taken.ports.remove(p);
            });
        }
    }

    fn address(&self, service: &mut Value, had: &[IpAddr], reservation: &mut Reservation, errors: &mut field::ErrorList) {
        let external = !has_cluster_ips(service);
        let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if external {
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                spec.remove(key);
            }
            return;
        }
        let asked = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        let family = if self.range.addr().is_ipv4() { "IPv4" } else { "IPv6" };
        spec.entry("ipFamilies").or_insert_with(|| json!([family]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        if asked == HEADLESS {
            spec.insert("clusterIPs".to_owned(), json!([HEADLESS]));
            return;
        }
        let mut taken = lock(&self.taken);
        let path = field::Path::new("spec").child("clusterIPs");
        let chosen = match asked.parse::<IpAddr>() {
            Ok(address) if had.contains(&address) => address,
            Ok(address) if !self.range.contains(&address) => {
                let detail = format!("failed to allocate IP {asked}: the provided network does not match the current range");
                errors.push(field::Error::invalid(&path, json!([asked]), &detail));
                return;
            }
            Ok(address) if !taken.addresses.insert(address) => {
                let detail = format!("failed to allocate IP {asked}: provided IP is already allocated");
                errors.push(field::Error::invalid(&path, json!([asked]), &detail));
                return;
            }
            Ok(address) => {
                reservation.addresses.push(address);
                address
            }
            // Nonsense is validation's to name.
            Err(_) if !asked.is_empty() => return,
            Err(_) => {
                let Some(address) = self.free_address(&taken) else {
                    errors.push(field::Error::internal(&path, "failed to allocate a serviceIP: range is full"));
                    return;
                };
                taken.addresses.insert(address);
                reservation.addresses.push(address);
                address
            }
        };
        spec.insert("clusterIP".to_owned(), json!(chosen.to_string()));
        spec.insert("clusterIPs".to_owned(), json!([chosen.to_string()]));
    }

    fn free_address(&self, taken: &Taken) -> Option<IpAddr> {
        // The first address stays free for default/kubernetes, which asks for it by name, as does the cluster's DNS.
        let reserved = 16u128;
        let size = 1u128.checked_shl(u32::from(self.range.max_prefix_len() - self.range.prefix_len())).unwrap_or(u128::MAX).min(1 << 20);
        let usable = size.saturating_sub(1);
        let low = if usable > reserved.saturating_mul(2) { reserved } else { 1 };
        let span = usable.saturating_sub(low);
        let pick = |n: u128| at(&self.range, n).filter(|a| !taken.addresses.contains(a));
        let random = (0..RANDOM_TRIES).find_map(|_| {
            let n = u128::from(self.prng.below(u64::try_from(span).unwrap_or(u64::MAX)));
            pick(low.saturating_add(n))
        });
        random.or_else(|| (low..usable).find_map(pick)).or_else(|| (1..low).find_map(pick))
    }

    fn node_ports(&self, service: &mut Value, had: &[(String, u16)], reservation: &mut Reservation, errors: &mut field::ErrorList) {
        let wants = has_node_ports(service) && service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&json!(false));
        let entries = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        let mut taken = lock(&self.taken);
        for (i, port) in entries.into_iter().flatten().enumerate() {
            let Some(fields) = port.as_object_mut() else { continue };
            let protocol = fields.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
            let asked = fields.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
            let path = field::Path::new("spec").child("ports").index(i).child("nodePort");
            let number = u16::try_from(asked).unwrap_or(0);
            if !wants {
                continue;
            }
            if asked != 0 {
                let key = (protocol, number);
                if had.contains(&key) {
                    continue;
                }
                if !self.ports.contains(&number) {
                    let detail = format!(
                        "provided port is not in the valid range. The range of valid ports is {}-{}",
                        self.ports.start(),
                        self.ports.end()
                    );
                    errors.push(field::Error::invalid(&path, asked, &detail));
                } else if taken.ports.insert(key.clone()) {
                    reservation.ports.push(key);
                } else {
                    errors.push(field::Error::invalid(&path, asked, "provided port is already allocated"));
                }
                continue;
            }
            let Some(free) = self.free_port(&taken, &protocol) else {
                errors.push(field::Error::internal(&path, "failed to allocate a nodePort: range is full"));
                continue;
            };
            taken.ports.insert((protocol.clone(), free));
            reservation.ports.push((protocol, free));
            fields.insert("nodePort".to_owned(), json!(free));
        }
    }

    fn free_port(&self, taken: &Taken, protocol: &str) -> Option<u16> {
        let is_free = |p: &u16| !taken.ports.contains(&(protocol.to_owned(), *p));
        let span = u64::from(self.ports.end().saturating_sub(*self.ports.start())).saturating_add(1);
        let random = (0..RANDOM_TRIES).map(|_| {
            let n = u16::try_from(self.prng.below(span)).unwrap_or(0);
            self.ports.start().saturating_add(n)
        });
        random.into_iter().find(|p| is_free(p)).or_else(|| self.ports.clone().find(is_free))
    }
}

fn at(range: &IpNet, n: u128) -> Option<IpAddr> {
    match range.network() {
        IpAddr::V4(base) => {
            let number = u32::from(base).checked_add(u32::try_from(n).ok()?)?;
            Some(IpAddr::V4(number.into())).filter(|a| range.contains(a))
        }
        IpAddr::V6(base) => Some(IpAddr::V6(u128::from(base).checked_add(n)?.into())).filter(|a| range.contains(a)),
    }
}

fn addresses(service: &Value) -> Vec<IpAddr> {
    let list = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let one = service.pointer("/spec/clusterIP").into_iter();
    let mut all: Vec<IpAddr> = list.chain(one).filter_map(|a| a.as_str()?.parse().ok()).collect();
    all.dedup();
    all
}

fn ports(service: &Value) -> Vec<(String, u16)> {
    let entries = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let taken = entries.filter_map(|p| {
        let number = u16::try_from(p.get("nodePort")?.as_i64()?).ok().filter(|n| *n != 0)?;
        Some((p.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned(), number))
    });
    taken.collect()
}
