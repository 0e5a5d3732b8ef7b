//! A netlink socket: sends requests, waits for acknowledgements, collects dumps. It stays in the network namespace
//! of the thread that opened it.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::wire::{Attributes, HEADER, Incoming, Message, Messages, flags, u32_at};
use crate::error::{Error, Result};
use crate::netns::Namespace;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel's largest dump datagram is 32 KiB; error answers are smaller.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Netlink answers are immediate; a silent kernel is reported after this long instead of hanging a pod for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Bound on the objects of one dump: far above any real node, and keeps a runaway dump from eating the memory.
const MAX_DUMP_BYTES: usize = 256 * 1024 * 1024;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// The kernel's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own explanation, if it gave one.
    pub detail: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.errno))?;
        self.detail.as_ref().map_or(Ok(()), |d| write!(f, ": {d}"))
    }
}

/// An open netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(family: Family) -> Result<Self> {
        let attempt = || format!("open a netlink socket for {family:?}");
        let protocol = match family {
            // Routing is protocol 0, which `None` stands for.
            Family::Route => None,
            Family::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let wrap = |e: rustix::io::Errno| Error::io(attempt())(e.into());
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).map_err(wrap)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(wrap)?;
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(ANSWER_LIMIT)).map_err(wrap)?;
        // Best effort: without them answers are only larger and have no explanation.
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            set_netlink_option(&fd, option);
        }
        Ok(Self { fd, sequence: 0 })
    }

    /// Opens a socket in `namespace`.
    pub fn open_in(family: Family, namespace: &Namespace) -> Result<Self> {
        namespace.run(move || Self::open(family))?
    }

    /// Sends one request and waits until the kernel has done it.
    pub fn execute(&mut self, mut request: Message, attempt: impl Fn() -> String) -> Result<()> {
        request.add_flags(flags::REQUEST | flags::ACK);
        let sequence = self.next_sequence();
        self.send(&request.finish(sequence), &attempt)?;
        loop {
            let datagram = self.receive(&attempt)?;
            for message in Messages::new(&datagram) {
                if message.sequence == sequence && message.kind == NLMSG_ERROR {
                    return outcome(&message, &attempt);
                }
            }
        }
    }

    /// Sends a request for one object or, with `DUMP`, for all, and hands each answer to `each`.
    pub fn query(&mut self, mut request: Message, attempt: impl Fn() -> String, mut each: impl FnMut(&Incoming<'_>)) -> Result<()> {
        request.add_flags(flags::REQUEST | flags::ACK);
        let sequence = self.next_sequence();
        self.send(&request.finish(sequence), &attempt)?;
        let mut received = 0usize;
        loop {
            let datagram = self.receive(&attempt)?;
            received = received.saturating_add(datagram.len());
            if received > MAX_DUMP_BYTES {
                return Err(Error::Malformed { attempt: attempt(), detail: "the answer does not end" });
            }
            let mut messages = Messages::new(&datagram);
            for message in messages.by_ref().filter(|m| m.sequence == sequence) {
                match message.kind {
                    NLMSG_ERROR => return outcome(&message, &attempt),
                    NLMSG_DONE => return done(&message, &attempt),
                    _ => each(&message),
                }
            }
            if messages.is_malformed() {
                return Err(Error::Malformed { attempt: attempt(), detail: "a message is longer than its datagram" });
            }
        }
    }

    /// Sends `batch` (already framed and numbered, its last message asking for an acknowledgement as `last`) and
    /// returns the kernel's refusals with the sequence numbers they answer. `first` is the number of the frame's
    /// opening message, which the kernel uses for failures of the whole batch.
    pub fn transact(&mut self, batch: &[u8], first: u32, last: u32, attempt: impl Fn() -> String) -> Result<Vec<(u32, Refusal)>> {
        // One datagram must fit the send buffer; with the right to force it there is no system-wide limit.
        let room = batch.len().saturating_mul(2).max(RECEIVE_BUFFER);
        if sockopt::set_socket_send_buffer_size_force(&self.fd, room).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.fd, room);
        }
        self.send(batch, &attempt)?;
        let mut refusals = Vec::new();
        loop {
            // A refused batch may end without the last acknowledgement; the answers are all queued by the time
            // `send` returns, so an empty queue after a refusal is the end.
            let datagram = match self.receive_with(if refusals.is_empty() { RecvFlags::empty() } else { RecvFlags::DONTWAIT }) {
                Ok(datagram) => datagram,
                Err(rustix::io::Errno::AGAIN) if !refusals.is_empty() => return Ok(refusals),
                Err(e) => return Err(Error::io(attempt())(e.into())),
            };
            for message in Messages::new(&datagram) {
                let ours = (first..=last.saturating_add(1)).contains(&message.sequence);
                if message.kind != NLMSG_ERROR || !ours {
                    continue;
                }
                match refusal(&message) {
                    Some(no) => refusals.push((message.sequence, no)),
                    None if message.sequence == last => return Ok(refusals),
                    None => {}
                }
            }
        }
    }

    /// A fresh request number, `count` of them in a row.
    pub fn reserve_sequences(&mut self, count: u32) -> u32 {
        // Zero and wrap-around are avoided: numbers only have to differ from the last few requests'.
        if self.sequence > u32::MAX / 2 {
            self.sequence = 0;
        }
        let first = self.sequence + 1;
        self.sequence = self.sequence.saturating_add(count);
        first
    }

    fn next_sequence(&mut self) -> u32 {
        self.reserve_sequences(1)
    }

    fn send(&self, bytes: &[u8], attempt: &impl Fn() -> String) -> Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &kernel).map(|_| ()).map_err(|e| Error::io(attempt())(e.into()))
    }

    fn receive(&self, attempt: &impl Fn() -> String) -> Result<Vec<u8>> {
        self.receive_with(RecvFlags::empty()).map_err(|e| Error::io(attempt())(e.into()))
    }

    fn receive_with(&self, how: RecvFlags) -> rustix::io::Result<Vec<u8>> {
        let mut buffer = vec![0u8; RECEIVE_BUFFER];
        loop {
            match rustix::net::recv(&self.fd, buffer.as_mut_slice(), how) {
                Ok((length, _)) => {
                    buffer.truncate(length);
                    return Ok(buffer);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn set_netlink_option(fd: &OwnedFd, option: libc::c_int) {
    let on: libc::c_int = 1;
    // SAFETY: the file descriptor is open, and the pointer and length describe `on`, which outlives the call.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

fn outcome(message: &Incoming<'_>, attempt: &impl Fn() -> String) -> Result<()> {
    match refusal(message) {
        Some(refusal) => Err(Error::Refused { attempt: attempt(), refusal }),
        None => Ok(()),
    }
}

fn done(message: &Incoming<'_>, attempt: &impl Fn() -> String) -> Result<()> {
    // A dump that failed half-way carries its error in the closing message.
    match u32_at(message.payload, 0).map(u32::cast_signed) {
        Some(code) if code < 0 => {
            Err(Error::Refused { attempt: attempt(), refusal: Refusal { errno: code.saturating_neg(), detail: None } })
        }
        _ => Ok(()),
    }
}

/// Reads an error answer; `None` is an acknowledgement. Too short an answer counts as an I/O error.
fn refusal(message: &Incoming<'_>) -> Option<Refusal> {
    let code = u32_at(message.payload, 0).map_or(-libc::EIO, u32::cast_signed);
    if code == 0 {
        return None;
    }
    let detail = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| {
            // The refused request's header follows the code, and its body too unless the answer was capped.
            let echoed = match message.flags & NLM_F_CAPPED {
                0 => usize::try_from(u32_at(message.payload, 4)?).ok()?.next_multiple_of(4),
                _ => HEADER,
            };
            let attributes = Attributes::new(message.payload.get(echoed.checked_add(4)?..)?);
            attributes.get(NLMSGERR_ATTR_MSG)?.text().map(str::to_owned)
        })
        .flatten();
    Some(Refusal { errno: code.saturating_neg(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_error_answer_is_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..80), flags: u16) {
            let _ = refusal(&Incoming { kind: NLMSG_ERROR, flags, sequence: 1, payload: &payload });
        }
    }
}
