//! Filters of system calls that this process can't get rid of again; seccomp(2).

use seccompiler::sock_filter;
use std::io;

/// Installs a filter for this process and all that it starts. What it refuses is refused at once.
///
/// # Errors
/// errno: EACCES without both CAP_SYS_ADMIN and no_new_privs, EINVAL where the kernel has no filters.
pub fn install(program: &[sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program =
        libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: the kernel copies the program, whose length it is told; its instructions are laid out as the
    // kernel's, and it only reads them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0 as libc::c_uint, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
