//! The `RuntimeDefault` profile: the calls that ordinary programs need, more with certain capabilities, all else refused with EPERM.
//! The set is the one that the common runtimes agree on, so that images behave here as elsewhere.

use super::syscalls::number;
use super::{Action, Condition, Profile, Rule, Test};
use crate::spec::capability;

const ALWAYS: &str = "accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_adjtime \
    clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 \
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat \
    faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr \
    flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat getcpu \
    getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom \
    getresgid getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid \
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents \
    io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown \
    lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier \
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap modify_ldt mprotect mq_getsetattr mq_notify \
    mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
    name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free \
    pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 ptrace \
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr \
    removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo \
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity \
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam \
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid setfsuid \
    setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list setsid setsockopt \
    set_thread_area set_tid_address setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 \
    socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink \
    unlinkat utime utimensat utimes vfork vmsplice wait4 waitid write writev";

/// Calls that a capability adds.
const WITH: &[(&str, &str)] = &[
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday clock_settime"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET` together.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// Personalities that change nothing dangerous: Linux, BSD, UNAME26 and combinations, and the question "which".
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Sockets to the hypervisor are no business of a container.
const AF_VSOCK: u64 = 40;

/// The profile for a container with this bounding set of capabilities.
pub(super) fn profile(capabilities: u64) -> Profile {
    let has = |name: &str| capability(name).is_some_and(|bit| capabilities & bit != 0);
    let mut rules = Vec::new();
    let mut allow = |names: &str, conditions: &[Condition]| {
        for number in names.split_whitespace().filter_map(number) {
            rules.push(Rule { number, conditions: conditions.to_vec(), action: Action::Allow });
        }
    };
    allow(ALWAYS, &[]);
    for (_, names) in WITH.iter().filter(|(capability, _)| has(capability)) {
        allow(names, &[]);
    }
    allow("socket", &[Condition { argument: 0, test: Test::NotEqual(AF_VSOCK) }]);
    for personality in PERSONALITIES {
        allow("personality", &[Condition { argument: 0, test: Test::Equal(personality) }]);
    }
    if !has("SYS_ADMIN") {
        allow("clone", &[Condition { argument: 0, test: Test::Masked { mask: NEW_NAMESPACES, value: 0 } }]);
        // The flags of clone3 are behind a pointer that a filter cannot follow; with ENOSYS the C library falls back to clone.
        let enosys = Action::Errno(u16::try_from(libc::ENOSYS).unwrap_or(38));
        rules.extend(number("clone3").map(|number| Rule { number, conditions: Vec::new(), action: enosys }));
    }
    Profile { default: Action::Errno(u16::try_from(libc::EPERM).unwrap_or(1)), rules }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_widen_it() {
        let allowed = |caps: u64, call: &str| {
            let number = number(call).unwrap();
            profile(caps).rules.iter().any(|r| r.number == number && r.action == Action::Allow && r.conditions.is_empty())
        };
        for call in ["mount", "unshare", "setns", "bpf", "keyctl", "add_key", "io_uring_setup", "userfaultfd", "reboot"] {
            assert!(!allowed(0, call), "{call}");
        }
        assert!(allowed(capability("SYS_ADMIN").unwrap(), "mount"));
        assert!(allowed(0, "execve") && allowed(0, "futex_waitv"));
        assert!(!allowed(u64::MAX, "keyctl"));
    }

    #[test]
    fn every_name_is_a_call_of_this_architecture() {
        #[cfg(target_arch = "x86_64")]
        for name in ALWAYS.split_whitespace().chain(WITH.iter().flat_map(|(_, names)| names.split_whitespace())) {
            assert!(number(name).is_some(), "{name}");
        }
    }
}
