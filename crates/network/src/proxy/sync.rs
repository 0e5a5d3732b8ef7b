//! Brings the kernel to what the snapshots say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::NodeFacts;
use super::applied::{Applied, ServiceKey};
use super::base::{self, TABLE};
use super::service::plan_service;
use crate::conntrack::{Flow, FlowTable, Flows};
use crate::error::Result;
use crate::netns::Namespace;
use crate::nft::{Family, Nft, NftSocket, Op};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What one service was planned from; the same pointers mean the same plan.
#[derive(Clone, Debug)]
struct Seen {
    service: Arc<Service>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl Seen {
    fn same(&self, other: &Self) -> bool {
        let slices = self.slices.iter().zip(&other.slices);
        Arc::ptr_eq(&self.service, &other.service)
            && self.slices.len() == other.slices.len()
            && slices.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Services planned anew.
    pub planned: usize,
    /// Changes sent to the kernel.
    pub changes: usize,
    /// Tracked UDP flows forgotten.
    pub forgotten: usize,
}

/// Whether the table in the kernel is what `applied` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// Never written, or a transaction failed: it must be made anew.
    Unknown,
    InStep,
}

/// The proxy of one node and one address family.
pub struct Proxy {
    family: Family,
    facts: NodeFacts,
    nft: Box<dyn Nft>,
    flows: Box<dyn Flows>,
    seen: BTreeMap<ServiceKey, Seen>,
    applied: Applied,
    table: Table,
    /// Chains and sets out of use that the kernel has not let go of yet.
    retired: Vec<Op>,
}

impl Proxy {
    /// A proxy in the network namespace `node`. Nothing happens before the first sync.
    pub fn open(node: &Namespace, family: Family, facts: NodeFacts) -> Result<Self> {
        Ok(Self::new(family, facts, Box::new(NftSocket::open_in(node)?), Box::new(FlowTable::open_in(node)?)))
    }

    /// A proxy on any kernel.
    pub fn new(family: Family, facts: NodeFacts, nft: Box<dyn Nft>, flows: Box<dyn Flows>) -> Self {
        Self { family, facts, nft, flows, seen: BTreeMap::new(), applied: Applied::default(), table: Table::Unknown, retired: Vec::new() }
    }

    /// The node has changed: the next sync plans everything anew.
    pub fn set_facts(&mut self, facts: NodeFacts) {
        if self.facts != facts {
            self.facts = facts;
            self.seen.clear();
            self.table = Table::Unknown;
        }
    }

    /// Brings the table to the state of the snapshots. Only services whose objects are new pointers are planned.
    /// After an error the next call makes the whole table anew.
    pub fn sync(&mut self, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Result<Synced> {
        let wanted = group(services, slices);
        let mut changes = Vec::new();
        for (key, now) in &wanted {
            if self.seen.get(key).is_some_and(|before| before.same(now)) {
                continue;
            }
            let fragment = plan_service(&now.service, &now.slices, self.family, &self.facts);
            changes.push((key.clone(), Some(Arc::new(fragment))));
        }
        changes.extend(self.applied.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), None)));
        let planned = changes.len();
        let (mut ops, retired) = self.applied.change(changes);
        self.seen = wanted;
        if self.table == Table::Unknown {
            ops = base::table(self.family, &self.facts);
            ops.extend(self.applied.everything());
            self.retired.clear();
        } else {
            self.retired.extend(retired);
        }
        let mut done = Synced { planned, changes: ops.len(), forgotten: 0 };
        if !ops.is_empty() {
            self.table = Table::Unknown;
            self.nft.commit(self.family, TABLE, &ops)?;
            self.table = Table::InStep;
            done.forgotten = self.forget_flows()?;
        }
        self.delete_retired();
        Ok(done)
    }

    /// Whether somebody else changed the table; if so, the next sync makes it anew.
    pub fn verify(&mut self) -> Result<bool> {
        let (chains, sets) = self.nft.content(self.family, TABLE)?;
        let rules: BTreeMap<&str, usize> = chains.iter().map(|c| (c.name.as_str(), c.rules)).collect();
        let mut keys: BTreeMap<&str, BTreeSet<&[u8]>> = BTreeMap::new();
        for set in &sets {
            keys.insert(&set.name, set.keys.iter().map(Vec::as_slice).collect());
        }
        let own = base::rule_counts(self.family, &self.facts);
        let mut expected = own.iter().map(|(name, n)| (name.as_str(), *n)).chain(self.applied.chains());
        let intact = expected.all(|(name, n)| rules.get(name) == Some(&n))
            && self.applied.elements().all(|(set, key)| keys.get(set).is_some_and(|found| found.contains(key)));
        if !intact {
            self.table = Table::Unknown;
        }
        Ok(intact)
    }

    /// Removes the table; a table that is not there is fine.
    pub fn destroy(&mut self) -> Result<()> {
        let (family, table) = (self.family, TABLE.to_owned());
        self.table = Table::Unknown;
        match self.nft.commit(family, TABLE, &[Op::DeleteTable { family, table }]) {
            Err(e) if e.is_absent() => Ok(()),
            outcome => outcome,
        }
    }

    /// Each one alone: one that is still in use must not keep the others.
    fn delete_retired(&mut self) {
        for op in std::mem::take(&mut self.retired) {
            if self.applied.uses(&op) {
                continue;
            }
            match self.nft.commit(self.family, TABLE, std::slice::from_ref(&op)) {
                Err(e) if e.errno() == Some(libc::EBUSY) => self.retired.push(op),
                Err(e) if !e.is_absent() => tracing::warn!(error = %e, "a retired chain or set stays in the table"),
                _ => {}
            }
        }
    }

    /// A tracked UDP flow goes on to where its first packet went; forget those whose endpoint is gone.
    fn forget_flows(&mut self) -> Result<usize> {
        if self.applied.udp().next().is_none() {
            return Ok(0);
        }
        let mut by_address = BTreeMap::new();
        let mut by_port = BTreeMap::new();
        for frontend in self.applied.udp() {
            by_address.extend(frontend.addresses.iter().map(|ip| ((*ip, frontend.port), &frontend.serving)));
            by_port.extend(frontend.node_port.map(|port| (port, &frontend.serving)));
        }
        let stale = |flow: &Flow| {
            let to = (flow.original.destination, flow.original.destination_port);
            let serving = by_address.get(&to).or_else(|| by_port.get(&to.1));
            serving.is_some_and(|list| !list.contains(&(flow.reply.source, flow.reply.source_port)))
        };
        self.flows.forget_udp(self.family, &stale)
    }
}

fn group(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> BTreeMap<ServiceKey, Seen> {
    let key = |namespace: &Option<String>, name: Option<&String>| Some((namespace.clone()?, name?.clone()));
    let mut wanted: BTreeMap<ServiceKey, Seen> = services
        .iter()
        .filter_map(|service| {
            let key = key(&service.metadata.namespace, service.metadata.name.as_ref())?;
            Some((key, Seen { service: Arc::clone(service), slices: Vec::new() }))
        })
        .collect();
    for slice in slices {
        let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let found = key(&slice.metadata.namespace, name).and_then(|key| wanted.get_mut(&key));
        if let Some(seen) = found {
            seen.slices.push(Arc::clone(slice));
        }
    }
    wanted
}
