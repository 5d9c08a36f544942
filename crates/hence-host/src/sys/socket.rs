//! Socket options and flags that need raw descriptors or that the safe wrappers lack.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
};

/// Sets O_NONBLOCK on a descriptor that is passed on. A closed number is left alone.
pub fn set_non_blocking(fd: RawFd) {
    // SAFETY: no memory is involved.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags >= 0 {
            libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
    }
}

/// Sets an integer socket option.
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and has the size that is given.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// SO_BINDTODEVICE: only what goes through this interface.
///
/// # Errors
/// What setsockopt(2) says.
pub fn bind_to_device(fd: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(device)?;
    let name = name.as_bytes_with_nul();
    // SAFETY: the name lives through the call and has the size that is given.
    let result = unsafe {
        let (at, size) = (name.as_ptr().cast(), name.len() as libc::socklen_t);
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, at, size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// SO_RCVBUFFORCE.
pub const RECEIVE_BUFFER: (i32, i32) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);

/// SO_PASSSEC.
pub const PASS_SECURITY: (i32, i32) = (libc::SOL_SOCKET, libc::SO_PASSSEC);

/// The process and user at the other end of a unix socket; 0 for a process that isn't visible here.
pub fn peer(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `who`.
    let result = unsafe {
        let to = (&raw mut who).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &mut size)
    };
    (result == 0).then_some((who.pid as u32, who.uid))
}

/// Sets the capacity of a pipe.
pub fn pipe_size(fd: BorrowedFd<'_>, bytes: u64) {
    // SAFETY: no memory is involved.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes.min(i32::MAX as u64) as i32) };
}
