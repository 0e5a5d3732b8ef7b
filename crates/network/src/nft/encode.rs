//! Rules and sets to bytes.

use super::{Anonymous, Comparison, Content, Data, Expr, Family, FibKey, Reg, Reject, Rule, SetRef, SetSpec, Verdict};
use crate::netlink::Message;

pub(super) const SUBSYSTEM: u16 = 10;
pub(super) const LIST_ELEMENT: u16 = 1;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const NEW_SET: u16 = 9;
pub(super) const NEW_ELEMENTS: u16 = 12;
pub(super) const DELETE_ELEMENTS: u16 = 14;

const REGISTER_BASE: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const SET_ANONYMOUS: u32 = 0x1;
const SET_CONSTANT: u32 = 0x2;
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_DYNAMIC: u32 = 0x20;
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// nft's number for "bytes of any kind".
const UNTYPED: u32 = 1;
const MASQUERADE_FULLY_RANDOM: u32 = 16;
/// Elements per message, so that the list stays well under an attribute's 64 KiB.
pub(super) const ELEMENTS_PER_MESSAGE: usize = 400;

/// A netfilter message of `kind` about `family`.
pub(super) fn message(kind: u16, flags: u16, family: Family) -> Message {
    Message::new((SUBSYSTEM << 8) | kind, flags, &[family.number(), 0, 0, 0])
}

/// The messages of a rule: its own sets first. `next_id` numbers them within the transaction.
pub(super) fn rule(table: &str, chain: &str, rule: &Rule, next_id: &mut u32) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut ids = Vec::new();
    for expr in &rule.exprs {
        let (Expr::Lookup { set, .. } | Expr::VerdictLookup { set, .. }) = expr else {
            continue;
        };
        let SetRef::Anonymous(content) = set else {
            continue;
        };
        *next_id = next_id.saturating_add(1);
        ids.push(*next_id);
        messages.extend(anonymous(rule.family(), table, content, *next_id));
    }
    let mut ids = ids.into_iter();
    let mut m = message(NEW_RULE, crate::netlink::flags::CREATE | crate::netlink::flags::APPEND, rule.family());
    m.put_str(1, table).put_str(2, chain).nest(4, |m| {
        for step in &rule.exprs {
            m.nest(LIST_ELEMENT, |m| expr(m, step, rule.family(), &mut ids));
        }
    });
    messages.push(m);
    messages
}

fn anonymous(family: Family, table: &str, content: &Anonymous, id: u32) -> Vec<Message> {
    let name = anonymous_name(content);
    let mut m = message(NEW_SET, crate::netlink::flags::CREATE, family);
    let verdicts = content.value_length.is_none() && content.elements.iter().any(|(_, data)| data.is_some());
    let map = if verdicts || content.value_length.is_some() { SET_MAP } else { 0 };
    m.put_str(1, table).put_str(2, name).put_be32(3, SET_ANONYMOUS | SET_CONSTANT | map);
    m.put_be32(4, UNTYPED).put_be32(5, content.key_length);
    if verdicts {
        m.put_be32(6, VERDICT_TYPE);
    } else if let Some(length) = content.value_length {
        m.put_be32(6, UNTYPED).put_be32(7, length);
    }
    m.put_be32(10, id);
    let mut messages = vec![m];
    messages.extend(elements(family, table, name, Some(id), NEW_ELEMENTS, &content.elements));
    messages
}

fn anonymous_name(content: &Anonymous) -> &'static str {
    if content.elements.iter().any(|(_, data)| data.is_some()) { "__map%d" } else { "__set%d" }
}

/// The messages that add or remove `content`.
pub(super) fn elements(
    family: Family,
    table: &str,
    set: &str,
    id: Option<u32>,
    kind: u16,
    content: &[(Vec<u8>, Option<Data>)],
) -> Vec<Message> {
    let flags = if kind == NEW_ELEMENTS { crate::netlink::flags::CREATE } else { 0 };
    let part = |chunk: &[(Vec<u8>, Option<Data>)]| {
        let mut m = message(kind, flags, family);
        m.put_str(1, table).put_str(2, set);
        if let Some(id) = id {
            m.put_be32(4, id);
        }
        m.nest(3, |m| {
            for (key, value) in chunk {
                m.nest(LIST_ELEMENT, |m| {
                    m.nest(1, |m| {
                        m.put(DATA_VALUE, key);
                    });
                    if let Some(value) = value {
                        m.nest(2, |m| data(m, value));
                    }
                });
            }
        });
        m
    };
    content.chunks(ELEMENTS_PER_MESSAGE).map(part).collect()
}

/// The message that makes a named set.
pub(super) fn set(family: Family, table: &str, spec: &SetSpec, id: u32) -> Message {
    let mut m = message(NEW_SET, crate::netlink::flags::CREATE, family);
    let map = if spec.content == Content::Members { 0 } else { SET_MAP };
    let dynamic = if spec.timeout.is_some() { SET_TIMEOUT | SET_DYNAMIC } else { 0 };
    m.put_str(1, table).put_str(2, &spec.name).put_be32(3, map | dynamic);
    m.put_be32(4, spec.key_shown_as).put_be32(5, spec.key_length);
    match spec.content {
        Content::Members => {}
        Content::Verdicts => {
            m.put_be32(6, VERDICT_TYPE);
        }
        Content::Values { length, shown_as } => {
            m.put_be32(6, shown_as).put_be32(7, length);
        }
    }
    if let Some(limit) = spec.limit {
        m.nest(9, |m| {
            m.put_be32(1, limit);
        });
    }
    m.put_be32(10, id);
    if let Some(timeout) = spec.timeout {
        m.put(11, &milliseconds(timeout));
    }
    m
}

fn milliseconds(time: std::time::Duration) -> [u8; 8] {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes()
}

fn data(m: &mut Message, value: &Data) {
    match value {
        Data::Value(bytes) => {
            m.put(DATA_VALUE, bytes);
        }
        Data::Verdict(v) => verdict(m, v),
    }
}

fn verdict(m: &mut Message, verdict: &Verdict) {
    let (code, chain): (i32, Option<&str>) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    m.nest(DATA_VERDICT, |m| {
        m.put_be32(1, code.cast_unsigned());
        if let Some(chain) = chain {
            m.put_str(2, chain);
        }
    });
}

fn number(reg: Reg) -> u32 {
    REGISTER_BASE + u32::from(reg.0)
}

/// One expression: its name and its attributes.
fn expr(m: &mut Message, step: &Expr, family: Family, ids: &mut impl Iterator<Item = u32>) {
    let (name, fill): (&str, Fill<'_>) = match step {
        Expr::NetworkHeader { offset, length, into } => ("payload", payload(1, *offset, *length, *into)),
        Expr::TransportHeader { offset, length, into } => ("payload", payload(2, *offset, *length, *into)),
        Expr::Protocol { into } => ("meta", numbers(vec![(1, number(*into)), (2, 16)])),
        Expr::Mark { into } => ("meta", numbers(vec![(1, number(*into)), (2, 3)])),
        Expr::SetMark { from } => ("meta", numbers(vec![(2, 3), (3, number(*from))])),
        Expr::InputLink { into } => ("meta", numbers(vec![(1, number(*into)), (2, 6)])),
        Expr::OutputLink { into } => ("meta", numbers(vec![(1, number(*into)), (2, 7)])),
        Expr::ConnectionState { into } => ("ct", numbers(vec![(1, number(*into)), (2, 0)])),
        Expr::ConnectionStatus { into } => ("ct", numbers(vec![(1, number(*into)), (2, 2)])),
        Expr::Fib { key, into } => {
            let which = match key {
                FibKey::SourceType => 1,
                FibKey::DestinationType => 2,
            };
            ("fib", numbers(vec![(1, number(*into)), (2, 3), (3, which)]))
        }
        Expr::Compare { reg, how, with } => ("cmp", compare(*reg, *how, with)),
        Expr::Bitwise { from, into, mask, xor } => ("bitwise", bitwise(*from, *into, mask, xor)),
        Expr::Verdict(v) => ("immediate", immediate(VERDICT_REGISTER, Data::Verdict(v.clone()))),
        Expr::Load { value, into } => ("immediate", immediate(number(*into), Data::Value(value.clone()))),
        Expr::Lookup { set, key, into, inverted } => {
            let mut fields = vec![(2, number(*key))];
            fields.extend(into.map(|reg| (3, number(reg))));
            fields.extend(inverted.then_some((5, 1)));
            ("lookup", lookup(set, fields, ids.by_ref()))
        }
        Expr::VerdictLookup { set, key } => ("lookup", lookup(set, vec![(2, number(*key)), (3, VERDICT_REGISTER)], ids.by_ref())),
        Expr::Random { modulus, into } => ("numgen", numbers(vec![(1, number(*into)), (2, *modulus), (3, 1)])),
        Expr::DestinationNat { address, port } => {
            let mut fields = vec![(1, 1), (2, u32::from(family.number())), (3, number(*address))];
            fields.extend(port.map(|reg| (5, number(reg))));
            ("nat", numbers(fields))
        }
        Expr::Masquerade => ("masq", numbers(vec![(1, MASQUERADE_FULLY_RANDOM)])),
        Expr::Reject(how) => ("reject", reject(*how, family)),
        Expr::Remember { set, key, value, timeout } => ("dynset", remember(set, *key, *value, *timeout)),
        Expr::Forget { set, key, value } => {
            let (set, key, value) = (set.clone(), number(*key), number(*value));
            let fill = move |m: &mut Message| {
                m.put_str(1, &set).put_be32(3, 2).put_be32(4, key).put_be32(5, value);
            };
            ("dynset", Box::new(fill))
        }
        Expr::Counter => ("counter", Box::new(|_| {})),
    };
    m.put_str(1, name).nest(2, fill);
}

type Fill<'a> = Box<dyn FnOnce(&mut Message) + 'a>;

fn numbers(fields: Vec<(u16, u32)>) -> Fill<'static> {
    Box::new(move |m| {
        for (kind, value) in fields {
            m.put_be32(kind, value);
        }
    })
}

fn payload(base: u32, offset: u32, length: u32, into: Reg) -> Fill<'static> {
    numbers(vec![(1, number(into)), (2, base), (3, offset), (4, length)])
}

fn compare(reg: Reg, how: Comparison, with: &[u8]) -> Fill<'_> {
    let operator = match how {
        Comparison::Equal => 0,
        Comparison::Different => 1,
    };
    Box::new(move |m| {
        m.put_be32(1, number(reg)).put_be32(2, operator).nest(3, |m| {
            m.put(DATA_VALUE, with);
        });
    })
}

fn bitwise<'a>(from: Reg, into: Reg, mask: &'a [u8], xor: &'a [u8]) -> Fill<'a> {
    Box::new(move |m| {
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        m.put_be32(1, number(from)).put_be32(2, number(into)).put_be32(3, length);
        for (kind, bytes) in [(4, mask), (5, xor)] {
            m.nest(kind, |m| {
                m.put(DATA_VALUE, bytes);
            });
        }
    })
}

fn immediate(register: u32, value: Data) -> Fill<'static> {
    Box::new(move |m| {
        m.put_be32(1, register).nest(2, |m| data(m, &value));
    })
}

fn lookup<'a>(set: &'a SetRef, fields: Vec<(u16, u32)>, ids: &mut impl Iterator<Item = u32>) -> Fill<'a> {
    let (name, id) = match set {
        SetRef::Named(name) => (name.as_str(), None),
        SetRef::Anonymous(content) => (anonymous_name(content), ids.next()),
    };
    Box::new(move |m| {
        m.put_str(1, name);
        for (kind, value) in fields {
            m.put_be32(kind, value);
        }
        if let Some(id) = id {
            m.put_be32(4, id);
        }
    })
}

fn remember(set: &str, key: Reg, value: Option<Reg>, timeout: std::time::Duration) -> Fill<'_> {
    Box::new(move |m| {
        // Operation 1 is "update": a lookup that finds the entry refreshes its lifetime.
        m.put_str(1, set).put_be32(3, 1).put_be32(4, number(key));
        if let Some(value) = value {
            m.put_be32(5, number(value));
        }
        m.put(6, &milliseconds(timeout));
    })
}

fn reject(how: Reject, family: Family) -> Fill<'static> {
    let code: u8 = match (how, family) {
        (Reject::PortUnreachable, Family::Ipv4) => 3,
        (Reject::PortUnreachable, Family::Ipv6) => 4,
        (Reject::HostUnreachable, Family::Ipv4) => 1,
        (Reject::HostUnreachable, Family::Ipv6) => 3,
    };
    Box::new(move |m| {
        m.put_be32(1, 0).put(2, &[code]);
    })
}
