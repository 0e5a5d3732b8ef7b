//! The shim: one small single-threaded process per pod, started from this same program, that is the parent of the pod's containers.
//!
//! It makes the sandbox's namespaces by being in them, forks and sets up containers, holds their streams, writes their logs, and writes
//! down how they ended. It speaks to the daemon over a socket in the sandbox's folder and goes on when there is no daemon.
//! Never here: tokio, threads, or a decision; all that it does was planned by the daemon and lies in the sandbox's folder.

mod child;
mod container;
mod log;
mod mount;
mod output;
mod privileges;
mod process;
mod root;
mod sandbox;
mod serve;
mod user;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};

use container::Container;
use output::Channel;
use process::Process;
use serve::Connection;

use crate::paths::{SHIM_SOCKET, SandboxDir};
use crate::wire::{self, Event};

/// The first argument that makes the program a shim.
pub const SHIM_ARGUMENT: &str = "pod-shim";

/// Runs the shim until its sandbox is stopped. `arguments` are those after [`SHIM_ARGUMENT`]: the sandbox's folder. Standard input is the
/// socket to the daemon that started it. Call it before any thread exists. Answers the process's exit code.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let Some(folder) = arguments.into_iter().next() else {
        eprintln!("the pod shim is started by the node, not by hand");
        return 2;
    };
    match run(SandboxDir(PathBuf::from(folder))) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            1
        }
    }
}

/// Everything the shim knows.
struct Shim {
    dir: SandboxDir,
    listener: OwnedFd,
    signals: OwnedFd,
    null: OwnedFd,
    /// The process that holds the pod's shared PID namespace, if there is one.
    pause: Option<rustix::process::Pid>,
    connections: BTreeMap<u64, Connection>,
    containers: BTreeMap<u64, Container>,
    /// Containers and execs by process id.
    processes: BTreeMap<i32, Process>,
    next_key: u64,
    buffer: Vec<u8>,
    stopping: bool,
}

/// Whether the process has given back what it does not need while nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Soon,
    Resting,
}

/// How long nothing has to happen before memory is given back.
const REST_AFTER: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };

/// What became ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Listener,
    Signals,
    Connection(u64),
    Backlog(u64),
    Setup(i32),
    Output(u64, Channel),
    Attached(u64),
}

fn run(dir: SandboxDir) -> Result<(), String> {
    let daemon = sandbox::detach().map_err(|e| format!("detaching the pod shim: {e}"))?;
    let outcome = sandbox::set_up(&dir);
    let ready = Event::Ready(outcome.as_ref().map(|_| ()).map_err(String::clone));
    let listener = wire::listen(&dir.0, SHIM_SOCKET).map_err(|e| format!("listening in {}: {e}", dir.0.display()))?;
    let _ = wire::send(&daemon, &wire::Message::Event(ready), &[]);
    let pause = outcome?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(|e| format!("opening /dev/null: {e}"))?;
    let mut shim = Shim {
        dir,
        listener,
        signals: crate::sys::child_signals().map_err(|e| format!("watching for ended processes: {e}"))?,
        null,
        pause,
        connections: BTreeMap::new(),
        containers: BTreeMap::new(),
        processes: BTreeMap::new(),
        next_key: 0,
        buffer: vec![0; wire::MAX_PACKET],
        stopping: false,
    };
    shim.connect(daemon);
    let mut rest = Rest::Soon;
    while !(shim.stopping && shim.containers.is_empty()) {
        let ready = shim.wait(rest).map_err(|e| format!("waiting for events: {e}"))?;
        if ready.is_empty() && rest == Rest::Soon {
            crate::sys::give_back_memory();
        }
        rest = if ready.is_empty() { Rest::Resting } else { Rest::Soon };
        for event in ready {
            shim.handle(event);
        }
        // Also after a signal that came while something else was handled: reaping is cheap and never blocks.
        shim.reap();
    }
    shim.flush_all();
    Ok(())
}

impl Shim {
    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Sleeps until something is ready. The set is small, so it is built anew each time.
    fn wait(&self, rest: Rest) -> io::Result<Vec<Ready>> {
        let mut tokens = vec![Ready::Listener, Ready::Signals];
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        for (key, connection) in &self.connections {
            tokens.push(Ready::Connection(*key));
            fds.push(PollFd::new(connection, PollFlags::IN));
            if connection.has_backlog() {
                tokens.push(Ready::Backlog(*key));
                fds.push(PollFd::new(connection, PollFlags::OUT));
            }
        }
        for (pid, process) in &self.processes {
            if let Some(setup) = &process.setup {
                tokens.push(Ready::Setup(*pid));
                fds.push(PollFd::new(setup, PollFlags::IN));
            }
        }
        for (key, container) in &self.containers {
            for (channel, fd) in container.outputs() {
                tokens.push(Ready::Output(*key, channel));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            }
            for fd in container.clients_with_backlog() {
                tokens.push(Ready::Attached(*key));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            }
        }
        match rustix::event::poll(&mut fds, (rest == Rest::Soon).then_some(&REST_AFTER)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(tokens.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(token, _)| token).collect())
    }

    fn handle(&mut self, ready: Ready) {
        match ready {
            Ready::Listener => self.accept(),
            Ready::Signals => drain(&self.signals),
            Ready::Connection(key) => self.receive(key),
            Ready::Backlog(key) => self.flush(key),
            Ready::Setup(pid) => self.setup_progress(pid),
            Ready::Output(key, channel) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.pump(channel, &mut self.buffer);
                }
            }
            Ready::Attached(key) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.push_to_clients();
                }
            }
        }
    }
}

/// Empties a signal descriptor; what the signals say is learnt by reaping.
fn drain(signals: impl AsFd) {
    let mut buffer = [0u8; 1024];
    while rustix::io::read(&signals, &mut buffer).is_ok_and(|n| n > 0) {}
}
