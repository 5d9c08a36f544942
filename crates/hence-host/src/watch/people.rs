//! Who a process is, as the ledger keeps it, and which processes are clients of a manager.

use super::Place;
use crate::client::{CommandLine, login_uid, parent};
use crate::process;
use hence_ledger::{Client, Text};
use std::fs;

/// Programs that ask a manager for something, or send signals, by their names as the kernel has them.
pub const ASKING: &[&str] = &[
    "systemctl",
    "systemd-run",
    "systemd-mount",
    "systemd-umount",
    "shutdown",
    "poweroff",
    "reboot",
    "halt",
    "telinit",
    "loginctl",
    "busctl",
    "dbus-send",
    "gdbus",
    "kill",
    "pkill",
    "killall",
];

/// The name of a program, as the kernel has it.
pub fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// Processes whose program is one that asks.
pub fn asking() -> Vec<u32> {
    let asks = |pid: &u32| name(*pid).is_some_and(|name| ASKING.contains(&&*name));
    process::processes().into_iter().filter(asks).collect()
}

/// Who a process is; `None` where it is gone or belongs to another machine.
pub fn client(place: &Place, pid: u32) -> Option<Client> {
    client_with(place, pid, &CommandLine::of(pid))
}

/// The same, where its command line was read already.
pub fn client_with(place: &Place, pid: u32, line: &CommandLine) -> Option<Client> {
    let there = place.pid_there(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uid.split_ascii_whitespace().next()?.parse().ok()?;
    let command = if line.is_empty() { name(pid)?.into() } else { line.shown() };
    let unit = place.groups.is_some().then(|| unit_of(pid)).flatten();
    let parent = parent(pid, |pid| place.pid_there(pid).filter(|there| *there > 1));
    Some(Client { pid: there, uid, command, unit, parent, login_uid: login_uid(pid, uid) })
}

/// The unit that a process belongs to.
fn unit_of(pid: u32) -> Option<Text> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_unit = |part: &&str| [".service", ".scope", ".socket"].iter().any(|s| part.ends_with(s));
    path.split('/').find(is_unit).map(Text::from)
}
