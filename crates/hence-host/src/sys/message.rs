//! Receiving a datagram with the sender's credentials. Descriptors that come with it are closed.
//!
//! Not done with a safe wrapper: a sender in another pid namespace has pid 0, which those can't represent.

use std::{
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A datagram's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Process, as seen from our pid namespace; 0 where it isn't visible there.
    pub pid: u32,
    /// User.
    pub uid: u32,
}

/// What came of a receive.
pub enum Received {
    /// Nothing is waiting.
    Nothing,
    /// A datagram that is too long or says nothing about its sender.
    Unusable,
    /// Its length in the buffer, and its sender.
    Datagram(usize, Sender),
}

/// Receives one datagram into `buffer`.
pub fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Received {
    #[repr(C, align(8))]
    struct Control([u8; 4096]);
    let mut control = MaybeUninit::<Control>::uninit();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
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
            return match *libc::__errno_location() {
                libc::EAGAIN => Received::Nothing,
                _ => Received::Unusable,
            };
        }
        let mut sender = None;
        let mut at = libc::CMSG_FIRSTHDR(&header);
        while !at.is_null() {
            let data = libc::CMSG_DATA(at);
            let size = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if size >= size_of::<libc::ucred>() => {
                    let who = data.cast::<libc::ucred>().read_unaligned();
                    sender = Some(Sender { pid: who.pid as u32, uid: who.uid });
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for i in 0..size / size_of::<i32>() {
                        drop(OwnedFd::from_raw_fd(data.cast::<i32>().add(i).read_unaligned()));
                    }
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(&header, at);
        }
        match sender {
            Some(sender) if header.msg_flags & libc::MSG_TRUNC == 0 => {
                Received::Datagram(length as usize, sender)
            }
            _ => Received::Unusable,
        }
    }
}
