//! File descriptors that a program which is executed anew hands to itself, and the call that does it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// The descriptors that this program was executed with, by their numbers, standard streams aside.
#[derive(Debug, Default)]
pub struct Inherited {
    descriptors: BTreeMap<RawFd, OwnedFd>,
}

impl Inherited {
    /// All of them, once; afterwards there are none left. From now on none is passed to another program.
    pub fn collect() -> Inherited {
        static COLLECTED: AtomicBool = AtomicBool::new(false);
        let mut inherited = Inherited::default();
        if COLLECTED.swap(true, Ordering::SeqCst) {
            return inherited;
        }
        let listed = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let numbers: Vec<RawFd> =
            listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for number in numbers.into_iter().filter(|number| *number > 2) {
            // SAFETY: no memory is involved, and a number that is closed is refused.
            let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
            if flags < 0 || flags & libc::FD_CLOEXEC != 0 {
                continue;
            }
            // SAFETY: as above.
            unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
            // SAFETY: whatever this program opens is close-on-exec from the start, so this one came from
            // before it was executed and nobody owns it; it is taken only once.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            inherited.descriptors.insert(number, descriptor);
        }
        inherited
    }

    /// Takes the one that is this file.
    pub fn take_file(&mut self, path: &Path) -> Option<OwnedFd> {
        let is = |number: &&RawFd| {
            std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|at| at == path)
        };
        let number = self.descriptors.keys().find(is).copied()?;
        self.take(number)
    }

    /// Takes the one of this number.
    pub fn take(&mut self, number: RawFd) -> Option<OwnedFd> {
        self.descriptors.remove(&number)
    }
}

/// The one of this number that this program was executed with, once more; `None` where there is none.
pub fn again(number: u32) -> Option<OwnedFd> {
    let number = RawFd::try_from(number).ok()?;
    // SAFETY: no memory is involved, and a number that is closed is refused.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: it is new and nobody else's.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Lets a descriptor be passed to other programs, or no longer.
fn pass(fd: BorrowedFd<'_>, pass: bool) -> io::Result<()> {
    let flags = if pass { rustix::io::FdFlags::empty() } else { rustix::io::FdFlags::CLOEXEC };
    Ok(rustix::io::fcntl_setfd(fd, flags)?)
}

/// Executes a program in this process' place, with its environment and signals as they are: blocked ones
/// stay so and are not lost. These descriptors stay open under their numbers. Returns only where it can't be
/// done; then everything is as before.
pub fn execute(program: &Path, arguments: &[OsString], kept: &[BorrowedFd<'_>]) -> io::Error {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let all = || -> io::Result<(CString, Vec<CString>)> {
        let arguments = arguments.iter().map(|a| text(a.as_bytes())).collect::<io::Result<_>>()?;
        Ok((text(program.as_os_str().as_bytes())?, arguments))
    };
    let (program, arguments) = match all() {
        Ok(all) => all,
        Err(error) => return error,
    };
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(ptr::null());
    let mut error = None;
    for fd in kept {
        error = error.or(pass(*fd, true).err());
    }
    let error = error.unwrap_or_else(|| {
        // SAFETY: the program's and the arguments' texts end with NUL, the list of them with a null pointer,
        // and all live until the call returns, if it does. The environment isn't changed by this program.
        unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
        io::Error::last_os_error()
    });
    for fd in kept {
        // What can't be set back was not changed.
        let _ = pass(*fd, false);
    }
    error
}
