//! Domain names as DNS messages hold them: length-prefixed labels, here always in lower case.

use std::net::IpAddr;

/// RFC 1035: the most bytes of a whole name, and of one label.
pub(crate) const MAX_NAME: usize = 255;
const MAX_LABEL: usize = 63;

/// A name in wire form with its closing zero byte, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireName(Box<[u8]>);

impl WireName {
    /// From dotted text, with or without a final dot; `None` when it is no domain name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels = text.split('.').filter(|_| !text.is_empty());
        Self::from_labels(labels.map(str::as_bytes))
    }

    /// From labels, the leftmost first.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(64);
        for label in labels {
            if label.is_empty() || label.len() > MAX_LABEL {
                return None;
            }
            bytes.push(u8::try_from(label.len()).ok()?);
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        bytes.push(0);
        (bytes.len() <= MAX_NAME).then(|| Self(bytes.into()))
    }

    /// From wire bytes that are known to be well formed (of a parsed query).
    pub(crate) fn from_wire(bytes: &[u8]) -> Self {
        Self(bytes.to_ascii_lowercase().into())
    }

    /// `label` in front of this name.
    pub fn child(&self, label: &str) -> Option<Self> {
        let labels = std::iter::once(label.as_bytes()).chain(labels(&self.0));
        Self::from_labels(labels)
    }

    /// The bytes, closing zero included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without the closing zero: what another name ends in or starts with.
    pub(crate) fn open(&self) -> &[u8] {
        self.0.split_last().map_or(&[], |(_, rest)| rest)
    }
}

impl std::fmt::Display for WireName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for label in labels(&self.0) {
            write!(f, "{}.", label.escape_ascii())?;
        }
        Ok(())
    }
}

/// The labels of a wire name, the leftmost first; stops at the closing zero or at bytes that are no label.
pub(crate) fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = wire.split_first()?;
        let label = rest.get(..usize::from(*length)).filter(|l| !l.is_empty())?;
        wire = rest.get(label.len()..).unwrap_or_default();
        Some(label)
    })
}

/// The address that a reverse name (`4.3.2.1.in-addr.arpa`, nibbles under `ip6.arpa`) stands for.
pub(crate) fn reverse_address(wire: &[u8]) -> Option<IpAddr> {
    let parts: Vec<&[u8]> = labels(wire).collect();
    let text = |label: &[u8]| std::str::from_utf8(label).ok().map(str::to_owned);
    match parts.as_slice() {
        [d, c, b, a, b"in-addr", b"arpa"] => {
            let dotted = [text(a)?, text(b)?, text(c)?, text(d)?].join(".");
            dotted.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4)
        }
        [nibbles @ .., b"ip6", b"arpa"] if nibbles.len() == 32 => {
            let mut value: u128 = 0;
            for nibble in nibbles.iter().rev() {
                let [digit] = nibble else { return None };
                value = (value << 4) | u128::from(char::from(*digit).to_digit(16)?);
            }
            Some(IpAddr::V6(value.into()))
        }
        _ => None,
    }
}

/// The address that the first label of a pod record stands for: `10-1-2-3`, or IPv6 with dashes for colons.
pub(crate) fn dashed_address(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = text.replace('-', ".").parse().ok().map(IpAddr::V4);
    v4.or_else(|| text.replace('-', ":").parse().ok().map(IpAddr::V6))
}

/// The first label of an endpoint without hostname.
pub(crate) fn dashed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.to_string().replace('.', "-"),
        IpAddr::V6(a) => {
            // Full groups: a shortened address could begin or end with a dash, which no label may.
            a.segments().iter().map(|s| format!("{s:x}")).collect::<Vec<_>>().join("-")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_and_dashed_names_give_their_address() {
        let reverse = |text: &str| reverse_address(WireName::parse(text).unwrap().as_bytes()).map(|a| a.to_string());
        assert_eq!(reverse("10.0.43.10.in-addr.arpa."), Some("10.43.0.10".into()));
        assert_eq!(reverse("0.43.10.in-addr.arpa."), None);
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse(v6), Some("fd00::1".into()));
        for address in ["10.1.2.3", "fd00::1", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(dashed_address(dashed(address).as_bytes()), Some(address));
        }
        assert_eq!(dashed_address(b"web-0"), None);
    }

    #[test]
    fn names_out_of_bounds_are_none() {
        assert!(WireName::parse(&"a".repeat(64)).is_none());
        assert!(WireName::parse("a..b").is_none());
        assert!(WireName::parse(&["a".repeat(60).as_str(); 5].join(".")).is_none());
        assert_eq!(WireName::parse("Web.Example.").unwrap().to_string(), "web.example.");
    }
}
