//! Receiving messages: a datagram with who sent it, when, and what descriptors came along.
//!
//! Not done with a safe wrapper: a sender in another pid namespace has pid 0, which those can't represent.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A received datagram.
#[derive(Debug, Default)]
pub struct Datagram {
    /// Its length in the buffer.
    pub length: usize,
    /// It was longer than the buffer.
    pub cut: bool,
    /// Process (0: not visible here), user and group of the sender.
    pub sender: Option<(u32, u32, u32)>,
    /// When it was sent, on CLOCK_REALTIME in microseconds; 0: nobody said.
    pub sent_us: u64,
    /// Descriptors that came with it.
    pub passed: Vec<OwnedFd>,
}

/// Options that a socket needs for [`receive`]: SO_PASSCRED and SO_TIMESTAMP.
pub const OPTIONS: [(i32, i32); 2] =
    [(libc::SOL_SOCKET, libc::SO_PASSCRED), (libc::SOL_SOCKET, libc::SO_TIMESTAMP)];

/// Receives one datagram into `buffer`, without waiting.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` where nothing is there.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    #[repr(C, align(8))]
    struct Control([u8; 4096]);
    let mut control = MaybeUninit::<Control>::uninit();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut datagram = Datagram::default();
    // SAFETY: every pointer names a local or the caller's buffer with its true length; control messages are
    // read unaligned and inside what the kernel says it has written.
    unsafe {
        let mut header = MaybeUninit::<libc::msghdr>::zeroed().assume_init();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let length = libc::recvmsg(fd.as_raw_fd(), &mut header, flags);
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        datagram.length = length as usize;
        datagram.cut = header.msg_flags & libc::MSG_TRUNC != 0;
        let mut at = libc::CMSG_FIRSTHDR(&header);
        while !at.is_null() {
            let data = libc::CMSG_DATA(at);
            let size = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                    let who = data.cast::<libc::ucred>().read_unaligned();
                    datagram.sender = Some((who.pid as u32, who.uid, who.gid));
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMP) if size >= size_of::<libc::timeval>() => {
                    let when = data.cast::<libc::timeval>().read_unaligned();
                    let seconds = u64::try_from(when.tv_sec).unwrap_or(0);
                    datagram.sent_us = seconds * 1_000_000 + u64::try_from(when.tv_usec).unwrap_or(0);
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for i in 0..size / size_of::<i32>() {
                        let fd = OwnedFd::from_raw_fd(data.cast::<i32>().add(i).read_unaligned());
                        datagram.passed.push(fd);
                    }
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(&header, at);
        }
    }
    Ok(datagram)
}

/// Process, user and group at the other end of a unix socket; 0 for a process that isn't visible here.
pub fn peer(fd: BorrowedFd<'_>) -> Option<(u32, u32, u32)> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes into `who`.
    let result = unsafe {
        let to = (&raw mut who).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, to, &mut size)
    };
    (result == 0).then_some((who.pid as u32, who.uid, who.gid))
}
