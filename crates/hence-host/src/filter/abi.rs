//! The sets of system calls that programs on this machine can use, each with its own numbers: that of the
//! machine itself, and those of older machines that the kernel serves beside it.

use std::str::FromStr;

/// A set of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    /// 64 bits on x86.
    X86_64,
    /// 32-bit pointers on 64-bit x86.
    X32,
    /// 32 bits on x86.
    X86,
    /// 64 bits on ARM.
    Arm64,
    /// 32 bits on ARM.
    Arm,
}

/// What the number of a call of x32 has above all others.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Those that this build can meet, its own first.
pub(super) const LOCAL: &[Abi] =
    if cfg!(target_arch = "x86_64") { &[Abi::X86_64, Abi::X32, Abi::X86] } else { &[Abi::Arm64, Abi::Arm] };

/// Calls that have a number of their own in x32, as they are named.
const X32_OWN: [(&str, u32); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls that 32-bit x86 makes through `socketcall`, by its first argument; socketcall(2).
const SOCKET_CALLS: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The same through `ipc`; ipc(2).
const IPC_CALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Abi {
    /// systemd's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Abi::X86_64 => "x86-64",
            Abi::X32 => "x32",
            Abi::X86 => "x86",
            Abi::Arm64 => "arm64",
            Abi::Arm => "arm",
        }
    }

    /// How the kernel tells it to filters; AUDIT_ARCH_ of linux/audit.h.
    pub(super) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Arm64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// The number of a call, where it has this one.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        // What is named by what it is an older form of.
        let id = match self {
            Abi::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Abi::X32 => {
                if let Some((_, own)) = X32_OWN.iter().find(|(known, _)| *known == name) {
                    return Some(own | X32_BIT);
                }
                return Abi::X86_64.number(name).map(|number| number | X32_BIT);
            }
            Abi::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
            Abi::Arm64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
            Abi::Arm => syscalls::arm::Sysno::from_str(name).ok()?.id(),
        };
        u32::try_from(id).ok()
    }

    /// The name of a number that the kernel tells with this architecture.
    pub(super) fn name(audit: u32, number: u32) -> Option<&'static str> {
        let number = number as usize;
        match audit {
            0xc000_003e if number as u32 >= X32_BIT => {
                let number = number as u32 & !X32_BIT;
                let own = X32_OWN.iter().find(|(_, own)| *own == number).map(|(name, _)| *name);
                own.or_else(|| Some(syscalls::x86_64::Sysno::new(number as usize)?.name()))
            }
            0xc000_003e => Some(syscalls::x86_64::Sysno::new(number)?.name()),
            0x4000_0003 => Some(syscalls::x86::Sysno::new(number)?.name()),
            0xc000_00b7 => Some(syscalls::aarch64::Sysno::new(number)?.name()),
            0x4000_0028 => Some(syscalls::arm::Sysno::new(number)?.name()),
            _ => None,
        }
    }

    /// The call that this one can also be made through, and the first argument that tells.
    pub(super) fn through(self, name: &str) -> Option<(u32, u64)> {
        if self != Abi::X86 {
            return None;
        }
        let of = |table: &[(&str, u64)]| table.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
        let socket = of(&SOCKET_CALLS).map(|number| ("socketcall", number));
        let (call, number) = socket.or_else(|| of(&IPC_CALLS).map(|number| ("ipc", number)))?;
        Some((self.number(call)?, number))
    }
}
