//! Signals: which are blocked, the signalfd, sending, and reaping with resource use.

use hence_ledger::{Exit, ExitKind};
use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// A signal as read from the signalfd.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Number.
    pub signal: u8,
    /// Sender; 0 where the kernel sent it.
    pub pid: u32,
    /// The sender's user.
    pub uid: u32,
}

/// A child that was reaped.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    /// Which.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// CPU time, user and system, in microseconds.
    pub cpu_us: u64,
    /// Largest resident size, in bytes.
    pub peak_bytes: u64,
}

/// Resets every disposition to its default except SIGPIPE, which is ignored, blocks the signals that
/// hence takes in by signalfd and opens that.
///
/// # Errors
/// Where the signalfd can't be opened.
pub fn take_over() -> io::Result<OwnedFd> {
    let caught: Vec<i32> =
        [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]
            .into_iter()
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
            .collect();
    // SAFETY: the set is a local; handlers are replaced by the default or "ignore" only, except for those
    // that report faults, which stay as the runtime has set them.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
        libc::sigemptyset(&mut set);
        for &signal in &caught {
            libc::sigaddset(&mut set, signal);
        }
        for signal in 1..=libc::SIGRTMAX() {
            match signal {
                libc::SIGSEGV | libc::SIGBUS | libc::SIGKILL | libc::SIGSTOP => {}
                // libc keeps these two for itself and refuses to touch them; ignored they are inherited so.
                32 | 33 => unignore(signal),
                libc::SIGPIPE => {
                    libc::signal(signal, libc::SIG_IGN);
                }
                _ => {
                    libc::signal(signal, libc::SIG_DFL);
                }
            }
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Resets a signal that is ignored to its default, past libc.
fn unignore(signal: i32) {
    // The kernel's struct: handler, flags, restorer, mask.
    let (mut now, default) = ([0usize; 4], [0usize; 4]);
    // SAFETY: both structs are locals of the kernel's size for a mask of eight bytes.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, ptr::null::<usize>(), now.as_mut_ptr(), 8);
        if now[0] == libc::SIG_IGN {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null_mut::<usize>(), 8);
        }
    }
}

/// Signals that one read takes at most.
pub const READ_MAX: usize = 16;

/// Reads the signals that are pending, [`READ_MAX`] at most; fewer: there were no more.
pub fn receive(fd: BorrowedFd<'_>) -> impl ExactSizeIterator<Item = Received> {
    const SIZE: usize = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the struct is plain numbers, of which the kernel fills whole structs and says how many.
    let (all, read) = unsafe {
        let mut all = MaybeUninit::<[libc::signalfd_siginfo; READ_MAX]>::zeroed().assume_init();
        let read = libc::read(fd.as_raw_fd(), all.as_mut_ptr().cast(), SIZE * READ_MAX);
        (all, read)
    };
    let count = usize::try_from(read).unwrap_or(0) / SIZE;
    all.into_iter().take(count).map(|received| {
        let by_kernel = received.ssi_code > 0;
        Received {
            signal: received.ssi_signo as u8,
            pid: if by_kernel { 0 } else { received.ssi_pid },
            uid: if by_kernel { 0 } else { received.ssi_uid },
        }
    })
}

/// Sends a signal. True where the process exists and was signalled.
///
/// # Errors
/// errno; ESRCH where it doesn't exist.
pub fn send(pid: u32, signal: u8) -> io::Result<()> {
    if pid == 0 || pid > i32::MAX as u32 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: no memory is involved.
    if unsafe { libc::kill(pid as i32, i32::from(signal)) } < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Reaps one child that has ended, whichever; `None` where none has.
pub fn reap() -> Option<Reaped> {
    // SAFETY: both results are locals that the kernel fills where it returns a pid.
    let (pid, status, usage) = unsafe {
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed().assume_init();
        let mut wait = || libc::wait4(-1, &mut status, libc::WNOHANG | libc::__WALL, &mut usage);
        let mut pid = wait();
        if pid < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            pid = wait();
        }
        (pid, status, usage)
    };
    if pid <= 0 {
        return None;
    }
    let exit = if libc::WIFSIGNALED(status) {
        let kind = if libc::WCOREDUMP(status) { ExitKind::Dumped } else { ExitKind::Killed };
        Exit { kind, status: libc::WTERMSIG(status) }
    } else {
        Exit { kind: ExitKind::Exited, status: libc::WEXITSTATUS(status) }
    };
    let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    Some(Reaped {
        pid: pid as u32,
        exit,
        cpu_us: us(usage.ru_utime) + us(usage.ru_stime),
        peak_bytes: usage.ru_maxrss as u64 * 1024,
    })
}

/// Marks every file descriptor from 3 up close-on-exec.
///
/// # Errors
/// Where the kernel doesn't know close_range(2) with that flag (before 5.11) and /proc isn't there either.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; descriptors stay open in this process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
        if let Some(fd) = number.filter(|&fd| fd >= first as i32) {
            // SAFETY: no memory is involved.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}
/// Whether this process, and what it executes, ends where nobody reads any more what it writes.
pub fn set_sigpipe(default: bool) {
    let action = if default { libc::SIG_DFL } else { libc::SIG_IGN };
    // SAFETY: no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}
