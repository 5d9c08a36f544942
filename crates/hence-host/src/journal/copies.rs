//! Copies of lines on the console and in the kernel's log: StandardOutput=journal+console, kmsg and their
//! kin. Nobody waits for a console: what it doesn't take at once is only in the journal.

use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;

/// The bits of [`super::Logging::copies`], for one stream.
pub(crate) const CONSOLE: u8 = 1;
pub(crate) const KERNEL: u8 = 2;
/// The longest line that the kernel's log takes.
const LONGEST: usize = 900;
/// How long a device that can't be opened isn't tried again, in microseconds.
const RETRY_US: u64 = 10_000_000;

#[derive(Debug, Default)]
struct Device {
    fd: Option<OwnedFd>,
    retry_at_us: u64,
}

impl Device {
    fn write(&mut self, path: &str, line: &[u8], now_us: u64) {
        if self.fd.is_none() && now_us >= self.retry_at_us {
            // A console may as well be a file that others write to.
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            self.fd = rustix::fs::open(path, flags, Mode::empty()).ok();
            self.retry_at_us = now_us + RETRY_US;
        }
        let Some(fd) = &self.fd else { return };
        match rustix::io::write(fd, line) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // Hung up, as a console may be: it is opened again later.
            Err(_) => self.fd = None,
        }
    }
}

/// Where copies go.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    console: Device,
    kernel: Device,
}

impl Copies {
    /// Copies a line to where these bits say.
    pub fn put(&mut self, bits: u8, level: u8, who: (&str, u32), text: &[u8], now_us: u64) {
        let (name, pid) = who;
        if bits & CONSOLE != 0 {
            let line = [format!("{name}[{pid}]: ").as_bytes(), text, b"\r\n"].concat();
            self.console.write("/dev/console", &line, now_us);
        }
        if bits & KERNEL != 0 {
            // The facility says that it isn't the kernel's own: daemon.
            let head = format!("<{}>{name}[{pid}]: ", 3 << 3 | level);
            let text = &text[..text.len().min(LONGEST)];
            self.kernel.write("/dev/kmsg", &[head.as_bytes(), text, b"\n"].concat(), now_us);
        }
    }

    /// Gives back what is open.
    pub fn shrink(&mut self) {
        *self = Copies::default();
    }
}
