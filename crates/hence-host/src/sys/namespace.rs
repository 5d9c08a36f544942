//! Mount namespaces: what rustix has no safe call for.

use rustix::fs::CWD;
use std::{ffi::CString, io, mem::size_of, os::fd::AsRawFd};

/// As the kernel has it; mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// From here on this process has mounts of its own. It must have one thread only.
///
/// # Errors
/// What the kernel says.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: no memory is involved.
    match unsafe { libc::unshare(libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same for who may not do that: in a user namespace of its own, in which everybody is who they were.
///
/// # Errors
/// What the kernel says.
pub fn unshare_users_and_mounts() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes the one mount at this path read-only, and nothing below it.
///
/// # Errors
/// What the kernel says.
pub fn make_read_only(path: &str) -> io::Result<()> {
    const READ_ONLY: u64 = 1;
    let path = CString::new(path)?;
    let attributes = Attributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: path and attributes outlive the call, which is told their size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            CWD.as_raw_fd(),
            path.as_ptr(),
            0,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
