//! Who says something: what /proc tells of a process, as the fields that only the journal may set;
//! systemd.journal-fields(7), "Trusted Journal Fields".

use super::fields::Fields;
use std::fs;

/// How much of a command line is kept.
const LONGEST: usize = 4 << 10;

/// A process as it was when it was looked at. What couldn't be read is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub pid: u32,
    pub ids: Option<(u32, u32)>,
    pub name: Vec<u8>,
    pub program: Vec<u8>,
    pub command: Vec<u8>,
    pub capabilities: Vec<u8>,
    pub label: Vec<u8>,
    pub cgroup: String,
    pub audit: Option<(u32, u32)>,
}

impl Speaker {
    /// Looks at a process; one that is gone has its number left.
    pub fn of(pid: u32) -> Speaker {
        use std::io::Read;
        use std::os::unix::ffi::OsStringExt;
        let mut speaker = Speaker { pid, ..Speaker::default() };
        let path = |name: &str| format!("/proc/{pid}/{name}");
        let read = |name: &str| {
            let mut text = Vec::new();
            let file = fs::File::open(path(name)).and_then(|f| f.take(LONGEST as u64).read_to_end(&mut text));
            file.map(|_| text).unwrap_or_default()
        };
        let number = |name: &str| std::str::from_utf8(&read(name)).ok()?.trim().parse::<u32>().ok();
        let status = read("status");
        let entry = |name: &[u8]| {
            let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(name))?;
            Some(line.trim_ascii())
        };
        let effective = |name: &[u8]| {
            let numbers = std::str::from_utf8(entry(name)?).ok()?;
            numbers.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        speaker.ids = effective(b"Uid:").zip(effective(b"Gid:"));
        if speaker.ids.is_none() {
            return speaker;
        }
        let capabilities = entry(b"CapEff:").unwrap_or_default();
        let zeros = capabilities.iter().take_while(|b| **b == b'0').count();
        speaker.capabilities = capabilities[zeros.min(capabilities.len().saturating_sub(1))..].to_vec();
        speaker.name = read("comm").trim_ascii_end().to_vec();
        speaker.program =
            fs::read_link(path("exe")).map(|p| p.into_os_string().into_vec()).unwrap_or_default();
        speaker.command = command_line(&read("cmdline"));
        let label = read("attr/current");
        speaker.label = label.strip_suffix(b"\0").map(<[u8]>::to_vec).unwrap_or(label);
        speaker.cgroup = group(&String::from_utf8_lossy(&read("cgroup")));
        let set = |id: &u32| *id != u32::MAX;
        speaker.audit = number("sessionid").filter(set).zip(number("loginuid").filter(set));
        speaker
    }

    /// Adds what is known.
    pub fn describe(&self, fields: &mut Fields) {
        fields.push("_PID", self.pid.to_string());
        if let Some((uid, gid)) = self.ids {
            fields.push("_UID", uid.to_string()).push("_GID", gid.to_string());
        }
        for (name, value) in [
            ("_COMM", self.name.as_slice()),
            ("_EXE", &self.program),
            ("_CMDLINE", &self.command),
            ("_CAP_EFFECTIVE", &self.capabilities),
            ("_SELINUX_CONTEXT", &self.label),
            ("_SYSTEMD_CGROUP", self.cgroup.as_bytes()),
        ] {
            if !value.is_empty() {
                fields.push(name, value);
            }
        }
        if let Some((session, user)) = self.audit {
            fields.push("_AUDIT_SESSION", session.to_string()).push("_AUDIT_LOGINUID", user.to_string());
        }
    }

    /// The unit whose control group it is in.
    pub fn unit(&self) -> Option<&str> {
        unit_of(&self.cgroup)
    }

    /// The slice of that control group.
    pub fn slice(&self) -> Option<&str> {
        unit_of(&self.cgroup)?;
        let slices = self.cgroup.split('/').take_while(|part| !is_unit(part));
        Some(slices.filter(|part| part.ends_with(".slice")).last().unwrap_or("-.slice"))
    }
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|kind| part.ends_with(kind))
}

fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup.split('/').find(|part| is_unit(part) && part.len() <= 255)
}

/// The path in the hierarchy that services are tracked in: the unified one, else systemd's own.
fn group(text: &str) -> String {
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let unified = text.lines().find(|line| line.starts_with("0::")).and_then(path);
    let named = || text.lines().find(|line| line.contains(":name=systemd:")).and_then(path);
    unified
        .filter(|path| unit_of(path).is_some())
        .or_else(named)
        .or(text.lines().next().and_then(path))
        .unwrap_or_default()
}

/// Arguments as one line, quoted as a shell would need it where they aren't plain words.
fn command_line(arguments: &[u8]) -> Vec<u8> {
    const QUOTED: &[u8] = b" \t\n\r\"\\`$*?['()<>|&;!";
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let mut line = Vec::with_capacity(arguments.len() + 16);
    for argument in arguments.split(|b| *b == 0) {
        if !line.is_empty() {
            line.push(b' ');
        }
        if !argument.is_empty() && !argument.iter().any(|b| QUOTED.contains(b)) {
            line.extend_from_slice(argument);
            continue;
        }
        line.push(b'"');
        for byte in argument {
            if b"\"\\`$".contains(byte) {
                line.push(b'\\');
            }
            line.push(*byte);
        }
        line.push(b'"');
    }
    if line == b"\"\"" { Vec::new() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_groups() {
        let speaker = |cgroup: &str| Speaker { cgroup: cgroup.into(), ..Speaker::default() };
        let web = speaker("/box/system.slice/web.service/worker");
        assert_eq!((web.unit(), web.slice()), (Some("web.service"), Some("system.slice")));
        let user = speaker("/user.slice/user-0.slice/session-1.scope");
        assert_eq!((user.unit(), user.slice()), (Some("session-1.scope"), Some("user-0.slice")));
        assert_eq!((speaker("/").unit(), speaker("/a.slice").slice()), (None, None));
        assert_eq!(group("3:pids:/x\n1:name=systemd:/b.service\n0::/"), "/b.service");
        assert_eq!(group("0::/a.service\n"), "/a.service");
    }

    #[test]
    fn command_lines() {
        assert_eq!(command_line(b"sh\0-c\0echo \"a\" $b\0"), br#"sh -c "echo \"a\" \$b""#);
        assert_eq!(command_line(b"x\0\0--y=z\0"), b"x \"\" --y=z");
        assert_eq!(command_line(b""), b"");
    }

    #[test]
    fn this_process_is_seen() {
        let us = Speaker::of(std::process::id());
        assert!(us.ids.is_some() && !us.name.is_empty() && us.program.starts_with(b"/"));
        assert_eq!(Speaker::of(u32::MAX >> 1), Speaker { pid: u32::MAX >> 1, ..Speaker::default() });
    }
}
