//! The words between the daemon and a shim: one JSON text per packet of a `SOCK_SEQPACKET` socket, descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest packet. A longer one is refused by the sender; only an exec's command line can come near.
pub(crate) const MAX_PACKET: usize = 128 * 1024;
/// The most descriptors that one packet carries: the three standard streams.
const MAX_DESCRIPTORS: usize = 3;

/// Daemon → shim. Answers carry the same `id`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) call: Call,
}

/// What a shim can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Which containers run. Answer: [`Answer::Running`].
    State,
    /// Starts a container whose folder is ready. Answer: [`Answer::Started`], after its exec.
    Start { container: String },
    /// Sends a signal. Answer: [`Answer::Done`], also when it has ended already.
    Signal { container: String, signal: i32, scope: Scope },
    /// Runs another process in a running container. Without a terminal the packet carries the ends for stdin (if `stdin`), stdout and stderr.
    /// Answer: [`Answer::Started`]; with a terminal its master comes along. Later [`Event::ExecExited`].
    Exec { container: String, exec: u64, args: Vec<String>, terminal: bool, stdin: bool },
    /// Kills an exec's process group.
    KillExec { exec: u64 },
    /// Copies output from now on to the carried descriptors: stdout, and stderr without a terminal. Answer: [`Answer::Attached`], carrying
    /// the terminal's master or the write end of stdin if there is one.
    Attach { container: String },
    /// Closes the container's stdin (`stdinOnce`).
    CloseStdin { container: String },
    /// Opens the log file anew.
    ReopenLog { container: String },
    /// A TCP socket inside the pod's network namespace, not yet connected. Answer: [`Answer::Done`] with the descriptor.
    Socket { family: Family },
    /// Kills what still runs and ends the shim when all of it is reaped.
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scope {
    /// The container's first process.
    Main,
    /// Every process in the container's cgroup.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Shim → daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Reply { id: u64, result: Result<Answer, String> },
    Event(Event),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Running { containers: Vec<String> },
    Started { pid: i32 },
    Attached { input: Input },
}

/// Which kind of input descriptor an attach carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Input {
    None,
    Pipe,
    Terminal,
}

/// What happens by itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The sandbox is set up (first message of a new shim), or why it could not be.
    Ready(Result<(), String>),
    /// A container has ended; its `exited.json` is written.
    Exited { container: String, exit: Exit },
    /// An exec has ended.
    ExecExited { exec: u64, code: i32 },
}

/// How and when a container ended. Also the content of `exited.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Exit code, or 128 + signal.
    pub(crate) code: i32,
    /// Nanoseconds since the epoch.
    pub(crate) at: i64,
    /// Whether the kernel killed a process in it for want of memory.
    pub(crate) out_of_memory: bool,
    /// Why it never ran, if so; written by the daemon.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// How a container was started: the content of `started.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) pid: i32,
    /// Nanoseconds since the epoch.
    pub(crate) at: i64,
    /// The user it runs as, resolved in the image.
    pub(crate) user: ResolvedUser,
}

/// A user as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResolvedUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// The home directory of /etc/passwd, or `/`.
    pub(crate) home: String,
}

/// Sends one message; `WouldBlock` when the other side does not read.
pub(crate) fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    send_bytes(socket, &text, descriptors)
}

/// As [`send`], for a message that is encoded already.
pub(crate) fn send_bytes(socket: impl AsFd, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if text.len() > MAX_PACKET {
        return Err(io::Error::other(format!("a message of {} bytes to the pod's shim is longer than {MAX_PACKET}", text.len())));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Receives one message with its descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    let text = buffer.get(..got.bytes).unwrap_or_default();
    let message = serde_json::from_slice(text).map_err(io::Error::other)?;
    Ok(Some((message, descriptors)))
}

/// A connected pair, for a new shim and the daemon that starts it.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Listens on `name` in the folder `dir`, replacing what a dead shim left.
pub(crate) fn listen(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let _ = std::fs::remove_file(dir.join(name));
    let (socket, address, _dir) = endpoint(dir, name)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// Connects to the shim that listens on `name` in `dir`.
pub(crate) fn connect(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let (socket, address, _dir) = endpoint(dir, name)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// A socket address may have 108 bytes only, a data directory more: so the folder is named by its descriptor.
fn endpoint(dir: &Path, name: &str) -> io::Result<(OwnedFd, SocketAddrUnix, OwnedFd)> {
    use std::os::fd::AsRawFd as _;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let folder = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
    Ok((socket, address, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_and_a_long_one_is_refused() {
        let (a, b) = pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(&a, &Request { id: 7, call: Call::Shutdown }, &[writer.as_fd()]).unwrap();
        let mut buffer = vec![0; MAX_PACKET];
        let (request, fds) = receive::<Request>(&b, &mut buffer).unwrap().unwrap();
        assert_eq!(request.id, 7);
        drop(writer);
        rustix::io::write(&fds[0], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0u8; 4]).unwrap(), 1);
        let long = Call::Start { container: "x".repeat(MAX_PACKET) };
        assert!(send(&a, &Request { id: 8, call: long }, &[]).is_err());
        drop(a);
        assert!(receive::<Request>(&b, &mut buffer).unwrap().is_none());
    }
}
