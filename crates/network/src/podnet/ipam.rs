//! Which pod has which address: one file per allocation, named by the address, whole or absent.
//!
//! The files are written before the kernel is touched and removed after it was cleaned, so a crash leaves at most
//! an allocation too many, which `recover` takes back. They need no sync to disk: pods do not outlive a power cut.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::HostPort;
use crate::error::{Error, Result};

/// Keeps the place of the newest allocation, so that a restart does not hand out a just freed address first.
const LAST: &str = "last";
const TEMPORARY: &str = ".new";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    owner: String,
    #[serde(default)]
    host_ports: Vec<HostPort>,
}

/// The allocations of one node.
#[derive(Clone, Debug)]
pub(super) struct Ipam {
    directory: PathBuf,
    range: Ipv4Net,
    records: BTreeMap<Ipv4Addr, Record>,
    /// Freed since the start, oldest first.
    freed: VecDeque<Ipv4Addr>,
    /// Offset in the range of the next address not used since the start, and how many such are left to look at.
    cursor: u32,
    unseen: u32,
}

/// The first address of a range is the node's.
pub(super) fn gateway(range: Ipv4Net) -> Ipv4Addr {
    offset(range, 1)
}

fn offset(range: Ipv4Net, by: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()).wrapping_add(by))
}

/// Pods get what is left without network address, gateway and broadcast address.
fn size(range: Ipv4Net) -> u32 {
    let hosts = 1u64 << (32 - u32::from(range.prefix_len().min(32)));
    u32::try_from(hosts.saturating_sub(3)).unwrap_or(u32::MAX)
}

impl Ipam {
    /// Reads the allocations under `directory`, which is made if needed. Files that are no allocation of `range`
    /// are removed: they are leftovers of a crash or of another range.
    pub(super) fn open(directory: &Path, range: Ipv4Net) -> Result<Self> {
        let attempt = || format!("read address allocations in {}", directory.display());
        fs::create_dir_all(directory).map_err(Error::io(attempt()))?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(Error::io(attempt()))? {
            let entry = entry.map_err(Error::io(attempt()))?;
            if entry.file_name() == LAST {
                continue;
            }
            let address = entry.file_name().to_str().and_then(|n| n.parse().ok()).filter(|a| range.contains(a));
            let record = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            match (address, record) {
                (Some(address), Some(record)) => {
                    records.insert(address, record);
                }
                _ => fs::remove_file(entry.path()).map_err(Error::io(attempt()))?,
            }
        }
        let last = fs::read_to_string(directory.join(LAST)).ok().and_then(|text| text.trim().parse::<Ipv4Addr>().ok());
        let cursor = last.filter(|a| range.contains(a)).map_or(0, |a| u32::from(a) - u32::from(range.network()));
        let ipam = Self { directory: directory.into(), range, records, freed: VecDeque::new(), cursor, unseen: size(range) };
        Ok(ipam)
    }

    /// Gives `owner` an address: the one it has, else one never used since the start, else the one freed longest ago.
    pub(super) fn allocate(&mut self, owner: &str, host_ports: &[HostPort]) -> Result<Ipv4Addr> {
        self.check_host_ports(owner, host_ports)?;
        let address = match self.of_owner(owner) {
            Some(address) => address,
            None => self.next_free()?,
        };
        let record = Record { owner: owner.to_owned(), host_ports: host_ports.to_vec() };
        if let Err(e) = self.write(address, &record) {
            self.freed.push_back(address);
            return Err(e);
        }
        self.records.insert(address, record);
        Ok(address)
    }

    fn next_free(&mut self) -> Result<Ipv4Addr> {
        let size = size(self.range);
        while self.unseen > 0 {
            self.unseen -= 1;
            // Offsets run from 2 (after the gateway) to size + 1 (before the broadcast address), round and round.
            self.cursor = if self.cursor < 2 || self.cursor > size { 2 } else { self.cursor + 1 };
            let address = offset(self.range, self.cursor);
            if !self.records.contains_key(&address) && !self.freed.contains(&address) {
                return Ok(address);
            }
        }
        let none_left = || Error::AddressesExhausted { range: self.range.to_string(), size };
        self.freed.pop_front().ok_or_else(none_left)
    }

    fn check_host_ports(&self, owner: &str, wanted: &[HostPort]) -> Result<()> {
        let overlaps = |a: &HostPort, b: &HostPort| {
            let same_host = a.host_ip.is_none() || b.host_ip.is_none() || a.host_ip == b.host_ip;
            same_host && a.host_port == b.host_port && a.protocol == b.protocol
        };
        for record in self.records.values().filter(|r| r.owner != owner) {
            for port in wanted {
                if record.host_ports.iter().any(|held| overlaps(held, port)) {
                    return Err(Error::HostPortTaken {
                        port: port.host_port,
                        protocol: port.protocol.name(),
                        host: port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
                        holder: record.owner.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn write(&self, address: Ipv4Addr, record: &Record) -> Result<()> {
        let attempt = || format!("record address {address} for pod {}", record.owner);
        let text = serde_json::to_vec(record).map_err(|e| Error::io(attempt())(e.into()))?;
        let temporary = self.directory.join(TEMPORARY);
        let done = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, self.directory.join(address.to_string())));
        done.map_err(Error::io(attempt()))?;
        // Only a hint for the order of reuse: not worth failing a pod.
        let _ = fs::write(self.directory.join(LAST), address.to_string());
        Ok(())
    }

    /// Frees what `owner` has, if anything.
    pub(super) fn release(&mut self, owner: &str) -> Result<()> {
        let Some(address) = self.of_owner(owner) else {
            return Ok(());
        };
        match fs::remove_file(self.directory.join(address.to_string())) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(Error::io(format!("free address {address} of pod {owner}"))(e));
            }
        }
        self.records.remove(&address);
        self.freed.push_back(address);
        Ok(())
    }

    /// The address of `owner`.
    pub(super) fn of_owner(&self, owner: &str) -> Option<Ipv4Addr> {
        self.records.iter().find(|(_, r)| r.owner == owner).map(|(address, _)| *address)
    }

    /// The host ports of whoever has `address`.
    pub(super) fn host_ports(&self, address: Ipv4Addr) -> &[HostPort] {
        self.records.get(&address).map_or(&[], |r| r.host_ports.as_slice())
    }

    /// All allocations.
    pub(super) fn owners(&self) -> Vec<(Ipv4Addr, String)> {
        self.records.iter().map(|(address, r)| (*address, r.owner.clone())).collect()
    }

    /// All host ports with the address they lead to.
    pub(super) fn all_host_ports(&self) -> Vec<(Ipv4Addr, HostPort)> {
        self.records.iter().flat_map(|(address, r)| r.host_ports.iter().map(|port| (*address, *port))).collect()
    }

    /// The same allocations without those of `owner`, in memory only.
    pub(super) fn without(&self, owner: &str) -> Self {
        let mut other = self.clone();
        other.records.retain(|_, r| r.owner != owner);
        other
    }

    /// Forgets everything, files included.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.records.clear();
        match fs::remove_dir_all(&self.directory) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove address allocations in {}", self.directory.display()))(e))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::podnet::Protocol;

    fn open(directory: &Path) -> Ipam {
        Ipam::open(directory, "10.42.0.0/29".parse().unwrap()).unwrap()
    }

    fn take(ipam: &mut Ipam, owner: &str) -> String {
        ipam.allocate(owner, &[]).map_or_else(|e| e.to_string(), |a| a.to_string())
    }

    #[test]
    fn addresses_are_bounded_and_reused_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = open(dir.path());
        let got: Vec<String> = ["a", "b", "c", "d", "e"].iter().map(|o| take(&mut ipam, o)).collect();
        assert_eq!(got, ["10.42.0.2", "10.42.0.3", "10.42.0.4", "10.42.0.5", "10.42.0.6"]);
        assert_eq!(take(&mut ipam, "f"), "all 5 pod addresses of 10.42.0.0/29 are in use");
        ipam.release("d").unwrap();
        ipam.release("b").unwrap();
        assert_eq!([take(&mut ipam, "g"), take(&mut ipam, "h")], ["10.42.0.5", "10.42.0.3"]);
        assert_eq!(take(&mut ipam, "g"), "10.42.0.5", "asking again changes nothing");
    }

    #[test]
    fn a_restart_keeps_allocations_and_goes_on_after_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = open(dir.path());
        take(&mut ipam, "a");
        take(&mut ipam, "b");
        ipam.release("a").unwrap();
        fs::write(dir.path().join(".new"), "{").unwrap();
        fs::write(dir.path().join("10.42.0.6"), "").unwrap();
        let mut again = open(dir.path());
        assert_eq!(again.owners(), [("10.42.0.3".parse().unwrap(), "b".to_owned())]);
        let got: Vec<String> = ["c", "d", "e", "f"].iter().map(|o| take(&mut again, o)).collect();
        assert_eq!(got, ["10.42.0.4", "10.42.0.5", "10.42.0.6", "10.42.0.2"]);
    }

    #[test]
    fn a_host_port_has_one_holder_per_address_and_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = open(dir.path());
        let port = |ip: Option<&str>, protocol| HostPort {
            host_ip: ip.map(|i| i.parse().unwrap()),
            host_port: 80,
            container_port: 8080,
            protocol,
        };
        ipam.allocate("a", &[port(Some("127.0.0.1"), Protocol::Tcp)]).unwrap();
        ipam.allocate("b", &[port(Some("10.0.0.1"), Protocol::Tcp)]).unwrap();
        ipam.allocate("c", &[port(None, Protocol::Udp)]).unwrap();
        let no = ipam.allocate("d", &[port(None, Protocol::Tcp)]).unwrap_err().to_string();
        assert_eq!(no, "host port 80/TCP on 0.0.0.0 is held by pod a");
    }
}
