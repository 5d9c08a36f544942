//! The system call that the kernel killed a process for, out of the kernel's log. Only where that can be
//! read, and tells processes by the numbers that they have here; nothing is waited for longer than a few
//! milliseconds.

use crate::filter;
use rustix::fs::{Mode, OFlags};
use std::{path::Path, time::Duration};

/// Lines of the log that are looked at, at most.
const LINES: usize = 20_000;
/// The kernel logs it from a thread of its own, maybe a moment later than we hear of the end.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(1);

/// The call that this process was killed for by a filter.
pub(crate) fn call_of(pid: u32) -> Option<&'static str> {
    // The number of the first pid namespace is a constant of the kernel's.
    let here = std::fs::read_link("/proc/self/ns/pid").ok()?;
    if here.as_path() != Path::new("pid:[4026531836]") {
        return None;
    }
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        if let Some(found) = look_for(pid)? {
            return Some(found);
        }
    }
    None
}

/// `None` where the log can't be read.
fn look_for(pid: u32) -> Option<Option<&'static str>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = rustix::fs::open("/dev/kmsg", flags, Mode::empty()).ok()?;
    let (mut found, mut buffer) = (None, [0u8; 8192]);
    for _ in 0..LINES {
        match rustix::io::read(&log, &mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let line = String::from_utf8_lossy(&buffer[..length]);
                found = parse(&line, pid).or(found);
            }
            // It was overwritten while we read; the next one is there.
            Err(rustix::io::Errno::PIPE) => {}
            Err(_) => break,
        }
    }
    Some(found)
}

/// The call of a line such as `audit: type=1326 ... pid=7 ... sig=31 arch=c000003e syscall=83 ...`.
fn parse(line: &str, pid: u32) -> Option<&'static str> {
    let text = line.split_once("audit: type=1326 ")?.1;
    let field = |name: &str| {
        text.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let own = field("pid")?.parse::<u32>().ok()? == pid && field("sig")? == "31";
    let architecture = u32::from_str_radix(field("arch")?, 16).ok()?;
    let number = field("syscall")?.parse().ok()?;
    own.then(|| filter::call_name(architecture, number)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let line = "6,1,2,-;audit: type=1326 audit(1.0:87): auid=4294967295 uid=0 gid=0 ses=1 pid=133 \
                    comm=\"x\" exe=\"/x\" sig=31 arch=c000003e syscall=83 compat=0 ip=0x7f code=0x80000000\n";
        assert_eq!(parse(line, 133), Some("mkdir"));
        assert_eq!(parse(line, 13), None);
        assert_eq!(parse(&line.replace("sig=31", "sig=0"), 133), None);
        assert_eq!(parse(&line.replace("c000003e", "40000003"), 133), Some("symlink"));
        for bad in ["", "audit: type=1326 pid=133", "audit: type=1326 pid=133 sig=31 arch=x syscall=1"] {
            assert_eq!(parse(bad, 133), None);
        }
    }
}
