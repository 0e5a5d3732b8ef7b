//! Changes to tables, as values.

use std::time::Duration;

use super::{Data, Family, Rule};

/// Where in the packet's way a base chain sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Everything that arrives, before routing.
    Prerouting,
    /// What is for this node.
    Input,
    /// What is passed on.
    Forward,
    /// What this node sends.
    Output,
    /// Everything that leaves, after routing.
    Postrouting,
}

impl Hook {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Filter packets.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
}

/// A chain that the kernel itself calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it is called.
    pub hook: Hook,
    /// Lower is earlier.
    pub priority: i32,
}

/// What a named set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Keys alone.
    Members,
    /// A verdict for each key.
    Verdicts,
    /// A value of so many bytes for each key.
    Values {
        /// Bytes of a value.
        length: u32,
        /// nft's number of the value's type, for people who list the table.
        shown_as: u32,
    },
}

/// A named set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec {
    /// Its name in the table.
    pub name: String,
    /// Bytes of a key.
    pub key_length: u32,
    /// nft's number of the key's type, for people who list the table.
    pub key_shown_as: u32,
    /// What it holds.
    pub content: Content,
    /// Lifetime of entries that rules add; `None` for sets that only this program fills.
    pub timeout: Option<Duration>,
    /// The most entries it may have, for sets that rules fill (packets could otherwise fill the memory).
    pub limit: Option<u32>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes a table; one that exists is fine.
    AddTable {
        /// Its family.
        family: Family,
        /// Its name.
        table: String,
    },
    /// Removes a table with all in it.
    DeleteTable {
        /// Its family.
        family: Family,
        /// Its name.
        table: String,
    },
    /// Makes a chain; one that exists is fine.
    AddChain {
        /// Its name.
        chain: String,
        /// For base chains: where it is called.
        base: Option<BaseChain>,
    },
    /// Removes all rules of a chain.
    FlushChain(String),
    /// Removes a chain that nothing refers to.
    DeleteChain(String),
    /// Adds a rule at a chain's end.
    AddRule {
        /// The chain.
        chain: String,
        /// The rule.
        rule: Rule,
    },
    /// Makes a set; one that exists with the same shape is fine.
    AddSet(SetSpec),
    /// Removes a set that no rule refers to.
    DeleteSet(String),
    /// Adds entries.
    AddElements {
        /// The set.
        set: String,
        /// Keys, with values in maps.
        elements: Vec<(Vec<u8>, Option<Data>)>,
    },
    /// Removes entries.
    DeleteElements {
        /// The set.
        set: String,
        /// Keys.
        keys: Vec<Vec<u8>>,
    },
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddTable { table, .. } => write!(f, "add table {table}"),
            Self::DeleteTable { table, .. } => write!(f, "delete table {table}"),
            Self::AddChain { chain, .. } => write!(f, "add chain {chain}"),
            Self::FlushChain(chain) => write!(f, "flush chain {chain}"),
            Self::DeleteChain(chain) => write!(f, "delete chain {chain}"),
            Self::AddRule { chain, .. } => write!(f, "add a rule to chain {chain}"),
            Self::AddSet(set) => write!(f, "add set {}", set.name),
            Self::DeleteSet(set) => write!(f, "delete set {set}"),
            Self::AddElements { set, elements } => {
                write!(f, "add {} entries to set {set}", elements.len())
            }
            Self::DeleteElements { set, keys } => {
                write!(f, "delete {} entries from set {set}", keys.len())
            }
        }
    }
}
