//! Requests of the daemon, and answers that never hold the shim up.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Shim;
use super::output::Client;
use super::process::{ExecCall, Role};
use crate::cgroup;
use crate::spec::Stdin;
use crate::wire::{self, Answer, Call, Family, Input, Message, Request, Scope};

/// Messages that wait for a daemon that does not read. One more cuts the connection off; the daemon finds all again by connecting.
const MAX_BACKLOG: usize = 256;

/// One daemon's connection.
pub(super) struct Connection {
    socket: OwnedFd,
    backlog: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

impl Connection {
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Shim {
    /// Takes a connection in.
    pub(super) fn connect(&mut self, socket: OwnedFd) {
        let key = self.key();
        self.connections.insert(key, Connection { socket, backlog: VecDeque::new() });
    }

    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            self.connect(socket);
        }
    }

    /// Reads and answers requests until there are no more.
    pub(super) fn receive(&mut self, key: u64) {
        loop {
            let Some(connection) = self.connections.get(&key) else { return };
            match wire::receive::<Request>(connection, &mut self.buffer) {
                Ok(Some((request, fds))) => self.answer(key, request, fds),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) | Err(_) => {
                    self.connections.remove(&key);
                    return;
                }
            }
        }
    }

    fn answer(&mut self, connection: u64, request: Request, fds: Vec<OwnedFd>) {
        let waiting = (connection, request.id);
        let mut carried = Vec::new();
        let result = match request.call {
            // These two are answered when the new process runs.
            Call::Start { .. } | Call::Exec { .. } if self.stopping => Err("the pod sandbox is being stopped".to_owned()),
            Call::Start { container } => match self.start(&container, waiting) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            Call::Exec { container, exec, args, terminal, stdin } => {
                match self.exec(ExecCall { container, exec, args, terminal, stdin }, fds, waiting) {
                    Ok(()) => return,
                    Err(why) => Err(why),
                }
            }
            Call::State => Ok(Answer::Running { containers: self.containers.values().map(|c| c.id.clone()).collect() }),
            Call::Signal { container, signal, scope } => {
                self.signal(&container, signal, scope);
                Ok(Answer::Done)
            }
            Call::KillExec { exec } => {
                for process in self.processes.values() {
                    if matches!(process.role, Role::Exec { exec: number, connection: owner } if number == exec && owner == connection) {
                        process.kill_group();
                    }
                }
                Ok(Answer::Done)
            }
            Call::Attach { container } => self.attach(&container, fds, &mut carried),
            Call::CloseStdin { container } => self.find(&container).map(|c| {
                c.stdin = None;
                Answer::Done
            }),
            Call::ReopenLog { container } => {
                self.find(&container).and_then(|c| c.log.reopen().map_err(|e| format!("opening the log again: {e}"))).map(|()| Answer::Done)
            }
            Call::Socket { family } => socket(family, &mut carried),
            Call::Shutdown => {
                self.stopping = true;
                for container in self.containers.values() {
                    let _ = rustix::process::kill_process(container.pid, rustix::process::Signal::KILL);
                    cgroup::kill(&container.cgroups);
                }
                Ok(Answer::Done)
            }
        };
        self.reply(connection, request.id, result, carried);
    }

    fn find(&mut self, id: &str) -> Result<&mut super::Container, String> {
        self.containers.values_mut().find(|c| c.id == id).ok_or_else(|| format!("container {id} is not running"))
    }

    fn signal(&mut self, id: &str, signal: i32, scope: Scope) {
        // Not running any more is what a stopper wants to hear.
        let Ok(container) = self.find(id) else { return };
        let _ = crate::sys::kill(container.pid.as_raw_nonzero().get(), signal);
        if scope == Scope::All {
            cgroup::kill(&container.cgroups);
        }
    }

    fn attach(&mut self, id: &str, fds: Vec<OwnedFd>, carried: &mut Vec<OwnedFd>) -> Result<Answer, String> {
        let container = self.find(id)?;
        let duplicate = |fd: &OwnedFd| fd.try_clone().map_err(|e| format!("handing out the input: {e}"));
        let input = match (&container.terminal, &container.stdin, container.stdin_mode) {
            (Some(terminal), _, _) => {
                carried.push(duplicate(terminal)?);
                Input::Terminal
            }
            (None, Some(stdin), Stdin::Open | Stdin::Once) => {
                carried.push(duplicate(stdin)?);
                Input::Pipe
            }
            _ => Input::None,
        };
        container.clients.push(Client::new(fds));
        Ok(Answer::Attached { input })
    }

    pub(super) fn reply(&mut self, connection: u64, id: u64, result: Result<Answer, String>, descriptors: Vec<OwnedFd>) {
        self.send(connection, &Message::Reply { id, result }, descriptors);
    }

    pub(super) fn broadcast(&mut self, message: &Message) {
        for key in self.connections.keys().copied().collect::<Vec<_>>() {
            self.send(key, message, Vec::new());
        }
    }

    /// Queues a message and sends what can be sent.
    pub(super) fn send(&mut self, key: u64, message: &Message, descriptors: Vec<OwnedFd>) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Ok(text) = serde_json::to_vec(message) else { return };
        connection.backlog.push_back((text, descriptors));
        if connection.backlog.len() > MAX_BACKLOG {
            self.connections.remove(&key);
            return;
        }
        self.flush(key);
    }

    pub(super) fn flush(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        while let Some((text, descriptors)) = connection.backlog.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match wire::send_bytes(&connection.socket, text, &borrowed) {
                Ok(()) => {
                    connection.backlog.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.connections.remove(&key);
                    return;
                }
            }
        }
    }

    pub(super) fn flush_all(&mut self) {
        for key in self.connections.keys().copied().collect::<Vec<_>>() {
            self.flush(key);
        }
    }
}

/// A socket is of the network namespace that it was made in, whoever uses it later.
fn socket(family: Family, carried: &mut Vec<OwnedFd>) -> Result<Answer, String> {
    let family = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(|e| format!("making a socket in the pod: {e}"))?;
    carried.push(socket);
    Ok(Answer::Done)
}
