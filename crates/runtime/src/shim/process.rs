//! Starting processes and noticing their ends.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::child::{self, Setup, Stdio};
use super::container::Container;
use super::log::Log;
use super::{Shim, sandbox};
use crate::cgroup;
use crate::spec::{ContainerSpec, PidMode, Stdin};
use crate::sys::{self, Fork, NewNamespaces};
use crate::wire::{self, Answer, Event, Exit, ResolvedUser, Started};

/// A forked process that has not been reaped.
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) role: Role,
    /// Open until the process has become the program it is to be, or has failed to.
    pub(super) setup: Option<OwnedFd>,
    /// Who waits for that: connection and request.
    waiting: Option<(u64, u64)>,
    user: Option<ResolvedUser>,
    terminal: Option<OwnedFd>,
    /// It said why it could not start.
    failed: bool,
}

pub(super) enum Role {
    /// The first process of the container with this key.
    Main(u64),
    /// A further process of that container.
    Exec { exec: u64, connection: u64 },
}

impl Shim {
    /// Forks a container's first process. The answer to `waiting` is sent when it runs or has failed.
    pub(super) fn start(&mut self, id: &str, waiting: (u64, u64)) -> Result<(), String> {
        if self.containers.values().any(|c| c.id == id) {
            return Err(format!("container {id} is running already"));
        }
        let dir = self.dir.container(id);
        let spec = read_spec(&dir)?;
        let log = Log::open(spec.log.as_deref()).map_err(|e| format!("opening the log of container {id}: {e}"))?;
        let pipes = Pipes::new(&spec).map_err(|e| format!("making the streams of container {id}: {e}"))?;
        let (setup, theirs) = wire::pair().map_err(|e| format!("making the streams of container {id}: {e}"))?;
        let forked = self.fork_for(&spec).map_err(|e| format!("forking container {id}: {e}"))?;
        let pid = match forked {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                let stdio = Stdio { terminal: spec.terminal, stdin: pipes.stdin.0, stdout: pipes.stdout.1, stderr: pipes.stderr.1 };
                child::container(&dir, &spec, stdio, &self.null, theirs)
            }
        };
        let key = self.key();
        for fd in [&pipes.stdout.0, &pipes.stderr.0].into_iter().flatten() {
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        let container = Container {
            id: id.to_owned(),
            dir,
            pid,
            cgroups: spec.cgroups.into_iter().chain(spec.unified).collect(),
            stdin_mode: spec.stdin,
            stdin: pipes.stdin.1,
            terminal: None,
            stdout: pipes.stdout.0,
            stderr: pipes.stderr.0,
            log,
            clients: Vec::new(),
        };
        self.containers.insert(key, container);
        self.watch(pid, Role::Main(key), setup, waiting);
        Ok(())
    }

    fn fork_for(&self, spec: &ContainerSpec) -> std::io::Result<Fork> {
        let folder = unified(spec)?;
        let folder = folder.as_ref().map(AsFd::as_fd);
        let shared = match &spec.pid {
            PidMode::Own => return sys::fork(NewNamespaces::MOUNT.and(NewNamespaces::PID), folder),
            PidMode::Host => return sys::fork(NewNamespaces::MOUNT, folder),
            PidMode::Sandbox => self.pause,
            PidMode::Target(target) => self.containers.values().find(|c| c.id == *target).map(|c| c.pid),
        };
        let of = shared.ok_or_else(|| std::io::Error::other("there is no such PID namespace to share"))?;
        sandbox::fork_into_pid_namespace(&pidfd(of)?, NewNamespaces::MOUNT, folder)
    }

    /// Forks a further process of a running container.
    pub(super) fn exec(&mut self, call: ExecCall, fds: Vec<OwnedFd>, waiting: (u64, u64)) -> Result<(), String> {
        let id = &call.container;
        let found = self.containers.values().find(|c| c.id == *id).map(|c| (c.pid, c.dir.clone()));
        let (target, dir) = found.ok_or_else(|| format!("container {id} is not running"))?;
        let mut spec = read_spec(&dir)?;
        spec.args = call.args;
        spec.terminal = call.terminal;
        let stdio = Stdio::from_descriptors(fds, call.terminal, call.stdin)?;
        let (setup, theirs) = wire::pair().map_err(|e| format!("preparing a command in container {id}: {e}"))?;
        let fail = |e| format!("forking a command in container {id}: {e}");
        // Opened here: inside the container's PID namespace its number means another process.
        let target = pidfd(target).map_err(fail)?;
        let folder = unified(&spec).map_err(fail)?;
        match sandbox::fork_into_pid_namespace(&target, NewNamespaces::NONE, folder.as_ref().map(AsFd::as_fd)).map_err(fail)? {
            Fork::Child => child::exec(&dir, &spec, &target, stdio, &self.null, theirs),
            Fork::Parent(pid) => {
                self.watch(pid, Role::Exec { exec: call.exec, connection: waiting.0 }, setup, waiting);
                Ok(())
            }
        }
    }

    fn watch(&mut self, pid: Pid, role: Role, setup: OwnedFd, waiting: (u64, u64)) {
        let process = Process { pid, role, setup: Some(setup), waiting: Some(waiting), user: None, terminal: None, failed: false };
        self.processes.insert(pid.as_raw_nonzero().get(), process);
    }

    /// Reads what a process says while it sets itself up. The end of the stream means that it has become its program.
    pub(super) fn setup_progress(&mut self, pid: i32) {
        while let Some(process) = self.processes.get_mut(&pid) {
            let Some(setup) = &process.setup else { return };
            match wire::receive::<Setup>(setup, &mut self.buffer) {
                Ok(Some((Setup::Ready(user), mut fds))) => {
                    process.user = Some(user);
                    process.terminal = fds.pop();
                }
                Ok(Some((Setup::Failed(why), _))) => {
                    process.failed = true;
                    self.settle(pid, Err(why));
                }
                Ok(None) => {
                    let outcome = if process.user.is_some() { Ok(()) } else { Err("it died while it was set up".to_owned()) };
                    process.failed = outcome.is_err();
                    self.settle(pid, outcome);
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(e) => {
                    process.failed = true;
                    self.settle(pid, Err(format!("reading its set-up: {e}")));
                }
            }
        }
    }

    /// Answers who waits for a start.
    fn settle(&mut self, pid: i32, outcome: Result<(), String>) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.setup = None;
        let waiting = process.waiting.take();
        let user = process.user.take().unwrap_or_default();
        let mut terminal = process.terminal.take();
        if let (Role::Main(key), Ok(())) = (&process.role, &outcome)
            && let Some(container) = self.containers.get_mut(key)
        {
            if let Some(master) = terminal.take() {
                let _ = rustix::io::ioctl_fionbio(&master, true);
                container.terminal = Some(master);
            }
            let started = Started { pid, at: now(), user };
            write_record(&container.dir.started(), &started);
        }
        if let Some((connection, id)) = waiting {
            let descriptors = terminal.into_iter().collect();
            self.reply(connection, id, outcome.map(|()| Answer::Started { pid }), descriptors);
        }
    }

    /// Collects every ended child.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let raw = pid.as_raw_nonzero().get();
            // What it said last is still in its socket.
            self.setup_progress(raw);
            if let Some(process) = self.processes.remove(&raw) {
                self.ended(process, exit_code(status));
            }
        }
    }

    fn ended(&mut self, process: Process, code: i32) {
        match process.role {
            Role::Exec { .. } if process.failed => {}
            Role::Exec { exec, connection } => self.send(connection, &wire::Message::Event(Event::ExecExited { exec, code }), Vec::new()),
            Role::Main(key) => {
                let Some(mut container) = self.containers.remove(&key) else { return };
                // In a shared PID namespace others may live on; they end with their container, and with them the writers of its pipes.
                cgroup::kill(&container.cgroups);
                container.drain(&mut self.buffer);
                if process.failed {
                    return;
                }
                let out_of_memory = cgroup::out_of_memory_kills(&container.cgroups) > 0;
                let exit = Exit { code, at: now(), out_of_memory, error: None };
                write_record(&container.dir.exited(), &exit);
                self.broadcast(&wire::Message::Event(Event::Exited { container: container.id, exit }));
            }
        }
    }
}

/// A request to run a further process.
pub(super) struct ExecCall {
    pub(super) container: String,
    pub(super) exec: u64,
    pub(super) args: Vec<String>,
    pub(super) terminal: bool,
    pub(super) stdin: bool,
}

/// Both ends of a container's streams; none with a terminal.
struct Pipes {
    stdin: (Option<OwnedFd>, Option<OwnedFd>),
    stdout: (Option<OwnedFd>, Option<OwnedFd>),
    stderr: (Option<OwnedFd>, Option<OwnedFd>),
}

impl Pipes {
    fn new(spec: &ContainerSpec) -> std::io::Result<Self> {
        let pipe = |wanted: bool| -> std::io::Result<_> {
            Ok(if wanted { rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) })
        };
        Ok(Self {
            stdin: pipe(!spec.terminal && spec.stdin != Stdin::Closed)?,
            stdout: pipe(!spec.terminal)?,
            stderr: pipe(!spec.terminal)?,
        })
    }
}

/// The container's folder in the v2 tree, open.
fn unified(spec: &ContainerSpec) -> std::io::Result<Option<OwnedFd>> {
    let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    Ok(spec.unified.as_ref().map(open).transpose()?)
}

fn pidfd(pid: Pid) -> std::io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

fn read_spec(dir: &crate::paths::ContainerDir) -> Result<ContainerSpec, String> {
    let path = dir.spec();
    let text = fs::read(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("reading {}: {e}", path.display()))
}

/// Writes a small record whole. If the disk refuses, the daemon still learns the news by the event.
fn write_record<T: serde::Serialize>(path: &std::path::Path, record: &T) {
    let written = serde_json::to_vec(record).map_err(std::io::Error::other).and_then(|text| {
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, path)
    });
    if let Err(e) = written {
        eprintln!("writing {}: {e}", path.display());
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Process {
    /// Sends a signal to its whole process group; it leads one.
    pub(super) fn kill_group(&self) {
        let _ = rustix::process::kill_process_group(self.pid, rustix::process::Signal::KILL);
        let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
    }
}
