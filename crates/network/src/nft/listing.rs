//! What the kernel answers when asked for a table's content.

use super::encode::LIST_ELEMENT;
use crate::netlink::Attributes;

/// `struct nfgenmsg`.
const HEADER: usize = 4;
const SET_ANONYMOUS: u32 = 1;

/// A chain of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainListing {
    /// Its name.
    pub name: String,
    /// How many rules it has.
    pub rules: usize,
}

/// A named set of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetListing {
    /// Its name.
    pub name: String,
    /// The keys in it, in no order.
    pub keys: Vec<Vec<u8>>,
}

fn of_table<'a>(payload: &'a [u8], table: &str) -> Option<Attributes<'a>> {
    let attributes = Attributes::new(payload.get(HEADER..)?);
    (attributes.get(1)?.text()? == table).then_some(attributes)
}

pub(super) fn chain(payload: &[u8], table: &str) -> Option<ChainListing> {
    let name = of_table(payload, table)?.get(3)?.text()?.to_owned();
    Some(ChainListing { name, rules: 0 })
}

pub(super) fn rule_chain(payload: &[u8], table: &str) -> Option<String> {
    Some(of_table(payload, table)?.get(2)?.text()?.to_owned())
}

pub(super) fn set_name(payload: &[u8], table: &str) -> Option<String> {
    let attributes = of_table(payload, table)?;
    let flags = attributes.get(3).and_then(|a| a.be32()).unwrap_or(0);
    (flags & SET_ANONYMOUS == 0).then(|| attributes.get(2)?.text().map(str::to_owned)).flatten()
}

pub(super) fn element_keys(payload: &[u8], keys: &mut Vec<Vec<u8>>) {
    let Some(list) = payload.get(HEADER..).and_then(|rest| Attributes::new(rest).get(3)) else {
        return;
    };
    for element in list.nested().filter(|a| a.kind == LIST_ELEMENT) {
        let key = element.nested().get(1).and_then(|key| key.nested().get(1));
        keys.extend(key.map(|k| k.payload.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_listing_is_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut keys = Vec::new();
            element_keys(&payload, &mut keys);
            let _ = (chain(&payload, "t"), rule_chain(&payload, "t"), set_name(&payload, "t"));
        }
    }
}
