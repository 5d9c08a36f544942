//! Whether two descriptors are of one open file; kcmp(2).

use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether both are of the same open file. Where the kernel won't tell, two of one file with the same flags
/// count as one, but not those of devices, which may well mean different things.
pub fn is_same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    const KCMP_FILE: i32 = 0;
    let own = std::process::id() as libc::pid_t;
    // SAFETY: no memory is involved.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, own, own, KCMP_FILE, a.as_raw_fd(), b.as_raw_fd()) };
    if order >= 0 {
        return order == 0;
    }
    use rustix::fs::{FileType, fcntl_getfl, fstat};
    let (Ok(first), Ok(second)) = (fstat(a), fstat(b)) else { return false };
    let kind = FileType::from_raw_mode(first.st_mode);
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let flags = || fcntl_getfl(a).ok().zip(fcntl_getfl(b).ok()).is_some_and(|(a, b)| a == b);
    !device && (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino) && flags()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_duplicate_is_the_same_and_another_opening_is_not() {
        let file = std::fs::File::open("/proc/self/exe").expect("the test itself");
        let again = file.try_clone().expect("a duplicate");
        assert!(is_same_file(file.as_fd(), again.as_fd()));
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        let other = std::fs::File::open("/dev/null").expect("/dev/null");
        assert!(!is_same_file(null.as_fd(), other.as_fd()));
        assert!(!is_same_file(null.as_fd(), file.as_fd()));
    }
}
