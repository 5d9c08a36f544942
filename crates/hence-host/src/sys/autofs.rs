//! The kernel's autofs, version 5 of its protocol, for direct mount points: what it says by its pipe, and
//! what is asked of it by /dev/autofs. The kernel's Documentation/filesystems/autofs.rst.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Length of a packet, `struct autofs_v5_packet`.
pub const PACKET_BYTES: usize = if size_of::<usize>() == 8 { 304 } else { 300 };

/// What the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A process waits for something to be mounted.
    Missing {
        /// Names the wait in the answer.
        token: u32,
        /// Its pid, as this process sees it.
        pid: u32,
        /// Its user.
        uid: u32,
    },
    /// What is mounted is to be unmounted, for nobody uses it.
    Expire {
        /// Names the wait in the answer.
        token: u32,
    },
}

impl Packet {
    /// Reads a packet; `None` for one that isn't about a direct mount point.
    pub fn of(bytes: &[u8]) -> Option<Packet> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (kind, token) = (word(4)?, word(8)?);
        match kind {
            5 => Some(Packet::Missing { token, pid: word(36)?, uid: word(24)? }),
            6 => Some(Packet::Expire { token }),
            _ => None,
        }
    }
}

/// `struct autofs_dev_ioctl`, without the path that may follow.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    major: u32,
    minor: u32,
    size: u32,
    fd: i32,
    arguments: [u32; 2],
}

/// _IOWR(0x93, number, struct autofs_dev_ioctl)
const fn request(number: u64) -> u64 {
    (3 << 30) | ((size_of::<Call>() as u64) << 16) | (0x93 << 8) | number
}

const OPENMOUNT: u64 = request(0x74);
const READY: u64 = request(0x76);
const FAIL: u64 = request(0x77);
const TIMEOUT: u64 = request(0x7a);
const EXPIRE: u64 = request(0x7c);

fn call(device: BorrowedFd<'_>, number: u64, fd: i32, arguments: [u32; 2]) -> io::Result<()> {
    let mut call = Call { major: 1, minor: 0, size: size_of::<Call>() as u32, fd, arguments };
    // SAFETY: the kernel reads and writes `size` bytes of a local that lives through the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), number as _, &raw mut call) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens the root of an autofs that is mounted at this path, for the calls below. `device` is its number.
///
/// # Errors
/// errno: no such autofs is there.
pub fn open_mount(autofs: BorrowedFd<'_>, path: &str, device: u32) -> io::Result<OwnedFd> {
    let path = CString::new(path)?;
    let path = path.as_bytes_with_nul();
    let size = size_of::<Call>() + path.len();
    let head = Call { major: 1, minor: 0, size: size as u32, fd: -1, arguments: [device, 0] };
    // As words, so that it is aligned.
    let mut bytes = vec![0u64; size.div_ceil(8)];
    // SAFETY: the buffer is aligned for `Call` and has room for it and the path; the kernel reads and writes
    // `size` bytes of it; the number that it leaves is a descriptor that nobody else owns.
    unsafe {
        let at = bytes.as_mut_ptr().cast::<Call>();
        at.write(head);
        at.add(1).cast::<u8>().copy_from_nonoverlapping(path.as_ptr(), path.len());
        if libc::ioctl(autofs.as_raw_fd(), OPENMOUNT as _, at) < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = (*at).fd;
        if fd < 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Lets those go on who wait under a token: it is done (0), or this errno.
///
/// # Errors
/// errno: nobody waits any more.
pub fn answer(autofs: BorrowedFd<'_>, root: BorrowedFd<'_>, token: u32, errno: i32) -> io::Result<()> {
    match errno {
        0 => call(autofs, READY, root.as_raw_fd(), [token, 0]),
        errno => call(autofs, FAIL, root.as_raw_fd(), [token, errno.wrapping_neg() as u32]),
    }
}

/// After how long without use something may be unmounted, in seconds; 0: never.
///
/// # Errors
/// errno.
pub fn set_timeout(autofs: BorrowedFd<'_>, root: BorrowedFd<'_>, seconds: u64) -> io::Result<()> {
    let bytes = seconds.to_ne_bytes();
    let half = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    call(autofs, TIMEOUT, root.as_raw_fd(), [half(0), half(4)])
}

/// Has the kernel look for what nobody uses, and waits until that is unmounted. False: there is nothing.
pub fn expire(autofs: BorrowedFd<'_>, root: BorrowedFd<'_>) -> bool {
    call(autofs, EXPIRE, root.as_raw_fd(), [0, 0]).is_ok()
}

/// Makes sure that our process group is one of our own pid namespace: the kernel names who comes by as that
/// namespace of the group does, and lets the group through. It is left alone where a terminal may signal it.
/// Whether pids of packets mean anything here.
pub fn settle_group() -> bool {
    // SAFETY: no memory is involved.
    let visible = || unsafe { libc::getpgrp() } != 0;
    let tty = || rustix::fs::open("/dev/tty", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).is_ok();
    if !visible() && !tty() {
        // SAFETY: as above.
        unsafe { libc::setpgid(0, 0) };
    }
    visible()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let mut bytes = vec![0u8; PACKET_BYTES];
        for (at, word) in [(0, 5u32), (4, 5), (8, 7), (24, 1000), (32, 41), (36, 42)] {
            bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        assert_eq!(Packet::of(&bytes), Some(Packet::Missing { token: 7, pid: 42, uid: 1000 }));
        bytes[4] = 6;
        assert_eq!(Packet::of(&bytes), Some(Packet::Expire { token: 7 }));
        bytes[4] = 3;
        assert_eq!(Packet::of(&bytes), None);
        assert_eq!(Packet::of(&bytes[..20]), None);
        assert_eq!(Packet::of(&[]), None);
    }
}
