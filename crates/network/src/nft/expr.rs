//! The expressions of a rule: a rule is a straight line of them, each reading and writing 4-byte registers, and it
//! ends at the first that does not match.

use std::time::Duration;

/// One of the sixteen 4-byte registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Let it through this hook.
    Accept,
    /// Throw it away.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// Go on in another chain, then come back.
    Jump(String),
    /// Go on in another chain for good.
    Goto(String),
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Bytes as they stand in registers.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Same bytes.
    Equal,
    /// Not the same bytes.
    Different,
}

/// What `fib` says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibKey {
    /// The route type of the source address.
    SourceType,
    /// The route type of the destination address.
    DestinationType,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// "Nothing listens on this port": a connecting program sees "connection refused".
    PortUnreachable,
    /// "There is no such host".
    HostUnreachable,
}

/// A set or map that a rule looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRef {
    /// One of the table's sets.
    Named(String),
    /// One that belongs to the rule alone and cannot change.
    Anonymous(Anonymous),
}

/// The content of a rule's own set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Bytes of a key.
    pub key_length: u32,
    /// For a map: bytes of a value; `None` makes a set.
    pub value_length: Option<u32>,
    /// Keys, with values in a map.
    pub elements: Vec<(Vec<u8>, Option<Data>)>,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Loads bytes of the network header.
    NetworkHeader {
        /// First byte.
        offset: u32,
        /// How many.
        length: u32,
        /// Where to.
        into: Reg,
    },
    /// Loads bytes of the transport header.
    TransportHeader {
        /// First byte.
        offset: u32,
        /// How many.
        length: u32,
        /// Where to.
        into: Reg,
    },
    /// Loads the layer 4 protocol number.
    Protocol {
        /// Where to.
        into: Reg,
    },
    /// Loads the packet's mark.
    Mark {
        /// Where to.
        into: Reg,
    },
    /// Sets the packet's mark.
    SetMark {
        /// Where from.
        from: Reg,
    },
    /// Loads the name of the link that the packet came in by (16 bytes).
    InputLink {
        /// Where to.
        into: Reg,
    },
    /// Loads the name of the link that the packet leaves by (16 bytes).
    OutputLink {
        /// Where to.
        into: Reg,
    },
    /// Loads the connection's state bits.
    ConnectionState {
        /// Where to.
        into: Reg,
    },
    /// Loads the connection's status bits.
    ConnectionStatus {
        /// Where to.
        into: Reg,
    },
    /// Loads what the routing table says of an address.
    Fib {
        /// Which address.
        key: FibKey,
        /// Where to.
        into: Reg,
    },
    /// Goes on only if a register compares so with a constant.
    Compare {
        /// The register.
        reg: Reg,
        /// The comparison.
        how: Comparison,
        /// The constant.
        with: Vec<u8>,
    },
    /// `into = (from & mask) ^ xor`.
    Bitwise {
        /// Where from.
        from: Reg,
        /// Where to.
        into: Reg,
        /// And-mask; its length is the operation's.
        mask: Vec<u8>,
        /// Exclusive-or, as long as the mask.
        xor: Vec<u8>,
    },
    /// A verdict.
    Verdict(Verdict),
    /// Loads a constant.
    Load {
        /// The constant.
        value: Vec<u8>,
        /// Where to.
        into: Reg,
    },
    /// Goes on only if the key is in the set (or, inverted, not); a map's value is loaded.
    Lookup {
        /// Where.
        set: SetRef,
        /// First register of the key.
        key: Reg,
        /// First register of the value; `None` for sets.
        into: Option<Reg>,
        /// Whether absence is the match.
        inverted: bool,
    },
    /// Looks up the key in a verdict map; no entry, no verdict.
    VerdictLookup {
        /// Where.
        set: SetRef,
        /// First register of the key.
        key: Reg,
    },
    /// A random number below `modulus`.
    Random {
        /// Exclusive bound.
        modulus: u32,
        /// Where to.
        into: Reg,
    },
    /// Rewrites the destination.
    DestinationNat {
        /// Register of the address.
        address: Reg,
        /// Register of the port; `None` keeps the port.
        port: Option<Reg>,
    },
    /// Rewrites the source to the address of the outgoing link, with a random port.
    Masquerade,
    /// Refuses the packet.
    Reject(Reject),
    /// Adds an entry to a dynamic set or map, or refreshes the lifetime of one that is there.
    Remember {
        /// The set or map.
        set: String,
        /// First register of the key.
        key: Reg,
        /// First register of a map's value.
        value: Option<Reg>,
        /// Lifetime.
        timeout: Duration,
    },
    /// Removes an entry of a dynamic map; one that is not there is fine.
    Forget {
        /// The map.
        set: String,
        /// First register of the key.
        key: Reg,
        /// A register of a value: the kernel wants one named even though it does not look at it.
        value: Reg,
    },
    /// Counts packets and bytes.
    Counter,
}
