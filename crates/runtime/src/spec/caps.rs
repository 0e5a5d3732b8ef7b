//! Capability names, and the sets that a container starts with.

use cri::v1;

use super::Capabilities;

/// In the kernel's order, from number 0.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// What the usual runtimes grant when nothing is asked.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// All capabilities known here.
pub(crate) const ALL: u64 = (1 << NAMES.len()) - 1;

/// The bit of one capability; the `CAP_` prefix and the case do not matter.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// The sets of a container. `ALL` in the add or drop list stands for every capability; adding wins over `drop: ALL`,
/// dropping wins over `add: ALL`.
pub(crate) fn sets(privileged: bool, asked: Option<&v1::Capability>) -> cri::Result<Capabilities> {
    if privileged {
        return Ok(Capabilities { bounding: ALL, ambient: 0 });
    }
    let default = DEFAULT.iter().filter_map(|name| bit(name)).fold(0, |set, bit| set | bit);
    let Some(asked) = asked else { return Ok(Capabilities { bounding: default, ambient: 0 }) };
    let add = mask(&asked.add_capabilities)?;
    let drop = mask(&asked.drop_capabilities)?;
    let ambient = mask(&asked.add_ambient_capabilities)?;
    let mut set = default;
    if add.all {
        set = ALL;
    }
    if drop.all {
        set = 0;
    }
    set = (set | add.named | ambient.named) & !drop.named;
    Ok(Capabilities { bounding: set, ambient: ambient.named & set })
}

struct Mask {
    all: bool,
    named: u64,
}

fn mask(names: &[String]) -> cri::Result<Mask> {
    let mut mask = Mask { all: false, named: 0 };
    for name in names {
        if name.eq_ignore_ascii_case("ALL") {
            mask.all = true;
        } else {
            mask.named |= bit(name).ok_or_else(|| cri::Error::InvalidArgument(format!("unknown capability {name:?}")))?;
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(add: &[&str], drop: &[&str]) -> u64 {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let asked = v1::Capability { add_capabilities: own(add), drop_capabilities: own(drop), add_ambient_capabilities: vec![] };
        sets(false, Some(&asked)).unwrap().bounding
    }

    #[test]
    fn lists_are_applied_to_the_default() {
        let default = sets(false, None).unwrap().bounding;
        assert_eq!(default, 0xa804_25fb);
        assert_eq!(asked(&["NET_ADMIN"], &["CAP_CHOWN"]), (default | 1 << 12) & !1);
        assert_eq!(asked(&["NET_BIND_SERVICE"], &["ALL"]), 1 << 10);
        assert_eq!(asked(&["ALL"], &["sys_admin"]), ALL & !(1 << 21));
        assert_eq!(sets(true, None).unwrap().bounding, ALL);
        assert!(sets(false, Some(&v1::Capability { add_capabilities: vec!["NOPE".into()], ..Default::default() })).is_err());
    }
}
