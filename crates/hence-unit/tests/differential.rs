//! Which values systemd takes and which it refuses, directive by directive, against ours: where
//! systemd-analyze(1) of version 252 is installed, and for the directives that are acted on.

use hence_unit::{
    Config, Level, Text, UnitName,
    config::Environs,
    directive::{self, Loading, Support},
    syntax,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

const VALUES: &[&str] = &[
    "",
    "yes",
    "No",
    "0",
    "1",
    "-1",
    "5",
    "42",
    "100",
    "300",
    "9999",
    "100000",
    "0x10",
    "08",
    "5s",
    "5min 20s",
    "infinity",
    "1.5s",
    "1.",
    "K",
    "1K",
    "1.5G",
    "1G 500M",
    "-5",
    "50%",
    "12.5%",
    "12.345%",
    "150%",
    "0644",
    "9999x",
    "/a//b",
    "/a/../b",
    "a/b",
    "-/a",
    "root",
    "a.service",
    "a.socket",
    "a.slice",
    "foo",
    "SIGTERM",
    "TERM",
    "sigterm",
    "RTMIN+3",
    "RTMIN+99",
    "TEMPFAIL",
    "A=b",
    "A=b 1C=d",
    "a b",
    "auto",
    "inherit",
    "journal",
    "fd:x",
    "file:/x",
    "file:x",
    "main",
    "restart",
    "idle",
    "none",
    "kill",
    "reboot",
    "man:x(1)",
    "80",
    "70000",
    "@x",
    "127.0.0.1:80",
    "[::1]:80",
    "!/x",
    "|!/x",
    "1:2",
    "2:1",
    "always",
    "\"x",
];

/// Ours are stricter here, on purpose or harmlessly: capabilities that there are none of, numbers for which
/// Linux has no policy or class, names of message queues and paths that the kernel would refuse.
const STRICTER: &[&str] = &[
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "CPUSchedulingPolicy",
    "IOSchedulingClass",
    "ConditionFirstBoot",
    "ConditionACPower",
    "AssertFirstBoot",
    "AssertACPower",
    "ListenMessageQueue",
    "ListenStream",
    "ListenDatagram",
    "ListenSequentialPacket",
    "ListenNetlink",
    // Words that are no bits are left out without a word by systemd.
    "SecureBits",
];

/// Ours take more here: an empty value as "not given", folders with a link behind a colon, a template as
/// its instance, further units to trigger in place of the first. KillMode=none is taken by both; systemd
/// warns.
const LOOSER: &[&str] = &[
    "BusName",
    "KillMode",
    "CollectMode",
    "RuntimeDirectory",
    "StateDirectory",
    "CacheDirectory",
    "LogsDirectory",
    "ConfigurationDirectory",
    "ListenNetlink",
    "Unit",
    "Slice",
    // Nothing stands for the kernel's own; what no interface can be called is told when it isn't there.
    "SocketProtocol",
    "BindToDevice",
    "Priority",
    "IPTTL",
    "Mark",
    "MessageQueueMaxMessages",
    "MessageQueueMessageSize",
    "Timestamping",
    // Later versions take a name after a colon.
    "ProtectHostname",
];

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_252() -> bool {
    let Ok(out) = Command::new("systemd-analyze").arg("--version").output() else {
        return false;
    };
    String::from_utf8_lossy(&out.stdout).starts_with("systemd 252 ")
}

/// Lines of each file that systemd complains about.
fn complaints(files: &[PathBuf]) -> BTreeMap<String, BTreeSet<u32>> {
    let mut lines: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for files in files.chunks(300) {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--generators=no"]).args(files);
        let out = command.output().expect("systemd-analyze runs");
        for line in String::from_utf8_lossy(&out.stderr).lines() {
            let Some((path, rest)) = line.split_once(": ").and_then(|(head, _)| head.rsplit_once(':')) else {
                continue;
            };
            let (Some(file), Ok(number)) = (Path::new(path).file_name(), rest.parse()) else {
                continue;
            };
            lines.entry(file.to_string_lossy().into_owned()).or_default().insert(number);
        }
    }
    lines
}

/// Lines that we complain about, and the first of them that makes the unit unusable.
fn ours(name: &str, text: &str) -> (BTreeSet<u32>, Option<u32>) {
    let unit = UnitName::new(name).unwrap();
    let environs = Environs { runtime_root: "/run".into(), ..Environs::default() };
    let mut config = Config::stub(unit.clone());
    let (assignments, _) = syntax::parse(&Text::from(name), text);
    for assignment in &assignments {
        let mut loading = Loading { unit: &unit, environs: &environs, config: &mut config, source: 0 };
        directive::apply(&mut loading, assignment);
    }
    let found = config.diagnostics.iter().filter(|d| d.level > Level::Note);
    let lines = found.map(|d| d.place.line).collect();
    let fatal = config.diagnostics.iter().filter(|d| d.level == Level::Error).map(|d| d.place.line).min();
    (lines, fatal)
}

#[test]
fn values_are_taken_as_systemd_takes_them() {
    if !is_252() {
        return;
    }
    let folder = Folder(env::temp_dir().join(format!("hence-unit-values-{}", process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let (mut files, mut cases) = (Vec::new(), Vec::new());
    for (i, entry) in directive::table().enumerate() {
        let kind = match entry.section {
            "Unit" | "Service" => "service",
            "Socket" => "socket",
            "Timer" => "timer",
            "Path" => "path",
            "Slice" => "slice",
            _ => continue,
        };
        // Command lines have tests of their own; what is newer is unknown to 252.
        let listed = entry.support == Support::Acted && entry.since <= 252 && !entry.name.starts_with("Exec");
        if !listed {
            continue;
        }
        let name = format!("t{i}.{kind}");
        let mut text = format!("[{}]\n", entry.section);
        for value in VALUES {
            text += &format!("{}={value}\n", entry.name);
        }
        let path = folder.0.join(&name);
        fs::write(&path, &text).unwrap();
        files.push(path);
        cases.push((name, entry, text));
    }
    let theirs = complaints(&files);
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (name, entry, text) in &cases {
        let none = BTreeSet::new();
        let theirs = theirs.get(name).unwrap_or(&none);
        let (ours, fatal) = ours(name, text);
        // systemd reads no further than the value that makes the unit unusable.
        let end = fatal.unwrap_or(u32::MAX);
        for (i, value) in VALUES.iter().enumerate() {
            let line = i as u32 + 2;
            if line > end {
                break;
            }
            compared += 1;
            let (they, we) = (theirs.contains(&line), ours.contains(&line));
            let expected = they == we
                || (we && STRICTER.contains(&entry.name))
                || (they && LOOSER.contains(&entry.name));
            if !expected {
                let who = if they { "only systemd refuses" } else { "only we refuse" };
                wrong.push(format!("[{}] {}={value}: {who}", entry.section, entry.name));
            }
        }
    }
    assert!(compared > 5_000, "{compared} values were compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}
