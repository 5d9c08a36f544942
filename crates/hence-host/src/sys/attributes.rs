//! Attributes of this very process that rustix has no safe call for: personality, secure bits, keyrings,
//! memory policy. What they are to be is for others; the program that is executed keeps them.

use std::{ffi::CString, io};

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The personality; personality(2).
pub fn personality() -> u32 {
    // SAFETY: this number only asks.
    unsafe { libc::personality(0xffff_ffff) as u32 }
}

/// Sets the personality.
///
/// # Errors
/// errno of personality(2).
pub fn set_personality(number: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; what is executed next is laid out by it.
    checked(unsafe { libc::personality(number.into()) }.into()).map(|_| ())
}

/// Sets the secure bits; capabilities(7).
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn set_secure_bits(bits: u8) -> io::Result<()> {
    // SAFETY: no memory is involved.
    let result = unsafe {
        // Setting them needs a right even where nothing changes.
        match libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) {
            now if now == libc::c_int::from(bits) => 0,
            _ => libc::prctl(libc::PR_SET_SECUREBITS, libc::c_ulong::from(bits), 0, 0, 0),
        }
    };
    checked(result.into()).map(|_| ())
}

/// Sets the slack of timers in nanoseconds; 0 is the default.
///
/// # Errors
/// errno of prctl(2).
pub fn set_timer_slack(ns: u64) -> io::Result<()> {
    let ns = libc::c_ulong::try_from(ns).unwrap_or(libc::c_ulong::MAX);
    // SAFETY: no memory is involved.
    checked(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, ns, 0, 0, 0) }.into()).map(|_| ())
}

/// Sets where memory is taken from; set_mempolicy(2).
///
/// # Errors
/// ENOSYS without such a kernel, EINVAL where the policy can't have these nodes.
pub fn set_memory_policy(policy: u8, nodes: &[u16]) -> io::Result<()> {
    const BITS: usize = libc::c_ulong::BITS as usize;
    let most = nodes.iter().max().map_or(0, |most| usize::from(*most) + 1);
    let mut mask = vec![0 as libc::c_ulong; most.div_ceil(BITS)];
    for node in nodes {
        mask[usize::from(*node) / BITS] |= 1 << (usize::from(*node) % BITS);
    }
    let at = if mask.is_empty() { std::ptr::null() } else { mask.as_ptr() };
    // The kernel takes one bit less than it is told.
    let count = if mask.is_empty() { 0 } else { mask.len() * BITS + 1 };
    // SAFETY: the kernel reads so many bits of the mask, which it has.
    checked(unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::c_int::from(policy), at, count) })
        .map(|_| ())
}

const JOIN_SESSION_KEYRING: libc::c_int = 1;
const SET_PERMISSIONS: libc::c_int = 5;
const LINK: libc::c_int = 8;
const SESSION_KEYRING: libc::c_long = -3;
const USER_KEYRING: libc::c_long = -4;

/// A new session keyring for this process; keyctl(2).
///
/// # Errors
/// errno; ENOSYS, EACCES or EPERM where there are no keyrings, as in containers.
pub fn new_session_keyring() -> io::Result<()> {
    // SAFETY: no memory is involved; without a name the keyring is nobody else's.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0, 0, 0, 0) }).map(|_| ())
}

/// Links the keyring of the user that this process is into its session's.
///
/// # Errors
/// errno of keyctl(2).
pub fn link_user_keyring() -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { libc::syscall(libc::SYS_keyctl, LINK, USER_KEYRING, SESSION_KEYRING, 0, 0) }).map(|_| ())
}

/// Adds a key to the session keyring that whoever has it can see, read and find, and nobody change.
///
/// # Errors
/// errno of add_key(2) or keyctl(2).
pub fn add_protected_key(name: &str, value: &[u8]) -> io::Result<()> {
    /// View, read and search, for who possesses it and for its user.
    const PERMISSIONS: libc::c_int = 0x0b0b_0000;
    let name = CString::new(name)?;
    // SAFETY: texts and value outlive the calls; the kernel is told the value's length.
    unsafe {
        let key = checked(libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            value.as_ptr(),
            value.len(),
            SESSION_KEYRING,
        ))?;
        checked(libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, key, PERMISSIONS, 0, 0)).map(|_| ())
    }
}

/// Executes a program in place of this process; what is to be unset or reset was so before. Returns only with
/// the error.
pub fn execute(path: &str, arguments: &[CString], environment: &[CString]) -> io::Error {
    let Ok(path) = CString::new(path) else { return io::ErrorKind::InvalidInput.into() };
    let pointers = |texts: &[CString]| {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end in NULL and outlive the call, as the texts do that they point to.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}
