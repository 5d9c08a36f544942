//! What process 1 asks the kernel beside of running processes: the loopback interface, swap devices, a key
//! combination, the end of the machine. No policy.

use std::{ffi::CString, io, mem::MaybeUninit, os::fd::AsRawFd};

fn done(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes the loopback interface up.
///
/// # Errors
/// errno: there is no such interface, or it is not ours to change.
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: the request is a local that is valid when zeroed; the kernel reads the name and reads or
    // writes the flags in it.
    unsafe {
        let mut request = MaybeUninit::<libc::ifreq>::zeroed().assume_init();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        done(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        done(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &mut request))
    }
}

/// Stops swapping to this device or file.
///
/// # Errors
/// errno.
pub fn swap_off(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path is a string that ends with a zero byte.
    done(unsafe { libc::swapoff(path.as_ptr()) })
}

/// Ctrl-Alt-Del sends SIGINT to process 1 instead of rebooting at once; the request key sends SIGWINCH.
///
/// # Errors
/// errno.
pub fn keys_as_signals(console: Option<&std::fs::File>) -> io::Result<()> {
    const KDSIGACCEPT: libc::c_ulong = 0x4b4e;
    // SAFETY: no memory is involved.
    unsafe {
        if let Some(console) = console {
            // Refused where the console is no virtual terminal: then there is no such key either.
            let _ = libc::ioctl(console.as_raw_fd(), KDSIGACCEPT as _, libc::SIGWINCH);
        }
        done(libc::reboot(libc::RB_DISABLE_CAD))
    }
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// Starts anew.
    Restart,
    /// Is switched off.
    PowerOff,
    /// Stops.
    Halt,
    /// Executes the kernel that was loaded.
    Kexec,
}

/// Ends the machine, at once and without writing anything. Returns only where that is refused.
pub fn reboot(how: Reboot) -> io::Error {
    const KEXEC: i32 = 0x4558_4543;
    let command = match how {
        Reboot::Restart => libc::RB_AUTOBOOT,
        Reboot::PowerOff => libc::RB_POWER_OFF,
        Reboot::Halt => libc::RB_HALT_SYSTEM,
        Reboot::Kexec => KEXEC,
    };
    // SAFETY: no memory is involved.
    unsafe { libc::reboot(command) };
    io::Error::last_os_error()
}
