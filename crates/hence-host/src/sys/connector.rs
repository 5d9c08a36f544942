//! The kernel's process connector: netlink messages about processes that execute programs and end.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// CN_IDX_PROC and CN_VAL_PROC of linux/cn_proc.h.
const PROC: u32 = 1;
/// PROC_CN_MCAST_LISTEN
const LISTEN: u32 = 1;
/// PROC_EVENT_EXEC
const EXEC: u32 = 2;
/// PROC_EVENT_EXIT
const EXIT: u32 = 0x8000_0000;
/// Bytes of a netlink header and of a connector's.
const HEADERS: usize = 16 + 20;
/// Bytes that the kernel may keep for us.
const BUFFER: i32 = 4 << 20;

/// What a process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// It executed a program.
    Execute {
        /// Which process.
        pid: u32,
    },
    /// It ended.
    End {
        /// Which process.
        pid: u32,
        /// As wait(2) has it.
        status: i32,
    },
}

/// Opens the connector and asks for executions and ends.
///
/// # Errors
/// The kernel has none, we may not, or this network namespace is not the first.
pub fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved; the descriptor is ours alone.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: the struct is plain numbers, all of which may be 0.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = PROC;
    let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: `address` lives through the call and has the size that is given.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let _ = super::socket::set_option(
        std::os::fd::AsFd::as_fd(&socket),
        libc::SOL_SOCKET,
        libc::SO_RCVBUFFORCE,
        BUFFER,
    );
    // Linux 6.6 and newer tells only what is asked for; older ones take the first word and tell all.
    let ask = |body: &[u32]| -> io::Result<()> {
        let data = 4 * body.len();
        let length = HEADERS + data;
        let mut message = Vec::with_capacity(length);
        message.extend((length as u32).to_ne_bytes());
        message.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        message.extend(0u16.to_ne_bytes());
        [0u32, std::process::id(), PROC, PROC, 0, 0].iter().for_each(|n| message.extend(n.to_ne_bytes()));
        message.extend((data as u16).to_ne_bytes());
        message.extend(0u16.to_ne_bytes());
        body.iter().for_each(|n| message.extend(n.to_ne_bytes()));
        // SAFETY: the bytes live through the call.
        let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    ask(&[LISTEN, EXEC | EXIT]).or_else(|_| ask(&[LISTEN]))?;
    Ok(socket)
}

/// Takes what there is. `Ok(true)`: there may be more.
///
/// # Errors
/// ENOBUFS where the kernel had to drop some.
pub fn receive(socket: BorrowedFd<'_>, found: &mut Vec<Did>) -> io::Result<bool> {
    let mut buffer = [0u8; 8192];
    for _ in 0..256 {
        // SAFETY: the kernel writes at most as many bytes as the buffer has.
        let read = unsafe {
            libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        };
        if read < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(error),
            };
        }
        parse(&buffer[..read as usize], found);
    }
    Ok(true)
}

/// Messages of one datagram: headers, then `struct proc_event`.
fn parse(mut bytes: &[u8], found: &mut Vec<Did>) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
    };
    while let Some(length) = word(bytes, 0).map(|n| n as usize).filter(|n| *n >= HEADERS && *n <= bytes.len())
    {
        let event = &bytes[HEADERS..length];
        // what, cpu, a time of eight bytes, then the data.
        match (word(event, 0), word(event, 16), word(event, 20)) {
            (Some(EXEC), _, Some(pid)) => found.push(Did::Execute { pid }),
            (Some(EXIT), Some(thread), Some(pid)) if thread == pid => {
                let status = word(event, 24).unwrap_or(0) as i32;
                found.push(Did::End { pid, status });
            }
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_out_of_datagrams() {
        let message = |what: u32, data: [u32; 4]| {
            let mut bytes = Vec::new();
            bytes.extend(((HEADERS + 40) as u32).to_ne_bytes());
            bytes.resize(HEADERS, 0);
            bytes.extend(what.to_ne_bytes());
            bytes.resize(HEADERS + 16, 0);
            data.iter().for_each(|n| bytes.extend(n.to_ne_bytes()));
            bytes.resize(HEADERS + 40, 0);
            bytes
        };
        let both = [message(EXEC, [7, 7, 0, 0]), message(EXIT, [8, 8, 256, 17]), message(EXIT, [9, 8, 0, 0])];
        let mut found = Vec::new();
        parse(&both.concat(), &mut found);
        assert_eq!(found, [Did::Execute { pid: 7 }, Did::End { pid: 8, status: 256 }]);
        for cut in 0..both[0].len() {
            found.clear();
            parse(&both[0][..cut], &mut found);
            assert!(found.is_empty(), "{cut}");
        }
    }
}
