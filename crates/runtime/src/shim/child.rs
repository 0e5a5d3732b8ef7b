//! What a forked process does before it becomes the container's program. It never returns to the shim's loop.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use serde::{Deserialize, Serialize};

use super::{privileges, root, user};
use crate::cgroup;
use crate::paths::ContainerDir;
use crate::seccomp;
use crate::spec::ContainerSpec;
use crate::sys::{self, Instruction};
use crate::wire::{self, ResolvedUser};

/// Characters of an error that are told; a path in it may be as long as an image likes.
const MAX_REASON: usize = 2048;

/// What the process says to the shim meanwhile.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Setup {
    /// All is ready for the exec; with a terminal, its master comes along.
    Ready(ResolvedUser),
    Failed(String),
}

/// The process's ends of its streams.
#[derive(Default)]
pub(super) struct Stdio {
    pub(super) terminal: bool,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

impl Stdio {
    /// Sorts out the descriptors that came with an exec.
    pub(super) fn from_descriptors(fds: Vec<OwnedFd>, terminal: bool, stdin: bool) -> Result<Self, String> {
        if terminal {
            return Ok(Self { terminal, ..Self::default() });
        }
        let mut fds = fds.into_iter();
        let stdin = if stdin { fds.next() } else { None };
        let (stdout, stderr) = (fds.next(), fds.next());
        if stdout.is_none() || stderr.is_none() {
            return Err("the command's streams did not come along".to_owned());
        }
        Ok(Self { terminal, stdin, stdout, stderr })
    }
}

/// Sets up and becomes a container's first process.
pub(super) fn container(dir: &ContainerDir, spec: &ContainerSpec, stdio: Stdio, null: &OwnedFd, setup: OwnedFd) -> ! {
    let outcome = prepare_container(dir, spec).and_then(|filter| become_program(spec, filter, stdio, null, &setup));
    fail(&setup, outcome)
}

/// Sets up and becomes a further process of the container whose first process is behind the pidfd `target`.
pub(super) fn exec(dir: &ContainerDir, spec: &ContainerSpec, target: &OwnedFd, stdio: Stdio, null: &OwnedFd, setup: OwnedFd) -> ! {
    let outcome = prepare_exec(dir, spec, target).and_then(|filter| become_program(spec, filter, stdio, null, &setup));
    fail(&setup, outcome)
}

/// Reached only when the program could not be started.
fn fail(setup: &OwnedFd, outcome: Result<std::convert::Infallible, String>) -> ! {
    let Err(why) = outcome;
    let why = why.chars().take(MAX_REASON).collect();
    let _ = wire::send(setup, &Setup::Failed(why), &[]);
    sys::exit_now(127)
}

type Filter = Option<Vec<Instruction>>;

fn prepare_container(dir: &ContainerDir, spec: &ContainerSpec) -> Result<Filter, String> {
    sys::reset_signals();
    let _ = rustix::process::setsid();
    let filter = read_filter(dir, spec)?;
    enter_cgroups(spec)?;
    sys::unshare(libc::CLONE_NEWCGROUP).map_err(|e| format!("making a cgroup namespace: {e}"))?;
    adjust_oom_score(spec.oom_score_adj)?;
    root::build(dir, spec)?;
    Ok(filter)
}

fn prepare_exec(dir: &ContainerDir, spec: &ContainerSpec, target: &OwnedFd) -> Result<Filter, String> {
    sys::reset_signals();
    let _ = rustix::process::setsid();
    let filter = read_filter(dir, spec)?;
    enter_cgroups(spec)?;
    adjust_oom_score(spec.oom_score_adj)?;
    sys::join(target.as_fd(), libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP).map_err(|e| format!("entering the container: {e}"))?;
    Ok(filter)
}

fn read_filter(dir: &ContainerDir, spec: &ContainerSpec) -> Result<Filter, String> {
    if !spec.seccomp {
        return Ok(None);
    }
    let path = dir.seccomp();
    let bytes = fs::read(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    seccomp::from_bytes(&bytes).map(Some).ok_or_else(|| format!("{} is not whole", path.display()))
}

fn enter_cgroups(spec: &ContainerSpec) -> Result<(), String> {
    cgroup::enter(&spec.cgroups).map_err(|e| e.to_string())
}

/// Without CAP_SYS_RESOURCE the score can only be raised; then it stays where the node's own is, which is the nearest allowed.
fn adjust_oom_score(score: i32) -> Result<(), String> {
    let path = "/proc/self/oom_score_adj";
    match fs::write(path, score.to_string()) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("oom_score_adj {score} is lower than this host allows; left as it is");
            Ok(())
        }
        other => other.map_err(|e| format!("setting oom_score_adj to {score}: {e}")),
    }
}

/// The way that both kinds end: streams, user, rights, exec.
fn become_program(
    spec: &ContainerSpec,
    filter: Filter,
    stdio: Stdio,
    null: &OwnedFd,
    setup: &OwnedFd,
) -> Result<std::convert::Infallible, String> {
    let user = user::resolve(Path::new("/etc"), &spec.user)?;
    let master = connect_streams(stdio, null, &user)?;
    let env = environment(spec, &user)?;
    let args = strings(&spec.args)?;
    // From here on nothing of the host is open but the way to the shim, so a working directory below /proc/self/fd leads nowhere.
    let carried: Vec<BorrowedFd<'_>> = master.iter().map(|fd| fd.as_fd()).collect();
    let ready = wire::send(setup, &Setup::Ready(user.clone()), &carried);
    ready.map_err(|e| format!("speaking to the pod's shim: {e}"))?;
    drop(master);
    let setup = sys::keep_only(setup).map_err(|e| format!("closing descriptors: {e}"))?;
    let failed = |why: String| {
        fail(&setup, Err(why));
    };
    if let Err(why) = enter_directory(&spec.cwd) {
        failed(why);
    }
    // Looked up before rights are given away and again refused by the kernel after, as the exec itself decides.
    let program = match find_program(spec) {
        Ok(program) => program,
        Err(why) => fail(&setup, Err(why)),
    };
    rustix::process::umask(Mode::from_bits_truncate(0o022));
    if let Err(why) = privileges::drop_to(spec, &user, filter.as_deref()) {
        failed(why);
    }
    let error = sys::exec(&program, &args, &env);
    let first = spec.args.first().map(String::as_str).unwrap_or_default();
    fail(&setup, Err(format!("exec {first:?}: {}", plain_error(&error))))
}

/// The kernel's words as Go and the shell write them.
fn plain_error(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Joins the standard streams. With a terminal, makes one and answers its master.
fn connect_streams(stdio: Stdio, null: &OwnedFd, user: &ResolvedUser) -> Result<Option<OwnedFd>, String> {
    let fail = |e: rustix::io::Errno| format!("joining the standard streams: {}", io::Error::from(e));
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    if stdio.terminal {
        let (master, slave) = terminal().map_err(fail)?;
        let _ = rustix::fs::fchown(&slave, Some(uid), None);
        rustix::stdio::dup2_stdin(&slave).map_err(fail)?;
        rustix::stdio::dup2_stdout(&slave).map_err(fail)?;
        rustix::stdio::dup2_stderr(&slave).map_err(fail)?;
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).map_err(fail)?;
        root::bind_console(&slave);
        return Ok(Some(master));
    }
    // So that the program may open /dev/stdout and the like anew as its own user.
    for fd in [&stdio.stdin, &stdio.stdout, &stdio.stderr].into_iter().flatten() {
        let _ = rustix::fs::fchown(fd, Some(uid), Some(gid));
    }
    rustix::stdio::dup2_stdin(stdio.stdin.as_ref().unwrap_or(null)).map_err(fail)?;
    rustix::stdio::dup2_stdout(stdio.stdout.as_ref().unwrap_or(null)).map_err(fail)?;
    rustix::stdio::dup2_stderr(stdio.stderr.as_ref().unwrap_or(null)).map_err(fail)?;
    Ok(None)
}

/// A new terminal of the container's own /dev/pts: master and slave.
fn terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((master, slave))
}

fn enter_directory(cwd: &str) -> Result<(), String> {
    let fail = |e: io::Error| format!("entering the working directory {cwd:?}: {e}");
    // A missing one is made, as elsewhere; a read-only root then says so.
    if let Err(e) = fs::create_dir_all(cwd)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(fail(e));
    }
    rustix::process::chdir(cwd).map_err(|e| fail(e.into()))
}

fn environment(spec: &ContainerSpec, user: &ResolvedUser) -> Result<Vec<CString>, String> {
    let mut env = spec.env.clone();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    strings(&env)
}

fn strings(texts: &[String]) -> Result<Vec<CString>, String> {
    texts.iter().map(|text| CString::new(text.as_str()).map_err(|_| format!("{text:?} contains a null byte"))).collect()
}

/// The program's path: as it is with a slash in it, else from the container's `PATH`.
fn find_program(spec: &ContainerSpec) -> Result<CString, String> {
    let name = spec.args.first().map(String::as_str).unwrap_or_default();
    let path = if name.contains('/') {
        let found = fs::metadata(name).map_err(|e| format!("exec: {name:?}: stat {name}: {}", plain_error(&e)))?;
        if found.is_dir() {
            return Err(format!("exec: {name:?}: is a directory"));
        }
        name.to_owned()
    } else {
        let list = spec.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let candidates = list.split(':').map(|folder| format!("{}/{name}", if folder.is_empty() { "." } else { folder }));
        candidates.into_iter().find(|path| executable(path)).ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))?
    };
    CString::new(path).map_err(|_| format!("{name:?} contains a null byte"))
}

fn executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
