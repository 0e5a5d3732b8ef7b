//! The node's `resolv.conf`.

use std::net::{IpAddr, SocketAddr};

/// The most name servers that are used, as in the C library.
const MAX_SERVERS: usize = 3;

/// The name servers in `text`, without those at `own` (asking ourselves would never end).
pub fn nameservers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    addresses.filter(|a| !own.contains(a)).take(MAX_SERVERS).map(|a| SocketAddr::new(a, 53)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nameserver_lines_count_and_never_ourselves() {
        let text = "# x\nsearch a b\nnameserver 10.0.0.1\nnameserver\t10.43.0.10\n;nameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver ::1 # c\noptions ndots:5\n";
        let own = ["10.43.0.10".parse().unwrap()];
        let got: Vec<String> = nameservers(text, &own).iter().map(ToString::to_string).collect();
        assert_eq!(got, ["10.0.0.1:53", "[::1]:53"]);
    }
}
