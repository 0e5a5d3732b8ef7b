//! What can go wrong at this crate's edge, always with what was attempted on which object.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::netlink::Refusal;

/// Short for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// One failed attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error("{attempt}: {refusal}")]
    Refused {
        /// The request in words, with the names of the objects.
        attempt: String,
        /// The kernel's answer.
        refusal: Refusal,
    },
    /// A system call or a file operation failed.
    #[error("{attempt}: {source}")]
    Io {
        /// The operation in words.
        attempt: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel sent something that is not valid netlink.
    #[error("{attempt}: the kernel's answer is malformed: {detail}")]
    Malformed {
        /// The request in words.
        attempt: String,
        /// What was wrong with the answer.
        detail: &'static str,
    },
    /// No network namespace is mounted at this path.
    #[error("no network namespace at {0}")]
    NoNamespace(PathBuf),
    /// Every address of the node's pod range is in use.
    #[error("all {size} pod addresses of {range} are in use")]
    AddressesExhausted {
        /// The node's pod range.
        range: String,
        /// How many addresses it has for pods.
        size: u32,
    },
    /// Another pod holds this host port already.
    #[error("host port {port}/{protocol} on {host} is held by pod {holder}")]
    HostPortTaken {
        /// The wanted port.
        port: u16,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: &'static str,
        /// The wanted host address; `0.0.0.0` means all.
        host: Ipv4Addr,
        /// Who holds it.
        holder: String,
    },
    /// A setting that cannot work.
    #[error("network setting {name}: {detail}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Why it cannot work.
        detail: String,
    },
    /// A worker thread of this crate died; only a bug does that.
    #[error("{0}: the worker thread ended without an answer")]
    ThreadDied(String),
}

impl Error {
    /// Makes an [`Error::Io`] of a failed attempt.
    pub fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::Io { attempt, source }
    }

    /// The kernel's error number, when there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            Self::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the object of the attempt did not exist (any of the kernel's ways to say so).
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO))
    }

    /// Whether the object of the attempt was there already.
    pub fn is_present(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}
