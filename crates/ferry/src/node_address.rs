//! Which of this machine's addresses names the node.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use anyhow::bail;
use ipnet::Ipv4Net;

/// The source address of the default route; without one, the machine's first address that is neither loopback nor in one of
/// the cluster's own ranges (an earlier start has put such addresses on the bridge).
pub(crate) fn find(of_cluster: &[Ipv4Net]) -> anyhow::Result<IpAddr> {
    // Connecting a UDP socket sends nothing; it only asks the kernel which address it would use.
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|s| {
        s.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        s.local_addr()
    });
    if let Ok(address) = routed
        && !address.ip().is_loopback()
        && !address.ip().is_unspecified()
    {
        return Ok(address.ip());
    }
    let table = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let ours = |address: &&Ipv4Addr| of_cluster.iter().any(|range| range.contains(*address));
    match local_addresses(&table).iter().find(|address| !ours(address)) {
        Some(address) => Ok(IpAddr::V4(*address)),
        None => bail!("this machine has no address but loopback; give one to an interface, or name one with --node-ip"),
    }
}

/// The addresses that the kernel's routing trie calls local.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in table.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn local_addresses_are_read_from_the_kernels_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.0.0\n        /24 link UNICAST\nLocal:\n     |-- 10.1.0.7\n        /32 host LOCAL\n\
                     \x20    |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.1.0.255\n        /32 link BROADCAST\n";
        assert_eq!(super::local_addresses(table), ["10.1.0.7".parse::<std::net::Ipv4Addr>().unwrap()]);
    }
}
