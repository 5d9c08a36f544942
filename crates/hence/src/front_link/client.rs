//! Who asks, as the ledger keeps it: what the kernel or the bus said of the connection and what /proc says of
//! the process and of those that called it. A process that is gone already has no command line.

use crate::model::{Runtime, unit_of_pid};
use hence_bus::front::Caller;
use hence_ledger::{Client, Parent};
use std::fs::File;
use std::io::Read;

/// Most bytes of a command line that are kept.
const COMMAND_MAX: usize = 1024;
/// Most bytes of the command line of what called it.
const PARENT_MAX: usize = 256;
/// Most processes above a client that are looked at.
const ABOVE_MAX: usize = 8;
/// Most bytes of an environment that are looked at.
const ENVIRONMENT_MAX: u64 = 64 * 1024;

/// Programs that ask, or call what asks, on behalf of who called them.
const GO_BETWEENS: &[&str] = &[
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
/// Programs that are named by the script that they run.
const INTERPRETERS: &[&str] = &["sh", "dash", "bash", "perl", "python3"];

/// Who this caller is.
pub fn of(caller: Caller, runtime: &dyn Runtime) -> Client {
    let unit = unit_of_pid(runtime, caller.pid);
    Client {
        pid: caller.pid,
        uid: caller.uid,
        command: shown(&arguments(caller.pid, COMMAND_MAX)).into(),
        unit: unit.map(|id| runtime.engine().unit(id).name().text().clone()),
        parent: parent(caller.pid),
        login_uid: login_uid(caller),
    }
}

/// The nearest process above that is no go-between; `None` where that is whoever started everything.
fn parent(pid: u32) -> Option<Parent> {
    let own = std::process::id();
    let above = |pid: &u32| hence_host::stat(*pid).map(|stat| stat.parent).filter(|&up| up > 1 && up != own);
    let found = std::iter::successors(above(&pid), above).take(ABOVE_MAX).find_map(|pid| {
        let arguments = arguments(pid, PARENT_MAX);
        (!arguments.is_empty() && !is_go_between(&arguments)).then_some((pid, arguments))
    });
    found.map(|(pid, arguments)| Parent { pid, command: shown(&arguments).into() })
}

fn is_go_between(arguments: &[u8]) -> bool {
    let mut names = arguments.split(|&byte| byte == 0).map(|argument| {
        let name = argument.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        std::str::from_utf8(name).unwrap_or("")
    });
    let program = names.next().unwrap_or("");
    let script = if INTERPRETERS.contains(&program) { names.next() } else { None };
    GO_BETWEENS.contains(&script.unwrap_or(program))
}

/// Who logged in, where that is another than the caller: the kernel's audit keeps it through sudo and su;
/// without audit, what sudo tells those it calls.
fn login_uid(caller: Caller) -> Option<u32> {
    let audit = std::fs::read_to_string(format!("/proc/{}/loginuid", caller.pid)).unwrap_or_default();
    let known = audit.trim().parse().ok().filter(|&uid| uid != u32::MAX);
    let sudo = || (caller.uid == 0).then(|| sudo_uid(caller.pid)).flatten();
    known.or_else(sudo).filter(|&uid| uid != caller.uid)
}

fn sudo_uid(pid: u32) -> Option<u32> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT_MAX).read_to_end(&mut bytes).ok()?;
    let value = bytes.split(|&byte| byte == 0).find_map(|variable| variable.strip_prefix(b"SUDO_UID="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The first bytes of a command line, a NUL behind each argument. What could be read is kept.
fn arguments(pid: u32, most: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(most);
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(most as u64).read_to_end(&mut bytes);
    }
    bytes
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
        assert!(shown(&arguments(std::process::id(), COMMAND_MAX)).contains("hence"));
        assert_eq!(arguments(u32::MAX, COMMAND_MAX), b"");
    }

    #[test]
    fn a_go_between_is_known_by_its_program_or_script() {
        for between in
            ["/usr/bin/sudo\0-u\0root\0", "systemctl\0stop\0", "/bin/sh\0/usr/sbin/invoke-rc.d\0x\0"]
        {
            assert!(is_go_between(between.as_bytes()), "{between:?}");
        }
        for teller in
            ["-bash\0", "bash\0", "/bin/sh\0-c\0systemctl stop x\0", "/usr/bin/perl\0/usr/sbin/needrestart\0"]
        {
            assert!(!is_go_between(teller.as_bytes()), "{teller:?}");
        }
    }

    #[test]
    fn who_called_a_client_is_found_above_the_go_betweens() {
        let script = "env sh -c 'echo $$; read end'; true";
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", script]).env("SUDO_UID", "4711");
        let shell = shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut shell = shell.spawn().expect("sh");
        let mut line = String::new();
        let mut lines = std::io::BufReader::new(shell.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
        let pid: u32 = line.trim().parse().expect("a pid");
        let above = parent(pid).expect("the shell runs");
        assert_eq!((above.pid, &*above.command), (shell.id(), &*format!("sh -c {script}")));
        let told = sudo_uid(pid);
        drop(shell.stdin.take());
        shell.wait().expect("ended");
        assert_eq!(told, Some(4711));
        assert_eq!(parent(u32::MAX), None);
    }
}
