//! The terminal of a unit, before its commands are started and after it went down: TTYVHangup=, TTYReset=,
//! TTYVTDisallocate=, TTYRows= and TTYColumns= of systemd.exec(5), in this order. What a terminal refuses is
//! no failure: a unit whose terminal isn't there says so when its streams are opened.

use crate::sys::terminal;
use hence_unit::{ExecConfig, config::Stdio};
use rustix::{
    fs::{Mode, OFlags},
    termios::{Winsize, tcgetwinsize, tcsetwinsize},
};
use std::os::fd::{AsFd, OwnedFd};

/// The terminal that a unit uses, if it uses one.
pub fn path_of(context: &ExecConfig) -> Option<&str> {
    let uses = [&context.stdin, &context.stdout, &context.stderr].contains(&&Stdio::Tty);
    match &context.tty_path {
        Some(path) => Some(path),
        None => uses.then_some("/dev/console"),
    }
}

fn open(path: &str) -> Option<OwnedFd> {
    // Never waits for a carrier, and never becomes the terminal of process 1.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Makes the terminal as the unit wants it, for whoever uses it next.
pub fn prepare(context: &ExecConfig) {
    let size = context.attributes.as_deref().map(|a| (a.tty_rows, a.tty_columns));
    let size = size.filter(|size| *size != (None, None));
    let treated = context.tty_vhangup || context.tty_reset || context.tty_vt_disallocate;
    if !treated && size.is_none() {
        return;
    }
    let Some(path) = path_of(context) else { return };
    if context.tty_vhangup
        && let Some(fd) = open(path)
    {
        let _ = terminal::hang_up(fd.as_fd());
    }
    if context.tty_reset
        && let Some(fd) = open(path)
    {
        let utf8 = std::fs::read_to_string("/sys/module/vt/parameters/default_utf8");
        terminal::text_mode(fd.as_fd(), utf8.is_ok_and(|text| text.trim() == "1"));
        let _ = terminal::make_sane(fd.as_fd());
    }
    if context.tty_vt_disallocate {
        clear(path);
    }
    if let (Some((rows, columns)), Some(fd)) = (size, open(path))
        && let Ok(now) = tcgetwinsize(&fd)
    {
        let (ws_row, ws_col) = (rows.unwrap_or(now.ws_row), columns.unwrap_or(now.ws_col));
        let _ = tcsetwinsize(&fd, Winsize { ws_row, ws_col, ..now });
    }
}

/// The number of a virtual terminal.
fn number_of(path: &str) -> Option<u8> {
    path.strip_prefix("/dev/tty")?.parse().ok().filter(|number| (1..64).contains(number))
}

/// Frees a virtual terminal with all that it shows; one in use, or another terminal, is only cleared.
fn clear(path: &str) {
    const SCREEN: &[u8] = b"\x1b[r\x1b[H\x1b[2J";
    const SCROLLBACK: &[u8] = b"\x1b[r\x1b[H\x1b[3J";
    let number = number_of(path);
    if let (Some(number), Some(console)) = (number, number.and_then(|_| open("/dev/tty0")))
        && terminal::free_virtual(console.as_fd(), number).is_ok()
    {
        return;
    }
    if let Some(fd) = open(path) {
        let _ = rustix::io::write(&fd, if number.is_some() { SCROLLBACK } else { SCREEN });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::attributes::Attributes;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[test]
    fn whose_terminal() {
        let tty = ExecConfig { stdout: Stdio::Tty, ..Default::default() };
        assert_eq!(path_of(&tty), Some("/dev/console"));
        assert_eq!(path_of(&ExecConfig { tty_path: Some("/dev/tty7".into()), ..tty }), Some("/dev/tty7"));
        assert_eq!(path_of(&ExecConfig::default()), None);
        assert_eq!(
            (number_of("/dev/tty7"), number_of("/dev/tty0"), number_of("/dev/ttyS0")),
            (Some(7), None, None)
        );
    }

    #[test]
    fn a_terminal_is_reset_cleared_and_hung_up() {
        let Ok(master) = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY) else {
            println!("skipped: no pseudo-terminals here");
            return;
        };
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = open(&path).unwrap();
        let mut raw = rustix::termios::tcgetattr(&slave).unwrap();
        raw.make_raw();
        rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &raw).unwrap();
        let unit = ExecConfig { tty_path: Some(path.as_str().into()), ..Default::default() };
        prepare(&unit);
        let echo = rustix::termios::LocalModes::ECHO;
        assert!(
            !rustix::termios::tcgetattr(&slave).unwrap().local_modes.contains(echo),
            "nothing was asked for"
        );
        prepare(&ExecConfig { tty_reset: true, ..unit.clone() });
        assert!(rustix::termios::tcgetattr(&slave).unwrap().local_modes.contains(echo));
        prepare(&ExecConfig { tty_vt_disallocate: true, ..unit.clone() });
        let mut shown = [0; 64];
        let count = rustix::io::read(&master, &mut shown).unwrap();
        assert_eq!(&shown[..count], b"\x1b[r\x1b[H\x1b[2J");
        let attributes = Attributes { tty_rows: Some(7), tty_columns: Some(70), ..Attributes::default() };
        prepare(&ExecConfig { attributes: Some(Box::new(attributes)), ..unit.clone() });
        let size = tcgetwinsize(&slave).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (7, 70));
        if rustix::process::geteuid().is_root() {
            prepare(&ExecConfig { tty_vhangup: true, ..unit });
            // Whoever had it open reads its end now.
            assert_eq!(rustix::io::read(&slave, &mut shown), Ok(0));
        }
    }
}
