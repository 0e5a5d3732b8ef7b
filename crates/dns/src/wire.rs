//! Queries in, responses out, as bytes. Sources: RFC 1035, RFC 6891 (EDNS), RFC 2308 (negative answers).

use crate::name::MAX_NAME;
use crate::zone::Record;

pub(crate) const HEADER: usize = 12;
/// The most that a client without EDNS takes by UDP.
pub(crate) const PLAIN_UDP: usize = 512;
/// The most that is sent by UDP: fits any path without fragments (the DNS flag day's figure).
pub(crate) const MAX_UDP: usize = 1232;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const OPCODE: u16 = 0x7800;

/// A record's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// Name server.
    pub const NS: Self = Self(2);
    /// Another name.
    pub const CNAME: Self = Self(5);
    /// Start of authority.
    pub const SOA: Self = Self(6);
    /// The name of an address.
    pub const PTR: Self = Self(12);
    /// Text.
    pub const TXT: Self = Self(16);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Service location.
    pub const SRV: Self = Self(33);
    /// All of them.
    pub const ANY: Self = Self(255);
}

/// How a query ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// Not a query at all: it gets no answer.
    Ignore,
    /// A query that cannot be read.
    Malformed,
    /// Something other than a standard query.
    NotImplemented,
    /// A class other than Internet.
    Refused,
    /// EDNS of a later version.
    BadVersion,
}

/// A readable query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    packet: &'a [u8],
    /// The name asked for, in wire form and lower case.
    name: [u8; MAX_NAME],
    name_length: usize,
    /// The type asked for.
    pub kind: RecordType,
    /// The client's EDNS buffer, if it speaks EDNS.
    edns: Option<u16>,
    /// Where the question ends.
    question_end: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes)
}

/// The end of the name at `at`: after its closing zero or its pointer.
pub(crate) fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return at.checked_add(1),
            length if length & 0xc0 == 0xc0 => return at.checked_add(2).filter(|end| *end <= packet.len()),
            length if length & 0xc0 == 0 => at = at.checked_add(1 + usize::from(length))?,
            _ => return None,
        }
    }
}

impl<'a> Query<'a> {
    /// Reads a packet.
    pub fn parse(packet: &'a [u8]) -> Result<Self, QueryError> {
        let flags = u16_at(packet, 2).filter(|_| packet.len() >= HEADER).ok_or(QueryError::Ignore)?;
        if flags & QR != 0 {
            return Err(QueryError::Ignore);
        }
        if flags & OPCODE != 0 {
            return Err(QueryError::NotImplemented);
        }
        let mut query = Self::question(packet).ok_or(QueryError::Malformed)?;
        let class = u16_at(packet, query.question_end - 2).unwrap_or(0);
        query.read_edns()?;
        if class != CLASS_IN && class != CLASS_ANY {
            return Err(QueryError::Refused);
        }
        Ok(query)
    }

    fn question(packet: &'a [u8]) -> Option<Self> {
        if u16_at(packet, 4)? != 1 {
            return None;
        }
        let end = skip_name(packet, HEADER)?;
        let wire = packet.get(HEADER..end)?;
        // A pointer has nothing to point to in a question.
        if wire.last() != Some(&0) || wire.len() > MAX_NAME {
            return None;
        }
        let mut name = [0; MAX_NAME];
        name.get_mut(..wire.len())?.copy_from_slice(wire);
        name.make_ascii_lowercase();
        let kind = RecordType(u16_at(packet, end)?);
        u16_at(packet, end.checked_add(2)?)?;
        Some(Self { packet, name, name_length: wire.len(), kind, edns: None, question_end: end.checked_add(4)? })
    }

    fn read_edns(&mut self) -> Result<(), QueryError> {
        let count = |at| usize::from(u16_at(self.packet, at).unwrap_or(0));
        let records = count(6) + count(8) + count(10);
        let mut at = self.question_end;
        for _ in 0..records {
            let fixed = skip_name(self.packet, at).ok_or(QueryError::Malformed)?;
            let kind = u16_at(self.packet, fixed).ok_or(QueryError::Malformed)?;
            let size = u16_at(self.packet, fixed + 2).ok_or(QueryError::Malformed)?;
            let version = self.packet.get(fixed + 5).ok_or(QueryError::Malformed)?;
            let length = u16_at(self.packet, fixed + 8).ok_or(QueryError::Malformed)?;
            at = fixed + 10 + usize::from(length);
            if at > self.packet.len() {
                return Err(QueryError::Malformed);
            }
            if kind == TYPE_OPT {
                self.edns = Some(size);
                if *version != 0 {
                    return Err(QueryError::BadVersion);
                }
            }
        }
        Ok(())
    }

    /// The name asked for, in wire form and lower case.
    pub fn name(&self) -> &[u8] {
        self.name.get(..self.name_length).unwrap_or_default()
    }

    /// The whole packet.
    pub fn packet(&self) -> &'a [u8] {
        self.packet
    }

    /// The question's bytes as the client wrote them.
    pub(crate) fn question_bytes(&self) -> &'a [u8] {
        self.packet.get(HEADER..self.question_end).unwrap_or_default()
    }

    /// The most bytes that the client takes by UDP.
    pub(crate) fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP, |size| usize::from(size).clamp(PLAIN_UDP, MAX_UDP))
    }
}

/// An answer to an unreadable query, as far as one can be given.
pub(crate) fn error_response(packet: &[u8], error: QueryError) -> Option<Vec<u8>> {
    let code = match error {
        QueryError::Ignore => return None,
        QueryError::Malformed => Code::FormatError,
        QueryError::NotImplemented => Code::NotImplemented,
        QueryError::Refused => Code::Refused,
        QueryError::BadVersion => Code::BadVersion,
    };
    let question = Query::question(packet).filter(|_| error != QueryError::Malformed);
    let mut response = Response::start(packet, question.as_ref().map(Query::question_bytes), code, false);
    if code == Code::BadVersion {
        response.put_opt(code);
    }
    Some(response.bytes)
}

/// A response under construction.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) bytes: Vec<u8>,
}

impl Response {
    fn start(packet: &[u8], question: Option<&[u8]>, code: Code, authoritative: bool) -> Self {
        let asked = u16_at(packet, 2).unwrap_or(0);
        let mut flags = QR | RA | (asked & (RD | OPCODE)) | (code as u16 & 0xf);
        if authoritative {
            flags |= AA;
        }
        let mut bytes = Vec::with_capacity(PLAIN_UDP);
        bytes.extend_from_slice(packet.get(..2).unwrap_or(&[0, 0]));
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&u16::from(question.is_some()).to_be_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(question.unwrap_or_default());
        Self { bytes }
    }

    /// A response to `query`; `authoritative` when it comes from the cluster's own data.
    pub(crate) fn to(query: &Query<'_>, code: Code, authoritative: bool) -> Self {
        Self::start(query.packet, Some(query.question_bytes()), code, authoritative)
    }

    fn count(&mut self, at: usize) {
        let now = u16_at(&self.bytes, at).unwrap_or(0).saturating_add(1);
        if let Some(slot) = self.bytes.get_mut(at..at + 2) {
            slot.copy_from_slice(&now.to_be_bytes());
        }
    }

    /// Adds a record in the section whose counter is at `section`; the owner is given as wire bytes or a pointer.
    fn put(&mut self, section: usize, owner: &[u8], record: &Record, ttl: u32) {
        self.bytes.extend_from_slice(owner);
        self.bytes.extend_from_slice(&record.kind.0.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes.extend_from_slice(&u16::try_from(record.data.len()).unwrap_or(0).to_be_bytes());
        self.bytes.extend_from_slice(&record.data);
        self.count(section);
    }

    /// Adds to the answer section.
    pub(crate) fn answer(&mut self, owner: &[u8], record: &Record, ttl: u32) {
        self.put(6, owner, record, ttl);
    }

    /// Adds to the authority section.
    pub(crate) fn authority(&mut self, owner: &[u8], record: &Record, ttl: u32) {
        self.put(8, owner, record, ttl);
    }

    fn put_opt(&mut self, code: Code) {
        self.bytes.extend_from_slice(&[0]);
        self.bytes.extend_from_slice(&TYPE_OPT.to_be_bytes());
        self.bytes.extend_from_slice(&(MAX_UDP as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[(code as u16 >> 4) as u8, 0, 0, 0, 0, 0]);
        self.count(10);
    }

    /// Closes the response: EDNS if the client speaks it; cut to `limit` bytes with the "truncated" mark, which makes
    /// the client ask again by TCP.
    pub(crate) fn finish(mut self, query: &Query<'_>, limit: usize) -> Vec<u8> {
        const OPT: usize = 11;
        let edns = usize::from(query.edns.is_some()) * OPT;
        if self.bytes.len() + edns > limit {
            truncate(&mut self.bytes, HEADER + query.question_bytes().len());
        }
        if query.edns.is_some() {
            self.put_opt(Code::NoError);
        }
        self.bytes
    }
}

/// Cuts a response back to its question and marks it.
pub(crate) fn truncate(bytes: &mut Vec<u8>, end: usize) {
    bytes.truncate(end);
    if let Some(counts) = bytes.get_mut(6..HEADER) {
        counts.fill(0);
    }
    let flags = u16_at(bytes, 2).unwrap_or(QR) | TC;
    if let Some(slot) = bytes.get_mut(2..4) {
        slot.copy_from_slice(&flags.to_be_bytes());
    }
}

/// Whether a response is marked as cut.
pub(crate) fn is_truncated(bytes: &[u8]) -> bool {
    u16_at(bytes, 2).is_some_and(|flags| flags & TC != 0)
}
