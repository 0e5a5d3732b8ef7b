//! The cluster's names and their records. Source: Kubernetes DNS-Based Service Discovery, version 1.1.

mod plan;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::name::{WireName, dashed_address, labels, reverse_address};
use crate::wire::RecordType;

pub use plan::plan_service;

/// The version of the specification that the zone follows.
const SPECIFICATION: &[u8] = b"1.1.0";
/// How long clients may keep an answer, in seconds: short, since endpoints come and go.
pub(crate) const TTL: u32 = 5;
const REFRESH: u32 = 7200;
const RETRY: u32 = 1800;
const EXPIRE: u32 = 86_400;

/// One record without its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: RecordType,
    /// Its data in wire form, names uncompressed.
    pub data: Box<[u8]>,
}

impl Record {
    fn new(kind: RecordType, data: impl Into<Box<[u8]>>) -> Self {
        Self { kind, data: data.into() }
    }

    /// An A or AAAA record.
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => Self::new(RecordType::A, a.octets().as_slice()),
            IpAddr::V6(a) => Self::new(RecordType::AAAA, a.octets().as_slice()),
        }
    }

    /// A record that holds a name: CNAME, PTR, NS.
    pub fn named(kind: RecordType, target: &WireName) -> Self {
        Self::new(kind, target.as_bytes())
    }

    /// An SRV record.
    pub fn service(weight: u16, port: u16, target: &WireName) -> Self {
        let mut data = vec![0, 0];
        data.extend_from_slice(&weight.to_be_bytes());
        data.extend_from_slice(&port.to_be_bytes());
        data.extend_from_slice(target.as_bytes());
        Self::new(RecordType::SRV, data)
    }
}

/// What one Service adds to the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceRecords {
    /// The records of the service's own name.
    pub own: Vec<Record>,
    /// The records of names below it, by the wire form of the labels in front, without closing zero. A name without
    /// records exists all the same.
    pub below: HashMap<Box<[u8]>, Vec<Record>>,
    /// The names of its addresses.
    pub reverse: Vec<(IpAddr, WireName)>,
}

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub struct ZoneConfig {
    /// The cluster domain, usually `cluster.local`.
    pub domain: WireName,
    /// The server's own address, which the zone names as its name server.
    pub server: Option<IpAddr>,
    /// The ranges of pods and services: reverse names in them are answered here and never forwarded.
    pub ranges: Vec<IpNet>,
}

/// What the zone has for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'z> {
    /// The name exists; these are all its records, of all types.
    Records(&'z [Record]),
    /// The name exists and has this one address.
    Address(IpAddr),
    /// The address has these names.
    Names(&'z [WireName]),
    /// The name would be ours and does not exist.
    NoSuchName,
    /// Somebody else's name.
    Foreign,
}

/// All names of the cluster at one moment.
#[derive(Clone, Debug)]
pub struct Zone {
    config: ZoneConfig,
    /// By the wire form of `service.namespace`, without closing zero.
    services: HashMap<Box<[u8]>, Arc<ServiceRecords>>,
    namespaces: HashSet<Box<[u8]>>,
    reverse: HashMap<IpAddr, Vec<WireName>>,
    apex: Vec<Record>,
    version: Vec<Record>,
    server: Vec<Record>,
    soa: Record,
}

impl Zone {
    /// A zone of `services`, each with its namespace and name. `serial` should grow from zone to zone.
    pub fn new(config: ZoneConfig, services: impl IntoIterator<Item = ((String, String), Arc<ServiceRecords>)>, serial: u32) -> Self {
        let name_server = config.domain.child("dns").and_then(|n| n.child("ns")).unwrap_or_else(|| config.domain.clone());
        let host_master = config.domain.child("hostmaster").unwrap_or_else(|| config.domain.clone());
        let mut data = [name_server.as_bytes(), host_master.as_bytes()].concat();
        for number in [serial, REFRESH, RETRY, EXPIRE, TTL] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let soa = Record::new(RecordType::SOA, data);
        let text_length = [u8::try_from(SPECIFICATION.len()).unwrap_or(0)];
        let mut zone = Self {
            services: HashMap::new(),
            namespaces: HashSet::new(),
            reverse: HashMap::new(),
            apex: vec![soa.clone(), Record::named(RecordType::NS, &name_server)],
            version: vec![Record::new(RecordType::TXT, [&text_length, SPECIFICATION].concat())],
            server: config.server.map(Record::address).into_iter().collect(),
            soa,
            config,
        };
        for ((namespace, name), records) in services {
            zone.add(&namespace, &name, records);
        }
        zone
    }

    fn add(&mut self, namespace: &str, name: &str, records: Arc<ServiceRecords>) {
        let Some(key) = WireName::from_labels([name.as_bytes(), namespace.as_bytes()].into_iter()) else { return };
        self.namespaces.insert(namespace.to_ascii_lowercase().into_bytes().into());
        for (address, name) in &records.reverse {
            let names = self.reverse.entry(*address).or_default();
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        self.services.insert(key.open().into(), records);
    }

    /// The records that go with "no": the zone's name and its SOA record.
    pub(crate) fn authority(&self) -> (&WireName, &Record) {
        (&self.config.domain, &self.soa)
    }

    /// What there is for `name` (wire form, lower case).
    pub(crate) fn find(&self, name: &[u8]) -> Found<'_> {
        if let Some(relative) = relative(name, self.config.domain.as_bytes()) {
            return self.find_below(relative);
        }
        let Some(address) = reverse_address(name) else { return Found::Foreign };
        match self.reverse.get(&address) {
            Some(names) => Found::Names(names),
            None if self.config.ranges.iter().any(|range| range.contains(&address)) => Found::NoSuchName,
            None => Found::Foreign,
        }
    }

    /// `relative` is the part of a name before the cluster domain.
    fn find_below(&self, relative: &[u8]) -> Found<'_> {
        let mut starts = Vec::with_capacity(8);
        let mut at = 0;
        for label in labels(relative) {
            starts.push(at);
            at += 1 + label.len();
        }
        let part = |from: usize| labels(relative.get(from..).unwrap_or_default()).next().unwrap_or_default();
        let exists = |yes: bool| if yes { Found::Records(&[]) } else { Found::NoSuchName };
        match starts.as_slice() {
            [] => Found::Records(&self.apex),
            [a] => match part(*a) {
                b"dns-version" => Found::Records(&self.version),
                b"svc" | b"pod" | b"dns" => Found::Records(&[]),
                _ => Found::NoSuchName,
            },
            [a, b] => match (part(*a), part(*b)) {
                (b"ns", b"dns") => Found::Records(&self.server),
                (namespace, b"svc") => exists(self.namespaces.contains(namespace)),
                (_, b"pod") => Found::Records(&[]),
                _ => Found::NoSuchName,
            },
            [a, _, c] if part(*c) == b"pod" => dashed_address(part(*a)).map_or(Found::NoSuchName, Found::Address),
            [.., service, _, last] if part(*last) == b"svc" => {
                let (key, front) = (relative.get(*service..*last), relative.get(..*service));
                let Some(records) = key.and_then(|key| self.services.get(key)) else { return Found::NoSuchName };
                match front {
                    None | Some([]) => Found::Records(&records.own),
                    Some(front) => records.below.get(front).map_or(Found::NoSuchName, |r| Found::Records(r)),
                }
            }
            _ => Found::NoSuchName,
        }
    }
}

/// The part of `name` before `domain`, if it ends in it at a label's border.
fn relative<'n>(name: &'n [u8], domain: &[u8]) -> Option<&'n [u8]> {
    let cut = name.len().checked_sub(domain.len())?;
    let (front, back) = name.split_at_checked(cut)?;
    if back != domain {
        return None;
    }
    let borders = labels(front).map(|l| l.len() + 1).sum::<usize>();
    (borders == front.len()).then_some(front)
}
