//! Who asks, as the ledger keeps it: what the kernel said of the connection and what /proc says of the
//! process. A process that is gone already has no command line.

use crate::model::{Runtime, unit_of_pid};
use hence_bus::front::Caller;
use hence_ledger::{Client, Text};
use std::fs::File;
use std::io::Read;

/// Most bytes of a command line that are kept.
const COMMAND_MAX: usize = 1024;

/// Who this caller is.
pub fn of(caller: Caller, runtime: &dyn Runtime) -> Client {
    let unit = unit_of_pid(runtime, caller.pid);
    Client {
        pid: caller.pid,
        uid: caller.uid,
        command: command(caller.pid),
        unit: unit.map(|id| runtime.engine().unit(id).name().text().clone()),
    }
}

fn command(pid: u32) -> Text {
    let mut bytes = Vec::with_capacity(COMMAND_MAX);
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        // What could be read is kept.
        let _ = file.take(COMMAND_MAX as u64).read_to_end(&mut bytes);
    }
    shown(&bytes).into()
}

/// Arguments as one line: spaces between them, `?` for control characters.
fn shown(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut line: String = text
        .chars()
        .map(|c| match c {
            '\0' => ' ',
            c if c.is_control() => '?',
            c => c,
        })
        .collect();
    let cut = (0..=COMMAND_MAX.min(line.len())).rev().find(|&at| line.is_char_boundary(at));
    line.truncate(cut.unwrap_or(0));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_clean_line() {
        assert_eq!(shown(b"systemctl\0start\0foo\0"), "systemctl start foo");
        assert_eq!(shown(b"a\x1b[31m\nb\0\0"), "a?[31m?b");
        assert_eq!(shown(b""), "");
        assert_eq!(shown(&[0xff; 1024]).len(), 1023);
        assert!(command(std::process::id()).contains("hence"));
        assert_eq!(&*command(u32::MAX), "");
    }
}
