//! Users and groups by the system's name service. It may block and load code: only the executor calls it.

use std::{
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
    ptr,
};

/// Largest buffer for an entry, in bytes.
const ENTRY_BYTES: usize = 1 << 20;

/// A user's entry; passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: CString,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

fn text(pointer: *const libc::c_char) -> CString {
    if pointer.is_null() {
        return CString::default();
    }
    // SAFETY: entries hold NUL-terminated strings in the buffer that the caller still owns.
    unsafe { CStr::from_ptr(pointer).to_owned() }
}

/// The user of this name or number; `None` where there is none.
///
/// # Errors
/// What the name service says.
pub fn user(name: &str) -> io::Result<Option<User>> {
    let key = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let number = name.parse::<u32>().ok();
    let mut size = 1024;
    loop {
        let mut buffer = vec![0 as libc::c_char; size];
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: entry and buffer outlive the use of what is found, which points into them.
        unsafe {
            let (at, length) = (buffer.as_mut_ptr(), buffer.len());
            let result = match number {
                Some(uid) => libc::getpwuid_r(uid, entry.as_mut_ptr(), at, length, &mut found),
                None => libc::getpwnam_r(key.as_ptr(), entry.as_mut_ptr(), at, length, &mut found),
            };
            match result {
                libc::ERANGE if size < ENTRY_BYTES => size *= 4,
                _ if found.is_null() => return none(result),
                _ => {
                    let lossy = |p| text(p).to_string_lossy().into_owned();
                    return Ok(Some(User {
                        name: text((*found).pw_name),
                        uid: (*found).pw_uid,
                        gid: (*found).pw_gid,
                        home: lossy((*found).pw_dir),
                        shell: lossy((*found).pw_shell),
                    }));
                }
            }
        }
    }
}

/// The group of this name or number; `None` where there is none.
///
/// # Errors
/// What the name service says.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    if let Ok(gid) = name.parse() {
        return Ok(Some(gid));
    }
    let key = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut size = 1024;
    loop {
        let mut buffer = vec![0 as libc::c_char; size];
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: as in `user`.
        unsafe {
            let (at, length) = (buffer.as_mut_ptr(), buffer.len());
            let result = libc::getgrnam_r(key.as_ptr(), entry.as_mut_ptr(), at, length, &mut found);
            match result {
                libc::ERANGE if size < ENTRY_BYTES => size *= 4,
                _ if found.is_null() => return none(result),
                _ => return Ok(Some((*found).gr_gid)),
            }
        }
    }
}

/// These errors mean that there is no such entry; getpwnam(3).
fn none<T>(result: i32) -> io::Result<Option<T>> {
    match result {
        0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => Ok(None),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The groups that a user belongs to, the primary one among them.
pub fn groups_of(user: &CStr, primary: u32) -> Vec<u32> {
    let mut count = 64;
    loop {
        let mut groups = vec![0; count as usize];
        // SAFETY: `count` is the length of `groups`; the call says how many it needs.
        let result = unsafe { libc::getgrouplist(user.as_ptr(), primary, groups.as_mut_ptr(), &mut count) };
        if result >= 0 || count as usize <= groups.len() || count > 65_536 {
            groups.truncate(count.max(0) as usize);
            return groups;
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes supplementary groups and a group for good.
///
/// # Errors
/// What the kernel says; nothing may be executed then.
pub fn take_groups(gid: Option<u32>, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` lives through the call.
    unsafe {
        if libc::geteuid() == 0 {
            check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        }
        if let Some(gid) = gid {
            check(libc::setresgid(gid, gid, gid))?;
        }
    }
    Ok(())
}

/// Becomes another user for good.
///
/// # Errors
/// What the kernel says; nothing may be executed then.
pub fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}
