//! The few kernel and C library calls that the ledger's storage needs beyond `std`.
//!
//! Policy is `store`'s: nothing here retries, waits or decides.
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pair of connected sockets that keep message boundaries, not inherited, not blocking.
///
/// # Errors
/// As socketpair(2).
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends one message, with a file descriptor where there is one. Never waits, never raises SIGPIPE.
///
/// # Errors
/// As sendmsg(2); `WouldBlock` where the other side is behind.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = passed.into_iter().collect();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, flags) {
        Ok(_) => Ok(()),
        // Too many descriptors on their way: it passes when the other side reads.
        Err(Errno::TOOMANYREFS | Errno::NOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Receives one message and the file descriptor that came with it. 0 bytes: the other side is gone.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` where nothing is there.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags)?;
    let mut passed = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            passed = fds.last();
        }
    }
    Ok((got.bytes, passed))
}

/// Takes the lock of an open file for this process alone. `Ok(false)`: another one holds it.
///
/// # Errors
/// As flock(2).
pub fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reserves the file's room on its device. `Ok(false)`: this file system cannot.
///
/// # Errors
/// As fallocate(2).
pub fn reserve(file: impl AsFd, bytes: u64) -> io::Result<bool> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes reads return at once where there is nothing to read.
///
/// # Errors
/// As fcntl(2).
pub fn set_nonblocking(file: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&file)?;
    Ok(rustix::fs::fcntl_setfl(&file, flags | OFlags::NONBLOCK)?)
}

/// Whether a folder lies in memory (tmpfs or ramfs).
pub fn in_memory(folder: &std::path::Path) -> bool {
    // The type's width differs between machines; the numbers are of 32 bits.
    rustix::fs::statfs(folder).is_ok_and(|s| matches!(s.f_type as u32, 0x0102_1994 | 0x8584_58f6))
}

/// Has the calling process ignore the signals that end a whole group of processes in order. The recorder
/// ends when the process that feeds it does, so that nothing is cut off.
pub fn ignore_termination() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: SIG_IGN installs no code of ours and signal(2) touches no memory of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
