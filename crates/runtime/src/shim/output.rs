//! Where a container's output goes besides its log: to attached clients, none of which can hold the others or the container up.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A client that is further behind than this is cut off.
const MAX_BACKLOG: usize = 1 << 20;

/// Which output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
}

/// One attached client: the write ends of two pipes.
#[derive(Debug)]
pub(super) struct Client {
    stdout: Option<Pipe>,
    stderr: Option<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    backlog: VecDeque<u8>,
}

impl Client {
    pub(super) fn new(mut fds: Vec<OwnedFd>) -> Self {
        let mut pipe = |at: usize| {
            (fds.len() > at).then(|| fds.remove(at)).map(|fd| {
                let _ = rustix::io::ioctl_fionbio(&fd, true);
                Pipe { fd, backlog: VecDeque::new() }
            })
        };
        let stderr = pipe(1);
        Self { stdout: pipe(0), stderr }
    }

    /// Sends output on; a client that is gone or too far behind loses that stream.
    pub(super) fn push(&mut self, channel: Channel, data: &[u8]) {
        let pipe = match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        };
        if let Some(open) = pipe {
            open.backlog.extend(data);
            if !open.flush() || open.backlog.len() > MAX_BACKLOG {
                *pipe = None;
            }
        }
    }

    /// Sends what is left over.
    pub(super) fn flush(&mut self) {
        for pipe in [&mut self.stdout, &mut self.stderr] {
            if pipe.as_mut().is_some_and(|open| !open.flush()) {
                *pipe = None;
            }
        }
    }

    /// Whether it still listens to anything.
    pub(super) fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Descriptors to wait on until they take more.
    pub(super) fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr].into_iter().flatten().filter(|pipe| !pipe.backlog.is_empty()).map(|pipe| pipe.fd.as_fd())
    }
}

impl Pipe {
    /// Writes what the pipe takes; false when the reader is gone.
    fn flush(&mut self) -> bool {
        while !self.backlog.is_empty() {
            let (front, _) = self.backlog.as_slices();
            match rustix::io::write(&self.fd, front) {
                Ok(written) => {
                    self.backlog.drain(..written);
                }
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
