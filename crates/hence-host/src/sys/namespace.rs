//! Namespaces and their mounts: what rustix has no safe call for.

use rustix::fs::CWD;
use std::{
    ffi::CString,
    io::{self, Read, Write},
    mem::size_of,
    ops::{BitOr, BitOrAssign},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is mounted where.
    Mounts,
    /// Interfaces, addresses, ports.
    Network,
    /// System V IPC and message queues.
    Ipc,
    /// The host's name.
    HostName,
}

impl Kind {
    const fn flag(self) -> i32 {
        match self {
            Kind::Mounts => libc::CLONE_NEWNS,
            Kind::Network => libc::CLONE_NEWNET,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::HostName => libc::CLONE_NEWUTS,
        }
    }

    /// The file that is this process' own.
    pub const fn file(self) -> &'static str {
        match self {
            Kind::Mounts => "/proc/self/ns/mnt",
            Kind::Network => "/proc/self/ns/net",
            Kind::Ipc => "/proc/self/ns/ipc",
            Kind::HostName => "/proc/self/ns/uts",
        }
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// From here on this process has a namespace of its own. It must have one thread only.
///
/// # Errors
/// What the kernel says.
pub fn unshare(kind: Kind) -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { libc::unshare(kind.flag()) })
}

/// From here on this process is in the namespace of this file.
///
/// # Errors
/// What the kernel says: it is none of this kind.
pub fn join(file: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { libc::setns(file.as_raw_fd(), kind.flag()) })
}

/// From here on this process has mounts of its own. It must have one thread only.
///
/// # Errors
/// What the kernel says.
pub fn unshare_mounts() -> io::Result<()> {
    unshare(Kind::Mounts)
}

/// The same for who may not do that: in a user namespace of its own, in which everybody is who they were.
///
/// # Errors
/// What the kernel says.
pub fn unshare_users_and_mounts() -> io::Result<()> {
    unshare_users_as_they_are()?;
    unshare_mounts()
}

/// A user namespace in which this process' user is who it was, and nobody else is there.
///
/// # Errors
/// What the kernel says.
pub fn unshare_users_as_they_are() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: no memory is involved.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A user namespace with these maps, as user_namespaces(7) has them. A child that stays outside writes them,
/// for that needs rights there. This process must have one thread only.
///
/// # Errors
/// What the kernel says.
pub fn unshare_users(users: &str, groups: &str) -> io::Result<()> {
    let (told, tell) = pipe()?;
    let (heard, answer) = pipe()?;
    let own = std::process::id();
    // SAFETY: there is one thread only, so that the child may do what this process may.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child == 0 {
        drop((tell, heard));
        let mut byte = [0u8; 1];
        let written = match std::fs::File::from(told).read_exact(&mut byte) {
            Ok(()) => write_maps(own, users, groups),
            Err(e) => Err(e),
        };
        let errno = written.err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::EIO));
        let _ = std::fs::File::from(answer).write_all(&errno.to_le_bytes());
        // SAFETY: nothing of this process may run but its end.
        unsafe { libc::_exit(0) }
    }
    drop((told, answer));
    // SAFETY: no memory is involved.
    let unshared = checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) });
    let mut errno = [0u8; 4];
    let result = unshared
        .and_then(|()| std::fs::File::from(tell).write_all(&[1]))
        .and_then(|()| std::fs::File::from(heard).read_exact(&mut errno));
    // SAFETY: it is a child of this process, and nobody else waits for it.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    result?;
    match i32::from_le_bytes(errno) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn write_maps(process: u32, users: &str, groups: &str) -> io::Result<()> {
    let file = |name: &str| format!("/proc/{process}/{name}");
    std::fs::write(file("setgroups"), "deny")?;
    std::fs::write(file("gid_map"), groups)?;
    std::fs::write(file("uid_map"), users)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Brings `lo` up in this process' network namespace; the kernel gives it its addresses.
///
/// # Errors
/// What the kernel says.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: no memory is involved.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zeroes is a value of this type.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })
}

/// What a mount forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute(u64);

impl Attribute {
    /// Nothing.
    pub const NONE: Attribute = Attribute(0);
    /// Writing.
    pub const READ_ONLY: Attribute = Attribute(1);
    /// Gaining another user's rights.
    pub const NO_SUID: Attribute = Attribute(2);
    /// Executing.
    pub const NO_EXEC: Attribute = Attribute(8);
}

impl BitOr for Attribute {
    type Output = Attribute;
    fn bitor(self, other: Attribute) -> Attribute {
        Attribute(self.0 | other.0)
    }
}

impl BitOrAssign for Attribute {
    fn bitor_assign(&mut self, other: Attribute) {
        self.0 |= other.0;
    }
}

/// As the kernel has it; mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes what the one mount at this path forbids, and nothing below it.
///
/// # Errors
/// What the kernel says.
pub fn change_mount(path: &str, set: Attribute, clear: Attribute) -> io::Result<()> {
    let path = CString::new(path)?;
    let attributes = Attributes { set: set.0, clear: clear.0, propagation: 0, user_namespace: 0 };
    // SAFETY: path and attributes outlive the call, which is told their size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            CWD.as_raw_fd(),
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
