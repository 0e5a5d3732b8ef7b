//! IP addresses and ranges, as leniently as Kubernetes reads old fields.

use std::net::IpAddr;

use super::at::At;
use crate::field::ErrorList;

/// Leading zeros in IPv4 parts were once allowed, and what is stored must stay readable.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [a, b, c, d] = parts.as_slice() else { return None };
    let part = |p: &str| -> Option<u8> {
        (!p.is_empty() && p.bytes().all(|c| c.is_ascii_digit())).then(|| p.trim_start_matches('0'))?;
        p.parse::<u32>().ok().and_then(|n| u8::try_from(n).ok())
    };
    Some(IpAddr::from([part(a)?, part(b)?, part(c)?, part(d)?]))
}

/// An address, of an old field whose stored values `kept` may stay as they are.
pub(super) fn legacy(at: &At<'_, '_>, kept: &[&str], errs: &mut ErrorList) -> bool {
    let text = at.str();
    if kept.contains(&text) {
        return true;
    }
    let Some(ip) = parse(text) else {
        at.invalid_str(errs, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return false;
    };
    strict(text, ip, at, errs)
}

fn strict(text: &str, ip: IpAddr, at: &At<'_, '_>, errs: &mut ErrorList) -> bool {
    if text.parse::<IpAddr>().is_err() {
        at.invalid_str(errs, "must not have leading 0s");
        return false;
    }
    if matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        at.invalid_str(errs, "must not be an IPv4-mapped IPv6 address");
        return false;
    }
    true
}

/// An address in its canonical form.
pub(super) fn canonical(at: &At<'_, '_>, errs: &mut ErrorList) {
    if legacy(at, &[], errs)
        && let Some(ip) = parse(at.str())
        && ip.to_string() != at.str()
    {
        at.invalid_str(errs, &format!("must be in canonical form ({:?})", ip.to_string()));
    }
}

/// A range in CIDR notation.
pub(super) fn cidr(at: &At<'_, '_>, text: &str, errs: &mut ErrorList) -> bool {
    let parsed = text.split_once('/').and_then(|(ip, bits)| {
        let ip = parse(ip)?;
        let bits: u8 = bits.bytes().all(|c| c.is_ascii_digit()).then(|| bits.parse().ok())??;
        ipnet::IpNet::new(ip, bits).ok()
    });
    let Some(net) = parsed else {
        at.invalid_shown(errs, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return false;
    };
    let (address, bits) = text.split_once('/').unwrap_or((text, ""));
    if address.parse::<IpAddr>().is_err() || (bits.len() > 1 && bits.starts_with('0')) {
        at.invalid_shown(errs, text, "must not have leading 0s in IP or prefix length");
    } else if matches!(net.addr(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        at.invalid_shown(errs, text, "must not have an IPv4-mapped IPv6 address");
    } else if net.addr() != net.network() {
        at.invalid_shown(errs, text, "must not have bits set beyond the prefix length");
    } else {
        return true;
    }
    false
}

/// Whether the addresses are of both families.
pub(super) fn is_dual_stack<'a>(ips: impl Iterator<Item = &'a str>) -> bool {
    let mut v4 = false;
    let mut v6 = false;
    for ip in ips.filter_map(parse) {
        if ip.is_ipv4() { v4 = true } else { v6 = true }
    }
    v4 && v6
}

/// An address that traffic can be sent to from elsewhere.
pub(super) fn endpoint(at: &At<'_, '_>, errs: &mut ErrorList) {
    let Some(ip) = parse(at.str()) else {
        at.invalid_str(errs, "must be a valid IP address");
        return;
    };
    if ip.is_unspecified() {
        at.invalid_str(errs, &format!("may not be unspecified ({})", at.str()));
    }
    if ip.is_loopback() {
        at.invalid_str(errs, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments().first().is_some_and(|s| s & 0xff0f == 0xff02)),
    };
    if link {
        at.invalid_str(errs, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        at.invalid_str(errs, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}
