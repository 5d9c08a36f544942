//! Who a process is that asks for something, as far as /proc tells: its command line, who called it, who
//! logged in. A process that is gone already has none of it.

use crate::process;
use hence_ledger::{Parent, Text};
use std::fs::{self, File};
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

/// The command line of a process; the first KiB of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<u8>);

impl CommandLine {
    /// That of this process. What could be read is kept.
    pub fn of(pid: u32) -> CommandLine {
        CommandLine::first(pid, COMMAND_MAX)
    }

    fn first(pid: u32, most: usize) -> CommandLine {
        let mut bytes = Vec::with_capacity(most);
        if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
            let _ = file.take(most as u64).read_to_end(&mut bytes);
        }
        CommandLine::new(bytes)
    }

    /// That of these bytes, with a NUL behind each argument.
    fn new(mut bytes: Vec<u8>) -> CommandLine {
        bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        CommandLine(bytes)
    }

    /// Whether nothing is known: the process is gone, or the kernel's own.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The arguments, the program's name first.
    fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == 0).take(if self.is_empty() { 0 } else { usize::MAX })
    }

    /// The arguments as text, what is none replaced.
    pub fn words(&self) -> Vec<String> {
        self.arguments().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
    }

    /// The arguments as one line: spaces between them, `?` for control characters.
    pub fn shown(&self) -> Text {
        let text = String::from_utf8_lossy(&self.0);
        let shown = |c: char| match c {
            '\0' => ' ',
            c if c.is_control() => '?',
            c => c,
        };
        let mut line: String = text.chars().map(shown).collect();
        line.truncate(line.floor_char_boundary(COMMAND_MAX));
        line.into()
    }

    /// Whether it only hands on what it was called for.
    fn is_go_between(&self) -> bool {
        let mut names = self.arguments().map(|argument| {
            let name = argument.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            std::str::from_utf8(name).unwrap_or("")
        });
        let program = names.next().unwrap_or("");
        let script = if INTERPRETERS.contains(&program) { names.next() } else { None };
        GO_BETWEENS.contains(&script.unwrap_or(program))
    }
}

/// The nearest process above that is no go-between, with its pid as `told` has it; `None` where that is
/// whoever started everything. What `told` doesn't know, and what is above that, isn't looked at.
pub fn parent(pid: u32, told: impl Fn(u32) -> Option<u32>) -> Option<Parent> {
    let above = |pid: &u32| process::stat(*pid).map(|stat| stat.parent).filter(|&up| up > 1);
    let all = std::iter::successors(above(&pid), above);
    all.take(ABOVE_MAX).map_while(|pid| Some((pid, told(pid)?))).find_map(|(pid, told)| {
        let line = CommandLine::first(pid, PARENT_MAX);
        (!line.is_empty() && !line.is_go_between()).then(|| Parent { pid: told, command: line.shown() })
    })
}

/// Who logged in, where that is another than `uid`, which the process has: the kernel's audit keeps it
/// through sudo and su; without audit, what sudo tells those it calls.
pub fn login_uid(pid: u32, uid: u32) -> Option<u32> {
    let audit = fs::read_to_string(format!("/proc/{pid}/loginuid")).unwrap_or_default();
    let known = audit.trim().parse().ok().filter(|&uid| uid != u32::MAX);
    let sudo = || (uid == 0).then(|| sudo_uid(pid)).flatten();
    known.or_else(sudo).filter(|&login| login != uid)
}

fn sudo_uid(pid: u32) -> Option<u32> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT_MAX).read_to_end(&mut bytes).ok()?;
    let value = bytes.split(|&byte| byte == 0).find_map(|variable| variable.strip_prefix(b"SUDO_UID="))?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> CommandLine {
        CommandLine::new(bytes.to_owned())
    }

    #[test]
    fn a_command_line_is_one_clean_line() {
        assert_eq!(&*line(b"systemctl\0start\0foo\0").shown(), "systemctl start foo");
        assert_eq!(&*line(b"a\x1b[31m\nb\0\0").shown(), "a?[31m?b");
        assert_eq!(&*line(b"").shown(), "");
        assert_eq!(line(&[0xff; 1024]).shown().len(), 1023);
        assert!(CommandLine::of(std::process::id()).shown().contains("hence"));
        assert!(CommandLine::of(u32::MAX).is_empty());
        assert_eq!(line(b"\0").arguments().count(), 0);
        assert_eq!(line(b"a\0\0b\0").arguments().collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn a_go_between_is_known_by_its_program_or_script() {
        for between in
            ["/usr/bin/sudo\0-u\0root\0", "systemctl\0stop\0", "/bin/sh\0/usr/sbin/invoke-rc.d\0x\0"]
        {
            assert!(line(between.as_bytes()).is_go_between(), "{between:?}");
        }
        for teller in
            ["-bash\0", "bash\0", "/bin/sh\0-c\0systemctl stop x\0", "/usr/bin/perl\0/usr/sbin/needrestart\0"]
        {
            assert!(!line(teller.as_bytes()).is_go_between(), "{teller:?}");
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
        let above = parent(pid, Some).expect("the shell runs");
        assert_eq!((above.pid, &*above.command), (shell.id(), &*format!("sh -c {script}")));
        let told = sudo_uid(pid);
        drop(shell.stdin.take());
        shell.wait().expect("ended");
        assert_eq!(told, Some(4711));
        assert_eq!(parent(u32::MAX, Some), None);
    }
}
