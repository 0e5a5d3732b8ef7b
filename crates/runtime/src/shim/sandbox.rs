//! The shim's own beginning: away from the daemon, into the pod's namespaces.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::MountFlags;
use rustix::process::{DumpableBehavior, Pid};

use crate::paths::SandboxDir;
use crate::spec::{Isolation, SandboxSpec};
use crate::sys::{self, Fork, NewNamespaces};

/// Leaves the daemon's session, becomes the parent of all orphans below, and takes the daemon's socket from standard input.
pub(super) fn detach() -> io::Result<OwnedFd> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the process has more than one thread"));
    }
    // Else a process in a container could reach this program's file by /proc/PID/exe while it enters that container.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    sys::ignore_signals();
    let _ = rustix::thread::set_name(c"pod-shim");
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::chdir("/")?;
    let daemon = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(daemon)
}

/// Makes the sandbox's namespaces and their settings. Answers the process that holds a shared PID namespace, if asked for one.
pub(super) fn set_up(dir: &SandboxDir) -> Result<Option<Pid>, String> {
    let path = dir.shim_spec();
    let text = fs::read(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    let spec: SandboxSpec = serde_json::from_slice(&text).map_err(|e| format!("reading {}: {e}", path.display()))?;
    let mut flags = 0;
    if spec.network.is_some() {
        // A host name of its own goes with a network of its own.
        flags |= libc::CLONE_NEWNET | libc::CLONE_NEWUTS;
    }
    if spec.ipc == Isolation::Own {
        flags |= libc::CLONE_NEWIPC;
    }
    sys::unshare(flags).map_err(|e| format!("making the sandbox's namespaces: {e}"))?;
    if let Some(pin) = &spec.network {
        pin_network(pin).map_err(|e| format!("pinning the network namespace at {}: {e}", pin.display()))?;
        rustix::system::sethostname(spec.hostname.as_bytes()).map_err(|e| format!("setting the host name {:?}: {e}", spec.hostname))?;
    }
    for (name, value) in &spec.sysctls {
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&file, value).map_err(|e| format!("setting the sysctl {name} to {value:?}: {e}"))?;
    }
    if spec.shared_pid { pause().map(Some).map_err(|e| format!("making the shared PID namespace: {e}")) } else { Ok(None) }
}

/// Binds this process's network namespace to a file, by which others can enter it.
fn pin_network(pin: &Path) -> io::Result<()> {
    fs::File::create(pin)?;
    Ok(rustix::mount::mount("/proc/self/ns/net", pin, c"", MountFlags::BIND, None::<&std::ffi::CStr>)?)
}

/// The first process of a shared PID namespace: it only reaps.
fn pause() -> io::Result<Pid> {
    match sys::fork(NewNamespaces::PID, None)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            let _ = rustix::thread::set_name(c"pause");
            sys::close_all();
            loop {
                // With no child there is nothing to wait for, and a sleep is ended by the next SIGCHLD at the latest.
                if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        }
    }
}

/// Forks a child into the PID namespace of the process behind a pidfd; this process itself stays where it is.
pub(super) fn fork_into_pid_namespace(target: &OwnedFd, new: NewNamespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    let own = fs::File::open("/proc/self/ns/pid")?;
    sys::join(target.as_fd(), libc::CLONE_NEWPID)?;
    let forked = sys::fork(new, cgroup);
    if !matches!(forked, Ok(Fork::Child))
        && let Err(e) = sys::join(own.as_fd(), libc::CLONE_NEWPID)
    {
        // Every later container would land in the wrong namespace. The pod's containers go on as orphans and are ended by the daemon.
        eprintln!("cannot return to the own PID namespace: {e}");
        sys::exit_now(1);
    }
    forked
}
