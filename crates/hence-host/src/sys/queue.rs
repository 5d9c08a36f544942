//! POSIX message queues; mq_overview(7).

use rustix::fs::fstat;
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// `struct mq_attr` as the kernel has it.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: i64,
    most_messages: i64,
    message_size: i64,
    messages: i64,
    reserved: [i64; 4],
}

/// The kernel's name of a queue has no slash.
fn kernel_name(name: &str) -> io::Result<CString> {
    Ok(CString::new(name.strip_prefix('/').unwrap_or(name))?)
}

/// Opens a queue for reading, made where it isn't there: with these limits, or the kernel's.
///
/// # Errors
/// errno; EEXIST where it is another user's or has another mode.
pub fn open(name: &str, mode: u32, limits: Option<(i64, i64)>) -> io::Result<OwnedFd> {
    let name = kernel_name(name)?;
    let limits = limits.map(|(most_messages, message_size)| Attributes {
        most_messages,
        message_size,
        ..Attributes::default()
    });
    let attributes = limits.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_CREAT;
    // SAFETY: the name ends with a zero byte, the attributes are null or a local that lives through the call.
    let fd = unsafe { libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags, mode & 0o777, attributes) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor, and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let found = fstat(&fd)?;
    let own = rustix::process::geteuid().as_raw();
    // The mask takes bits away, and never adds any.
    if found.st_uid != own || found.st_mode & 0o777 & !(mode & 0o777) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    rustix::io::ioctl_fionbio(&fd, false).or_else(|_| {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags - rustix::fs::OFlags::NONBLOCK)
    })?;
    Ok(fd)
}

/// Removes a queue, if this descriptor is one.
pub fn remove(fd: BorrowedFd<'_>, name: &str) {
    let mut attributes = Attributes::default();
    let Ok(name) = kernel_name(name) else { return };
    let none = std::ptr::null::<Attributes>();
    // SAFETY: the kernel writes the attributes into a local, and only of a queue; the name ends with a zero
    // byte.
    unsafe {
        if libc::syscall(libc::SYS_mq_getsetattr, fd.as_raw_fd(), none, &raw mut attributes) == 0 {
            libc::syscall(libc::SYS_mq_unlink, name.as_ptr());
        }
    }
}
