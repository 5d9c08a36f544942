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

/// Most processes whose ends can be told from others' by the kernel; a program has at most 4096 steps.
const NAMED_MAX: usize = 1500;

/// Has the kernel keep for us only what matters: executions, where they are wanted, and the ends of these
/// processes. What it leaves out costs no wakeup.
///
/// # Errors
/// What setsockopt(2) says; all is told then, as before.
pub fn narrow(socket: BorrowedFd<'_>, executions: bool, ends_of: &[u32]) -> io::Result<()> {
    let mut program = program(executions, ends_of);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: `filter` and the steps that it points to live through the call, which copies them.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const filter).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The steps of [`narrow`]: what (of the event), the thread and its process are words behind the headers.
fn program(executions: bool, ends_of: &[u32]) -> Vec<libc::sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const SAME: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_X) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const KEEP: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (all, nothing) = (step(RETURN, 0, 0, u32::MAX), step(RETURN, 0, 0, 0));
    // Words are loaded as the network has them.
    let word = |value: u32| u32::from_be_bytes(value.to_ne_bytes());
    let at = |offset: usize| step(LOAD, 0, 0, (HEADERS + offset) as u32);
    let mut steps = vec![
        at(0),
        step(EQUAL, 0, 1, word(EXEC)),
        if executions { all } else { nothing },
        step(EQUAL, 1, 0, word(EXIT)),
        nothing,
        at(20),
        step(KEEP, 0, 0, 0),
        at(16),
        step(SAME, 1, 0, 0),
        nothing,
    ];
    if ends_of.len() > NAMED_MAX {
        steps.push(all);
    } else {
        steps.extend(ends_of.iter().flat_map(|pid| [step(EQUAL, 0, 1, word(*pid)), all]));
        steps.push(nothing);
    }
    steps
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

    /// What the steps make of a message.
    fn takes(steps: &[libc::sock_filter], message: &[u8]) -> bool {
        let (mut a, mut x, mut next) = (0u32, 0u32, 0usize);
        loop {
            let step = &steps[next];
            next += 1;
            match u32::from(step.code) {
                0x20 => {
                    let at = step.k as usize;
                    a = u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
                }
                0x15 => next += usize::from(if a == step.k { step.jt } else { step.jf }),
                0x1d => next += usize::from(if a == x { step.jt } else { step.jf }),
                0x07 => x = a,
                0x06 => return step.k != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn the_kernel_leaves_out_what_does_not_matter() {
        let message = |what: u32, thread: u32, process: u32| {
            let mut bytes = vec![0u8; HEADERS + 40];
            bytes[HEADERS..HEADERS + 4].copy_from_slice(&what.to_ne_bytes());
            bytes[HEADERS + 16..HEADERS + 20].copy_from_slice(&thread.to_ne_bytes());
            bytes[HEADERS + 20..HEADERS + 24].copy_from_slice(&process.to_ne_bytes());
            bytes
        };
        let steps = program(true, &[70_000, 9]);
        assert!(takes(&steps, &message(EXEC, 5, 5)));
        assert!(takes(&steps, &message(EXIT, 9, 9)));
        assert!(takes(&steps, &message(EXIT, 70_000, 70_000)));
        assert!(!takes(&steps, &message(EXIT, 10, 9)), "a thread of it");
        assert!(!takes(&steps, &message(EXIT, 8, 8)));
        assert!(!takes(&steps, &message(1, 9, 9)), "a fork");
        assert!(!takes(&program(false, &[]), &message(EXEC, 5, 5)));
        let many: Vec<u32> = (1..=NAMED_MAX as u32 + 1).collect();
        assert!(takes(&program(false, &many), &message(EXIT, 99_999, 99_999)), "too many to be named");
        assert!(program(true, &many[1..]).len() <= 4096);
    }

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
