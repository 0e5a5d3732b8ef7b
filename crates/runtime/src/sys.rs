//! The system calls that have no safe wrapper elsewhere. All `unsafe` of this crate is here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::Pid;

/// Which side of [`fork`] one is on.
pub(crate) enum Fork {
    /// In the new process.
    Child,
    /// In the old one.
    Parent(Pid),
}

/// New namespaces for a forked process, as clone(2) flags.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NewNamespaces(u64);

impl NewNamespaces {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const MOUNT: Self = Self(0x0002_0000);
    pub(crate) const PID: Self = Self(0x2000_0000);

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Forks, the child in `new` namespaces and, if given, in the v2 cgroup whose folder is open as `cgroup`. Being born there spares the grace
/// period that the kernel waits for when it moves a process. Only for a single-threaded process: the shim checks that it is one before its
/// first call.
pub(crate) fn fork(new: NewNamespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Fork> {
    /// `struct clone_args` of clone3(2), up to and with `cgroup`.
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut arguments = Arguments { flags: new.0, exit_signal: libc::SIGCHLD.unsigned_abs().into(), ..Default::default() };
    if let Some(folder) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = folder.as_raw_fd().unsigned_abs().into();
    }
    // SAFETY: a clone without CLONE_VM and without a stack is a fork: the child goes on in its own copy of this memory.
    // The process has one thread (see above), so no lock of the allocator can be held by anyone else. The struct outlives the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => i32::try_from(pid).ok().and_then(Pid::from_raw).map(Fork::Parent).ok_or_else(|| io::Error::other("clone answered no pid")),
    }
}

/// Replaces this process by `program`. Returns only on failure.
pub(crate) fn exec(program: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let argv: Vec<*const libc::c_char> = args.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    let envp: Vec<*const libc::c_char> = env.iter().map(|e| e.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: both arrays end in null and point to strings that live until the call, which does not return on success.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once, running nothing of the parent's copied state.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor but the standard streams and `keep`, which becomes number 3 and closes on exec. The caller, a forked child, must
/// then use no other descriptor and never return to code that owns one.
pub(crate) fn keep_only(keep: &OwnedFd) -> io::Result<OwnedFd> {
    let from = keep.as_raw_fd();
    // SAFETY: see above; number 3 is owned by the answer alone, since whoever owned it before never runs again.
    unsafe {
        if from == 3 {
            if libc::fcntl(3, libc::F_SETFD, libc::FD_CLOEXEC) != 0 {
                return Err(io::Error::last_os_error());
            }
        } else if libc::dup3(from, 3, libc::O_CLOEXEC) != 3 {
            return Err(io::Error::last_os_error());
        }
        if libc::syscall(libc::SYS_close_range, 4u32, u32::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(3))
    }
}

/// Closes every descriptor, for a child that will never use any of the parent's. The caller must then never return.
pub(crate) fn close_all() {
    // SAFETY: only called in a forked child that goes on without touching any descriptor or returning to code that owns one.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0) };
}

/// Blocks `SIGCHLD` and opens a descriptor that becomes readable when it arrives.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; signalfd answers a fresh descriptor that nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Gives every signal its default effect and unblocks all, as a fresh process expects.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is valid for every signal; errors for KILL, STOP and the C library's own signals are harmless.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Lets these signals pass unnoticed, for the shim, which must not die by a terminal's or a broken pipe's signal.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE, libc::SIGQUIT] {
        // SAFETY: SIG_IGN is valid for these signals.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// One instruction of a classic BPF program, as seccomp(2) takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Puts this process under a seccomp filter, for good.
pub(crate) fn seccomp(program: &[Instruction]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const Instruction,
    }
    let len = u16::try_from(program.len()).map_err(|_| io::Error::other("the seccomp filter is too long"))?;
    let arg = Program { len, filter: program.as_ptr() };
    // SAFETY: `arg` has the layout of struct sock_fprog and outlives the call; the kernel copies and checks the program.
    let r = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const arg) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How far [`set_mount`] reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This mount only.
    One,
    /// And all mounts below it.
    Below,
}

/// Attributes for [`set_mount`]: bits of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountChange {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// One of `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 to leave it.
    pub(crate) propagation: u64,
}

/// Changes an open mount's attributes (mount_setattr(2), Linux 5.12).
pub(crate) fn set_mount(mount: BorrowedFd<'_>, change: MountChange, reach: Reach) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let attributes = Attributes { set: change.set, clear: 0, propagation: change.propagation, userns: 0 };
    let flags = libc::AT_EMPTY_PATH | if reach == Reach::Below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the struct has the kernel's layout and size and outlives the call.
    let r = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size_of::<Attributes>())
    };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the current namespaces of these kinds (`CLONE_NEW*`) for fresh ones.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: only namespace flags are passed; none of them shares or unshares memory or descriptors.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Joins the namespaces of the given kinds (`CLONE_NEW*`) that `fd`, a pidfd or namespace file, stands for.
pub(crate) fn join(fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: setns takes a descriptor and flags and touches no memory.
    if unsafe { libc::setns(fd.as_raw_fd(), flags) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a signal number on a process; numbers above 31 (real-time) included.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill touches no memory; the callers never pass 0 or -1.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Watches a descriptor with tokio.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays the same open descriptor for as long as the `AsyncFd` owns it.
    unsafe { tokio::io::unix::AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Unmaps the pages of this program's file that are mapped but clean, and returns free heap. They come back from the page cache when they
/// are needed; a hundred resting shims then cost what they write, not what they once read.
pub(crate) fn give_back_memory() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights, offset) =
            (fields.next().unwrap_or_default(), fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        // Code, and constants at the file's beginning. Other read-only parts hold relocated pointers, which exist only in memory.
        let clean = rights == "r-xp" || (rights == "r--p" && offset.bytes().all(|b| b == b'0'));
        if !clean || !line.ends_with(&*program.to_string_lossy()) || program.as_os_str().is_empty() {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        if let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)) {
            // SAFETY: the range is a private file mapping that was never written to, so its content is the file's before and after.
            unsafe { libc::madvise(from as *mut libc::c_void, to.saturating_sub(from), libc::MADV_DONTNEED) };
        }
    }
    // SAFETY: malloc_trim may be called at any time; this process has one thread.
    unsafe { libc::malloc_trim(0) };
}
