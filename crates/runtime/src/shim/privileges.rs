//! Giving rights away, in the one order in which each step is still allowed.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::spec::ContainerSpec;
use crate::sys::{self, Instruction};
use crate::wire::ResolvedUser;

/// Becomes `user` with no more than the spec's rights, under the filter.
pub(super) fn drop_to(spec: &ContainerSpec, user: &ResolvedUser, filter: Option<&[Instruction]>) -> Result<(), String> {
    let own = rustix::thread::capabilities(None).map_err(|e| said("reading the own capabilities", e))?;
    if spec.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(|e| said("setting no_new_privs", e))?;
    }
    narrow_bounding_set(spec.capabilities.bounding)?;
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go; with it, the filter comes last and so need not allow
    // what the steps between do.
    if !spec.no_new_privs {
        apply(filter)?;
    }
    rustix::thread::set_keep_capabilities(true).map_err(|e| said("keeping capabilities over the change of user", e))?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&groups).map_err(|e| said("setting supplementary groups", e))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(|e| said("setting the group", e))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(|e| said("setting the user", e))?;
    let permitted = CapabilitySet::from_bits_retain(spec.capabilities.bounding) & own.permitted;
    let ambient = CapabilitySet::from_bits_retain(spec.capabilities.ambient) & permitted;
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: ambient };
    rustix::thread::set_capabilities(None, sets).map_err(|e| said("setting capabilities", e))?;
    let _ = rustix::thread::clear_ambient_capability_set();
    for one in ambient.iter() {
        rustix::thread::configure_capability_in_ambient_set(one, true).map_err(|e| said("setting ambient capabilities", e))?;
    }
    if spec.no_new_privs {
        apply(filter)?;
    }
    Ok(())
}

/// Takes away every capability that is not in `keep`, up to the last one that the kernel knows.
fn narrow_bounding_set(keep: u64) -> Result<(), String> {
    for number in 0..64u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) if keep & (1 << number) == 0 => {
                rustix::thread::remove_capability_from_bounding_set(one).map_err(|e| said("narrowing the bounding set", e))?;
            }
            Ok(_) => {}
            // The kernel knows no higher one.
            Err(_) => break,
        }
    }
    Ok(())
}

fn apply(filter: Option<&[Instruction]>) -> Result<(), String> {
    filter.map_or(Ok(()), |program| sys::seccomp(program).map_err(|e| format!("setting the seccomp filter: {e}")))
}

fn said(what: &str, errno: rustix::io::Errno) -> String {
    format!("{what}: {}", io::Error::from(errno))
}
