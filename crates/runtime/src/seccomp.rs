//! Seccomp: a profile is rules by system call; compiled, it is a classic BPF program for the kernel.

mod bpf;
mod default;
mod json;
mod syscalls;

use std::path::Path;

use cri::v1;

use crate::sys::Instruction;

/// What to do with a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    /// Fail it with this errno.
    Errno(u16),
    KillProcess,
    KillThread,
    Trap,
    Log,
    /// Hand it to a tracer.
    Trace(u16),
}

/// One argument must compare so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Argument number, 0 to 5.
    pub(crate) argument: u8,
    pub(crate) test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// `argument & mask == value`.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// If the call is `number` and all conditions hold, `action`. Rules of one call are tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) number: u32,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// A whole profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// For calls that no rule matches.
    pub(crate) default: Action,
    pub(crate) rules: Vec<Rule>,
}

/// The filter for a container with these capabilities, or `None` for unconfined. Localhost profiles are read from the absolute path that
/// the kubelet gives. Blocking: reads a file.
pub(crate) fn filter(profile: Option<&v1::SecurityProfile>, capabilities: u64, privileged: bool) -> cri::Result<Option<Vec<Instruction>>> {
    use v1::security_profile::ProfileType;
    let Some(profile) = profile.filter(|_| !privileged) else { return Ok(None) };
    let rules = match profile.profile_type() {
        ProfileType::Unconfined => return Ok(None),
        ProfileType::RuntimeDefault => default::profile(capabilities),
        ProfileType::Localhost => json::read(Path::new(&profile.localhost_ref), capabilities)?,
    };
    bpf::compile(&rules).map(Some).map_err(|why| cri::Error::InvalidArgument(format!("compiling the seccomp profile: {why}")))
}

/// The program as bytes, for a file between daemon and shim on one machine.
pub(crate) fn to_bytes(program: &[Instruction]) -> Vec<u8> {
    let encode = |i: &Instruction| [&i.code.to_ne_bytes()[..], &[i.jt, i.jf], &i.k.to_ne_bytes()].concat();
    program.iter().flat_map(encode).collect()
}

/// The reverse of [`to_bytes`]; `None` when it is not whole.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Vec<Instruction>> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let decode = |c: &[u8; 8]| {
        let [a, b, jt, jf, k @ ..] = *c;
        Instruction { code: u16::from_ne_bytes([a, b]), jt, jf, k: u32::from_ne_bytes(k) }
    };
    rest.is_empty().then(|| chunks.iter().map(decode).collect())
}
