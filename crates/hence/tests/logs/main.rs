//! `hence logs` beside the stock journalctl on the same files: the same text, the same fields. Where there is
//! no journalctl, what can be said without it.

mod asks;
mod fields;
#[path = "../shared/group.rs"]
mod group;
mod hostile;
mod machine;

use hence_host::journal::{Fields, Journal, JournalOptions, Place};
use hence_ledger::Stamp;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A journal with what is hard to show: several lines, colours, bytes, tabs, levels.
fn journal(name: &str) -> Folder {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("logs-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    let folder = Folder(path);
    let mut journal = Journal::new(JournalOptions::new(Place::Folder(folder.0.clone())));
    let texts: [&[u8]; 9] = [
        b"plain",
        b"two\nlines  ",
        b"\x1b[1;31mred\x1b[0m\tand a tab",
        b"bytes \x00\xff\x07",
        b"trailing blanks   ",
        "Gr\u{fc}\u{df}e \u{65e5}\u{672c}".as_bytes(),
        b"a \"quoted\" \\ text",
        b"\n",
        &[b'x'; 3000],
    ];
    for (nth, unit) in ["web.service", "db.service", "init.scope"].into_iter().cycle().take(60).enumerate() {
        let mut fields = Fields::new();
        fields
            .push("_SYSTEMD_UNIT", unit)
            .push("_HOSTNAME", "vm")
            .push("_PID", if nth % 3 == 2 { "1" } else { "77" });
        fields.push("_UID", "0").push("PRIORITY", (nth % 8).to_string());
        match nth % 4 {
            0 => drop(fields.push("SYSLOG_IDENTIFIER", "who")),
            1 => drop(fields.push("_COMM", "comm")),
            2 => drop(fields.push("SYSLOG_PID", "5").push("TWICE", "a").push("TWICE", "b")),
            _ => {}
        }
        if nth % 3 == 2 {
            fields.push("UNIT", "web.service").push("MESSAGE_ID", "39f53479d3a045ac8e11786248231fbf");
        }
        let at = Stamp {
            realtime_us: 1_700_000_000_000_000 + nth as u64 * 1_000_000,
            monotonic_us: 1_000_000 + nth as u64 * 1_000_000,
        };
        let text = [b"MESSAGE=", texts[nth % texts.len()]].concat();
        journal.append(&mut fields, &[&text], at);
    }
    journal.close();
    folder
}

fn hence(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hence"))
        .arg("logs")
        .arg("-D")
        .arg(folder)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

fn journalctl(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("journalctl");
    command.arg("-D").arg(folder).arg("--no-pager").args(arguments).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    command.output().ok().filter(|output| !output.stdout.is_empty())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_text_is_that_of_journalctl() {
    let folder = journal("text");
    let all: [&[&str]; 9] = [
        &[],
        &["-o", "short-iso"],
        &["-o", "cat"],
        &["-n", "7"],
        &["-n", "7", "-r"],
        &["-p", "err"],
        &["-p", "4..5"],
        &["--since", "2023-11-14 22:13:30", "--until", "2023-11-14 22:13:40"],
        &["-g", "blanks|lines"],
    ];
    for arguments in all {
        let ours = hence(&folder.0, arguments);
        assert_eq!(ours.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ours.stderr));
        assert!(!ours.stdout.is_empty(), "{arguments:?}");
        let Some(theirs) = journalctl(&folder.0, arguments) else {
            eprintln!("skipped: there is no journalctl");
            return;
        };
        let (ours, theirs) = (text(&ours), text(&theirs));
        for (mine, other) in ours.lines().zip(theirs.lines()) {
            assert_eq!(mine, other, "{arguments:?}");
        }
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{arguments:?}");
    }
    let Some(theirs) = journalctl(&folder.0, &["-u", "web"]) else { return };
    assert_eq!(text(&hence(&folder.0, &["web"])), text(&theirs));
    let Some(theirs) = journalctl(&folder.0, &["-u", "w*"]) else { return };
    assert_eq!(text(&hence(&folder.0, &["w*"])), text(&theirs));
}

#[test]
fn the_fields_are_those_of_journalctl() {
    let folder = journal("json");
    let objects = |output: &Output| -> Vec<serde_json::Value> {
        text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ours = objects(&hence(&folder.0, &["--json"]));
    assert_eq!(ours.len(), 60);
    let names =
        ["__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "_BOOT_ID", "MESSAGE", "_SYSTEMD_UNIT"];
    assert!(names.iter().all(|name| ours[0].get(name).is_some()), "{}", ours[0]);
    if let Some(theirs) = journalctl(&folder.0, &["-a", "-o", "json"]) {
        // With -a, journalctl takes bytes for text where that is possible; they are compared by length.
        let theirs = objects(&theirs);
        assert_eq!(theirs.len(), ours.len());
        for (mine, other) in ours.iter().zip(&theirs) {
            let keys = |value: &serde_json::Value| {
                let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
                keys.sort();
                keys
            };
            assert_eq!(keys(mine), keys(other));
            for key in keys(mine) {
                if mine[&key].is_string() && other[&key].is_string() {
                    assert_eq!(mine[&key], other[&key], "{key}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_there_is_said() {
    let folder = journal("said");
    let run = |arguments: &[&str]| {
        let output = hence(&folder.0, arguments);
        (output.status.code().unwrap(), text(&output), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, _, said) = run(&["wep"]);
    assert_eq!(status, 4);
    assert!(said.contains("no line of wep.service") && said.contains("did you mean web.service?"), "{said}");
    assert_eq!(run(&["x*"]).0, 4);
    assert_eq!(run(&["web", "-g", "nothing like this"]).0, 3);
    assert_eq!(run(&["web", "--since", "2030-01-01"]), (0, "-- No entries --\n".into(), String::new()));
    for bad in [&["-p", "loud"][..], &["-g", "("], &["-n", "x"], &["--since", "soon"], &["--invocation", "7"]]
    {
        let (status, _, said) = run(bad);
        assert_eq!(status, 2, "{bad:?}");
        assert!(said.starts_with("hence: `"), "{bad:?}: {said}");
    }
    let empty = folder.0.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let output = hence(&empty, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("there is no journal in") && said.contains("--journal=none"), "{said}");
    std::fs::write(empty.join("system.journal"), b"no journal at all").unwrap();
    let said = hence(&empty, &[]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("it is no journal file"));
}

#[test]
fn who_follows_sees_what_comes() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let folder = journal("follow");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hence"))
        .args(["logs", "late", "-f", "-o", "cat", "-D"])
        .arg(&folder.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Before it, while and after it begins to watch: all of them come, in order, once.
    for nth in 0..50 {
        let mut journal = Journal::new(JournalOptions::new(Place::Folder(folder.0.clone())));
        let mut fields = Fields::new();
        fields.push("_SYSTEMD_UNIT", "late.service").push("_HOSTNAME", "vm");
        let at = Stamp { realtime_us: 1_800_000_000_000_000 + nth, monotonic_us: 1_000_000_000 + nth };
        journal.append(&mut fields, &[format!("MESSAGE={nth}").as_bytes()], at);
        journal.close();
        if nth >= 9 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let mut seen: Vec<u64> = Vec::new();
    while seen.last() != Some(&49) {
        seen.push(lines.next().unwrap().unwrap().parse().unwrap());
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seen:?}");
    assert!(seen.len() >= 40, "{seen:?}");
}
