//! Terminals: hanging up, settings as of a new one, virtual terminals; ioctl_tty(2), ioctl_console(2). Which
//! terminal and when is for others.

use std::{io, mem::MaybeUninit, os::fd::AsRawFd, os::fd::BorrowedFd};

const KDSETMODE: libc::c_ulong = 0x4b3a;
const KD_TEXT: libc::c_ulong = 0;
const KDSKBMODE: libc::c_ulong = 0x4b45;
const K_XLATE: libc::c_ulong = 1;
const K_UNICODE: libc::c_ulong = 3;
const VT_DISALLOCATE: libc::c_ulong = 0x5608;
const TIOCVHANGUP: libc::c_ulong = 0x5437;

fn with_number(fd: BorrowedFd<'_>, request: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these requests take a number, and no memory is involved.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, value) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Disconnects everybody who has the terminal open.
///
/// # Errors
/// errno: it is no terminal, or we may not.
pub fn hang_up(terminal: BorrowedFd<'_>) -> io::Result<()> {
    with_number(terminal, TIOCVHANGUP, 0)
}

/// Frees a virtual terminal that nobody uses.
///
/// # Errors
/// errno: somebody uses it, or this isn't the console.
pub fn free_virtual(console: BorrowedFd<'_>, number: u8) -> io::Result<()> {
    with_number(console, VT_DISALLOCATE, number.into())
}

/// Shows text, and has the keyboard send characters. Refused where it is no virtual terminal.
pub fn text_mode(terminal: BorrowedFd<'_>, unicode: bool) {
    let _ = with_number(terminal, KDSETMODE, KD_TEXT);
    let _ = with_number(terminal, KDSKBMODE, if unicode { K_UNICODE } else { K_XLATE });
}

/// Settings as `stty sane` makes them, in UTF-8; open to all; what was typed and not read is dropped.
///
/// # Errors
/// errno: it is no terminal.
pub fn make_sane(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let fd = terminal.as_raw_fd();
    let done = |result: i32| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the settings are a local that is valid when zeroed; the kernel fills and reads it.
    unsafe {
        libc::ioctl(fd, libc::TIOCNXCL as _);
        let mut settings = MaybeUninit::<libc::termios>::zeroed().assume_init();
        done(libc::tcgetattr(fd, &mut settings))?;
        settings.c_iflag &= !(libc::IGNBRK
            | libc::BRKINT
            | libc::ISTRIP
            | libc::INLCR
            | libc::IGNCR
            | libc::IUCLC
            | libc::IXOFF);
        settings.c_iflag |= libc::ICRNL | libc::IMAXBEL | libc::IUTF8 | libc::IXON;
        settings.c_oflag |= libc::OPOST | libc::ONLCR;
        settings.c_oflag &= !(libc::OLCUC | libc::OCRNL | libc::ONOCR | libc::ONLRET);
        settings.c_cflag |= libc::CREAD;
        settings.c_lflag = libc::ISIG
            | libc::ICANON
            | libc::IEXTEN
            | libc::ECHO
            | libc::ECHOE
            | libc::ECHOK
            | libc::ECHOCTL
            | libc::ECHOKE;
        for (key, value) in [
            (libc::VINTR, 3),
            (libc::VQUIT, 28),
            (libc::VERASE, 127),
            (libc::VKILL, 21),
            (libc::VEOF, 4),
            (libc::VSTART, 17),
            (libc::VSTOP, 19),
            (libc::VSUSP, 26),
            (libc::VREPRINT, 18),
            (libc::VWERASE, 23),
            (libc::VLNEXT, 22),
            (libc::VEOL, 0),
            (libc::VEOL2, 0),
            (libc::VTIME, 0),
            (libc::VMIN, 1),
        ] {
            settings.c_cc[key] = value;
        }
        done(libc::tcsetattr(fd, libc::TCSANOW, &settings))?;
        libc::tcflush(fd, libc::TCIOFLUSH);
    }
    Ok(())
}
