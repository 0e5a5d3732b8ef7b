//! From a query and the zone to a response: pure.

use crate::name::WireName;
use crate::wire::{Code, Query, QueryError, RecordType, Response, error_response};
use crate::zone::{Found, Record, TTL, Zone};

/// CNAME records that are followed within the zone: longer chains are somebody's mistake.
const MAX_CHAIN: usize = 8;
/// A pointer to the name in the question.
const ASKED: [u8; 2] = [0xc0, 12];

/// What to do with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send this.
    Send(Vec<u8>),
    /// Ask the node's resolvers.
    Forward,
    /// The name is another name outside the cluster: ask the node's resolvers for that one and answer both.
    Follow(WireName),
    /// Send nothing.
    Ignore,
}

/// Answers `packet` from `zone`. `limit` is the most bytes that the transport takes; by UDP the client's own limit
/// counts too, so pass `None` for it. `turn` rotates the addresses of a name.
pub fn answer(packet: &[u8], zone: &Zone, limit: Option<usize>, turn: usize) -> Reply {
    let query = match Query::parse(packet) {
        Ok(query) => query,
        Err(QueryError::Ignore) => return Reply::Ignore,
        Err(e) => return error_response(packet, e).map_or(Reply::Ignore, Reply::Send),
    };
    let limit = limit.unwrap_or_else(|| query.udp_limit());
    match respond(&query, zone, turn) {
        Answered::Complete(response) => Reply::Send(response.finish(&query, limit)),
        Answered::Foreign => Reply::Forward,
        Answered::LeadsTo(target) => Reply::Follow(target),
    }
}

enum Answered {
    Complete(Response),
    Foreign,
    LeadsTo(WireName),
}

fn respond(query: &Query<'_>, zone: &Zone, turn: usize) -> Answered {
    // Whole-zone transfers are for name servers, which this is not for anybody.
    if matches!(query.kind.0, 251 | 252) {
        return match zone.find(query.name()) {
            Found::Foreign => Answered::Foreign,
            _ => Answered::Complete(Response::to(query, Code::Refused, false)),
        };
    }
    let mut response = Response::to(query, Code::NoError, true);
    let mut owner = ASKED.to_vec();
    let mut name = WireName::from_wire(query.name());
    for step in 0..MAX_CHAIN {
        let records = match zone.find(name.as_bytes()) {
            Found::Foreign if step == 0 => return Answered::Foreign,
            Found::Foreign => return Answered::LeadsTo(name),
            Found::NoSuchName if step == 0 => return Answered::Complete(negative(query, zone, Code::NoSuchName)),
            // The chain's beginning is worth something to the client even if its end is missing.
            Found::NoSuchName => return Answered::Complete(response),
            Found::Address(address) => vec![Record::address(address)],
            Found::Names(names) => names.iter().map(|n| Record::named(RecordType::PTR, n)).collect(),
            Found::Records(records) => {
                let alias = records.iter().find(|r| r.kind == RecordType::CNAME && wants_alias_followed(query.kind));
                if let Some(alias) = alias {
                    response.answer(&owner, alias, TTL);
                    name = WireName::from_wire(&alias.data);
                    owner = name.as_bytes().to_vec();
                    continue;
                }
                records.to_vec()
            }
        };
        let wanted: Vec<&Record> = records.iter().filter(|r| query.kind == RecordType::ANY || r.kind == query.kind).collect();
        if wanted.is_empty() && step == 0 {
            return Answered::Complete(negative(query, zone, Code::NoError));
        }
        let (back, front) = wanted.split_at(turn.checked_rem(wanted.len()).unwrap_or(0));
        for record in front.iter().chain(back) {
            response.answer(&owner, record, TTL);
        }
        return Answered::Complete(response);
    }
    Answered::Complete(Response::to(query, Code::ServerFailure, false))
}

fn wants_alias_followed(kind: RecordType) -> bool {
    kind != RecordType::CNAME && kind != RecordType::ANY
}

/// "There is nothing", with the record that says for how long (RFC 2308).
fn negative(query: &Query<'_>, zone: &Zone, code: Code) -> Response {
    let (domain, soa) = zone.authority();
    let mut response = Response::to(query, code, true);
    response.authority(domain.as_bytes(), soa, TTL);
    response
}
