//! Which processors a process may use, and which capabilities it keeps. What it is to have is the plan's;
//! only the executor calls this, on its way to the program.

use rustix::thread::{self, CapabilitySet, CpuSet};
use std::io;

fn each(set: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..63).map(|n| 1 << n).filter(move |bit| set & bit != 0).map(CapabilitySet::from_bits_retain)
}

/// Whether this process may make namespaces and mounts.
pub(crate) fn may_administer() -> bool {
    let own = thread::capabilities(None);
    own.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Lets this process run on these processors only.
pub(crate) fn bind_to(processors: &[u16]) -> io::Result<()> {
    let mut set = CpuSet::new();
    let known = processors.iter().map(|&n| usize::from(n)).filter(|&n| n < CpuSet::MAX_CPU);
    known.for_each(|n| set.set(n));
    Ok(thread::sched_setaffinity(None, &set)?)
}

/// Takes what isn't in the set from what can ever be had. With `keep`, capabilities outlast the change
/// of the user.
pub(crate) fn bound(bounding: u64, keep: bool) -> io::Result<()> {
    // Above the last one that the kernel knows, asking fails.
    for capability in each(!bounding) {
        if matches!(thread::capability_is_in_bounding_set(capability), Ok(true)) {
            thread::remove_capability_from_bounding_set(capability)?;
        }
    }
    if keep {
        thread::set_keep_capabilities(true)?;
    }
    Ok(())
}

/// After the user was changed: what is left, and what the program is given though its user isn't root.
pub(crate) fn settle(bounding: u64, ambient: u64, ordinary: bool) -> io::Result<()> {
    let mut sets = thread::capabilities(None)?;
    let wanted = CapabilitySet::from_bits_retain(ambient);
    sets.inheritable = (sets.inheritable & CapabilitySet::from_bits_retain(bounding)) | wanted;
    if ordinary {
        sets.permitted &= wanted;
    }
    sets.effective &= sets.permitted;
    thread::set_capabilities(None, sets)?;
    for capability in each(ambient) {
        thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Sets the secure bits, with the right to that for as long as it takes.
pub(crate) fn set_secure_bits(bits: u8) -> io::Result<()> {
    let mut sets = thread::capabilities(None)?;
    sets.effective |= CapabilitySet::SETPCAP & sets.permitted;
    // Without the right the next call says so.
    let _ = thread::set_capabilities(None, sets);
    crate::sys::attributes::set_secure_bits(bits)
}

/// Whether this process may install filters of system calls as it is.
pub(crate) fn may_filter() -> bool {
    thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}
