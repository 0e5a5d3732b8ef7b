//! The kernel edge: transactions in, listings out.

use super::encode::{self, SUBSYSTEM};
use super::listing::{self, ChainListing, SetListing};
use super::{Data, Family, Op};
use crate::error::{Error, Result};
use crate::netlink::{self, Message, Socket, flags};
use crate::netns::Namespace;

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const DELETE_CHAIN: u16 = 5;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const GET_SET: u16 = 10;
const DELETE_SET: u16 = 11;
const GET_ELEMENTS: u16 = 13;

/// Where transactions go: the kernel, or a recorder in tests.
pub trait Nft: Send {
    /// Does all of `ops` in `table`, or nothing.
    fn commit(&mut self, family: Family, table: &str, ops: &[Op]) -> Result<()>;
    /// What `table` has in fact; empty lists when there is no such table.
    fn content(&mut self, family: Family, table: &str) -> Result<(Vec<ChainListing>, Vec<SetListing>)>;
}

/// nf_tables of one network namespace.
#[derive(Debug)]
pub struct NftSocket {
    socket: Socket,
}

impl NftSocket {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(netlink::Family::Netfilter)? })
    }

    /// Opens it in `namespace`.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        Ok(Self { socket: Socket::open_in(netlink::Family::Netfilter, namespace)? })
    }

    /// The chains of a table with the number of their rules; empty when there is no such table.
    pub fn chains(&mut self, family: Family, table: &str) -> Result<Vec<ChainListing>> {
        let mut found: Vec<ChainListing> = Vec::new();
        let mut rules: Vec<String> = Vec::new();
        self.dump(encode::message(GET_CHAIN, flags::DUMP, family), table, |m| {
            found.extend(listing::chain(m, table));
        })?;
        let mut request = encode::message(GET_RULE, flags::DUMP, family);
        request.put_str(1, table);
        self.dump(request, table, |m| rules.extend(listing::rule_chain(m, table)))?;
        for chain in &mut found {
            chain.rules = rules.iter().filter(|name| **name == chain.name).count();
        }
        Ok(found)
    }

    /// The named sets of a table with their keys; empty when there is no such table.
    pub fn sets(&mut self, family: Family, table: &str) -> Result<Vec<SetListing>> {
        let mut names: Vec<String> = Vec::new();
        let mut request = encode::message(GET_SET, flags::DUMP, family);
        request.put_str(1, table);
        self.dump(request, table, |m| names.extend(listing::set_name(m, table)))?;
        let mut sets = Vec::with_capacity(names.len());
        for name in names {
            let mut keys = Vec::new();
            let mut request = encode::message(GET_ELEMENTS, flags::DUMP, family);
            request.put_str(1, table).put_str(2, &name);
            self.dump(request, table, |m| listing::element_keys(m, &mut keys))?;
            sets.push(SetListing { name, keys });
        }
        Ok(sets)
    }

    fn dump(&mut self, request: Message, table: &str, mut each: impl FnMut(&[u8])) -> Result<()> {
        match self.socket.query(request, || format!("list table {table}"), |m| each(m.payload)) {
            Err(e) if e.is_absent() => Ok(()),
            other => other,
        }
    }
}

impl Nft for NftSocket {
    fn commit(&mut self, family: Family, table: &str, ops: &[Op]) -> Result<()> {
        let mut messages: Vec<(usize, Message)> = Vec::with_capacity(ops.len());
        let mut next_id = 0;
        for (at, op) in ops.iter().enumerate() {
            messages.extend(operation(family, table, op, &mut next_id).into_iter().map(|m| (at, m)));
        }
        let Some((_, last)) = messages.last_mut() else {
            return Ok(());
        };
        last.add_flags(flags::ACK);
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX).saturating_add(2);
        let first = self.socket.reserve_sequences(count);
        let frame = |kind: u16| Message::new(kind, flags::REQUEST, &[0, 0, 0, SUBSYSTEM.to_be_bytes()[1]]);
        let mut bytes = frame(BATCH_BEGIN).finish(first);
        let mut sequence = first;
        let mut owners = Vec::with_capacity(messages.len());
        for (at, mut m) in messages {
            m.add_flags(flags::REQUEST);
            sequence = sequence.saturating_add(1);
            owners.push((sequence, at));
            bytes.extend_from_slice(&m.finish(sequence));
        }
        bytes.extend_from_slice(&frame(BATCH_END).finish(sequence.saturating_add(1)));
        let attempt = || format!("change nftables table {table}");
        let refusals = self.socket.transact(&bytes, first, sequence, attempt)?;
        let Some((number, refusal)) = refusals.into_iter().next() else {
            return Ok(());
        };
        let what = owners.iter().find(|(n, _)| *n == number).and_then(|(_, at)| ops.get(*at));
        let attempt = match what {
            Some(op) => format!("nftables table {table}: {op}"),
            None => attempt(),
        };
        Err(Error::Refused { attempt, refusal })
    }

    fn content(&mut self, family: Family, table: &str) -> Result<(Vec<ChainListing>, Vec<SetListing>)> {
        Ok((self.chains(family, table)?, self.sets(family, table)?))
    }
}

fn operation(family: Family, table: &str, op: &Op, next_id: &mut u32) -> Vec<Message> {
    let named = |kind: u16, flags: u16, attribute: u16, name: &str| {
        let mut m = encode::message(kind, flags, family);
        m.put_str(1, table).put_str(attribute, name);
        vec![m]
    };
    match op {
        Op::AddTable { family, table } | Op::DeleteTable { family, table } => {
            let kind = if matches!(op, Op::AddTable { .. }) { NEW_TABLE } else { DELETE_TABLE };
            let create = if kind == NEW_TABLE { flags::CREATE } else { 0 };
            let mut m = encode::message(kind, create, *family);
            m.put_str(1, table);
            vec![m]
        }
        Op::AddChain { chain, base } => {
            let mut m = encode::message(NEW_CHAIN, flags::CREATE, family);
            m.put_str(1, table).put_str(3, chain);
            if let Some(base) = base {
                m.nest(4, |m| {
                    m.put_be32(1, base.hook.number()).put_be32(2, base.priority.cast_unsigned());
                });
                m.put_str(
                    7,
                    match base.kind {
                        super::ChainKind::Filter => "filter",
                        super::ChainKind::Nat => "nat",
                    },
                );
            }
            vec![m]
        }
        Op::FlushChain(chain) => named(DELETE_RULE, 0, 2, chain),
        Op::DeleteChain(chain) => named(DELETE_CHAIN, 0, 3, chain),
        Op::AddRule { chain, rule } => encode::rule(table, chain, rule, next_id),
        Op::AddSet(spec) => {
            *next_id = next_id.saturating_add(1);
            vec![encode::set(family, table, spec, *next_id)]
        }
        Op::DeleteSet(set) => named(DELETE_SET, 0, 2, set),
        Op::AddElements { set, elements } => encode::elements(family, table, set, None, encode::NEW_ELEMENTS, elements),
        Op::DeleteElements { set, keys } => {
            let keys: Vec<(Vec<u8>, Option<Data>)> = keys.iter().map(|key| (key.clone(), None)).collect();
            encode::elements(family, table, set, None, encode::DELETE_ELEMENTS, &keys)
        }
    }
}
