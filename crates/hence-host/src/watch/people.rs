//! Who a process is, as the ledger keeps it, and which processes are clients of a manager.

use super::Place;
use crate::process;
use hence_ledger::{Client, Parent, Text};
use std::fs::{self, File};
use std::io::Read;

/// Most bytes of a command line that are kept.
const COMMAND_MAX: usize = 1024;
/// Most bytes of the command line of what called it.
const PARENT_MAX: usize = 256;
/// Most processes above a client that are looked at.
const ABOVE_MAX: usize = 8;

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

/// The arguments of a process, as many as fit.
pub fn arguments(pid: u32) -> Vec<String> {
    let mut bytes = Vec::with_capacity(COMMAND_MAX);
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(COMMAND_MAX as u64).read_to_end(&mut bytes);
    }
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let words = bytes[..end].split(|b| *b == 0);
    if end == 0 { Vec::new() } else { words.map(|w| String::from_utf8_lossy(w).into_owned()).collect() }
}

/// The name of a program, as the kernel has it.
pub fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// Processes whose program is one that asks.
pub fn asking() -> Vec<u32> {
    process::processes().into_iter().filter(|pid| asks(*pid)).collect()
}

/// Whether a process' program is one that asks. Cheap: it is asked of every process.
pub fn asks(pid: u32) -> bool {
    // As many bytes as a name has.
    let mut bytes = [0u8; 16];
    let read = File::open(format!("/proc/{pid}/comm")).and_then(|mut file| file.read(&mut bytes));
    let name = bytes[..read.unwrap_or(0)].trim_ascii_end();
    ASKING.iter().any(|asking| asking.as_bytes() == name)
}

fn shown(arguments: &[String], most: usize) -> Text {
    let line = arguments.join(" ");
    let clean: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let cut = (0..=most.min(clean.len())).rev().find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
    clean[..cut].into()
}

/// Who a process is; `None` where it is gone or belongs to another machine.
pub fn client(place: &Place, pid: u32) -> Option<Client> {
    client_with(place, pid, &arguments(pid))
}

/// The same, where its arguments were read already.
pub fn client_with(place: &Place, pid: u32, arguments: &[String]) -> Option<Client> {
    let there = place.pid_there(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uid = uid.split_ascii_whitespace().next()?.parse().ok()?;
    let login = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok();
    let login = login.and_then(|text| text.trim().parse().ok()).filter(|&l| l != u32::MAX && l != uid);
    let command = if arguments.is_empty() { name(pid)?.into() } else { shown(arguments, COMMAND_MAX) };
    let unit = place.groups.as_ref().and_then(|root| unit_of(root, pid));
    Some(Client { pid: there, uid, command, unit, parent: parent(place, pid), login_uid: login })
}

/// The unit that a process belongs to.
fn unit_of(root: &std::path::Path, pid: u32) -> Option<Text> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let _ = root;
    let is_unit = |part: &&str| [".service", ".scope", ".socket"].iter().any(|s| part.ends_with(s));
    path.split('/').find(is_unit).map(Text::from)
}

fn parent(place: &Place, pid: u32) -> Option<Parent> {
    let above = |pid: &u32| process::stat(*pid).map(|stat| stat.parent).filter(|&up| up > 1);
    std::iter::successors(above(&pid), above).take(ABOVE_MAX).find_map(|pid| {
        let there = place.pid_there(pid).filter(|there| *there > 1)?;
        let arguments = arguments(pid);
        let said = !arguments.is_empty() && !is_go_between(&arguments);
        said.then(|| Parent { pid: there, command: shown(&arguments, PARENT_MAX) })
    })
}

/// Whether a command line only hands on what it was called for.
pub fn is_go_between(arguments: &[String]) -> bool {
    const BETWEEN: [&str; 16] = [
        "systemctl",
        "service",
        "invoke-rc.d",
        "deb-systemd-invoke",
        "sudo",
        "doas",
        "su",
        "runuser",
        "setpriv",
        "env",
        "timeout",
        "nice",
        "ionice",
        "nohup",
        "setsid",
        "xargs",
    ];
    const INTERPRETERS: [&str; 5] = ["sh", "dash", "bash", "perl", "python3"];
    let base = |word: &String| word.rsplit('/').next().unwrap_or("").to_owned();
    let program = arguments.first().map(base).unwrap_or_default();
    let script = INTERPRETERS.contains(&&*program).then(|| arguments.get(1).map(base)).flatten();
    BETWEEN.contains(&&*script.unwrap_or(program))
}
