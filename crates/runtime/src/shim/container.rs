//! One running container as the shim holds it: its streams, its log, its clients.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::Pid;

use super::log::Log;
use super::output::{Channel, Client};
use crate::paths::ContainerDir;
use crate::spec::Stdin;

/// How many reads of a dead container's pipes are made at most: a pipe holds 64 KiB, of which some may be refilled by a process that
/// outlives the container in a shared PID namespace.
const MAX_DRAIN: usize = 1024;

/// A container whose process has been forked and has not been reaped.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) dir: ContainerDir,
    pub(super) pid: Pid,
    pub(super) cgroups: Vec<PathBuf>,
    pub(super) stdin_mode: Stdin,
    /// The write end of its standard input.
    pub(super) stdin: Option<OwnedFd>,
    /// The master side of its terminal; then there are no pipes.
    pub(super) terminal: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) log: Log,
    pub(super) clients: Vec<Client>,
}

impl Container {
    /// What to read output from.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Channel, BorrowedFd<'_>)> {
        let stdout = self.stdout.as_ref().or(self.terminal.as_ref());
        [(Channel::Stdout, stdout), (Channel::Stderr, self.stderr.as_ref())].into_iter().filter_map(|(c, fd)| fd.map(|fd| (c, fd.as_fd())))
    }

    pub(super) fn clients_with_backlog(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.iter().flat_map(Client::waiting)
    }

    /// Reads once and hands it on; at the end of the stream, closes it. Answers whether anything was read.
    pub(super) fn pump(&mut self, channel: Channel, buffer: &mut [u8]) -> bool {
        let Some((_, fd)) = self.outputs().find(|(c, _)| *c == channel) else { return false };
        match rustix::io::read(fd, &mut *buffer) {
            Ok(0) => self.close(channel),
            Ok(count) => {
                let data = buffer.get(..count).unwrap_or_default();
                self.log.write(channel, data);
                for client in &mut self.clients {
                    client.push(channel, data);
                }
                self.clients.retain(Client::is_open);
                return true;
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // EIO: the last process has closed its side of the terminal.
            Err(_) => self.close(channel),
        }
        false
    }

    fn close(&mut self, channel: Channel) {
        match channel {
            Channel::Stdout => {
                self.stdout = None;
                self.terminal = None;
            }
            Channel::Stderr => self.stderr = None,
        }
    }

    pub(super) fn push_to_clients(&mut self) {
        self.clients.iter_mut().for_each(Client::flush);
        self.clients.retain(Client::is_open);
    }

    /// Takes what a dead container has left in its pipes, and ends the log.
    pub(super) fn drain(&mut self, buffer: &mut [u8]) {
        for channel in [Channel::Stdout, Channel::Stderr] {
            let mut reads = 0;
            while reads < MAX_DRAIN && self.pump(channel, buffer) {
                reads += 1;
            }
        }
        self.log.finish();
        self.push_to_clients();
    }
}
