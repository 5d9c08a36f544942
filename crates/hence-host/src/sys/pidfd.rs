//! How a process that is no child of ours has ended, where the kernel tells: PIDFD_GET_INFO, ioctl_pidfd(2),
//! which says it from Linux 6.15 on, once the process has been reaped by its parent.

use hence_ledger::{Exit, ExitKind};
use std::os::fd::{AsFd, AsRawFd};

/// What the kernel says of a process' end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// So.
    So(Exit),
    /// Its parent has not reaped it; the pidfd hangs up when it has.
    NotReaped,
    /// Nothing.
    Untold,
}

/// `struct pidfd_info` as of its first version.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// PIDFD_INFO_EXIT
const EXIT: u64 = 1 << 3;
/// PIDFD_GET_INFO: _IOWR(0xff, 11, struct pidfd_info)
const GET_INFO: u64 = (3 << 30) | ((size_of::<Info>() as u64) << 16) | (0xff << 8) | 11;

/// Whether this kernel tells, and has a pidfd hang up for it.
fn tells() -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// How the process of a pidfd that says it has ended has done so.
pub fn ended(fd: impl AsFd) -> Ended {
    if !tells() {
        return Ended::Untold;
    }
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the kernel writes at most as many bytes as the number of the request says, which is the size of
    // `info`, and `info` lives until the call returns.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), GET_INFO as _, &mut info) };
    match result {
        0 if info.mask & EXIT != 0 => Ended::So(exit(info.exit_code)),
        0 => Ended::NotReaped,
        _ => Ended::Untold,
    }
}

/// As wait(2) has it.
fn exit(status: i32) -> Exit {
    let signal = status & 0x7f;
    match signal {
        0 => Exit { kind: ExitKind::Exited, status: status >> 8 & 0xff },
        _ if status & 0x80 != 0 => Exit { kind: ExitKind::Dumped, status: signal },
        _ => Exit { kind: ExitKind::Killed, status: signal },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    #[test]
    fn an_end_is_told_when_it_was_reaped() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let fd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        match ended(&fd) {
            Ended::So(exit) => assert_eq!(exit, Exit { kind: ExitKind::Exited, status: 7 }),
            other => assert!(!tells(), "{other:?}"),
        }
        assert_eq!(exit(9), Exit { kind: ExitKind::Killed, status: 9 });
        assert_eq!(exit(0x8b), Exit { kind: ExitKind::Dumped, status: 11 });
    }
}
